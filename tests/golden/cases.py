"""The runs whose numbers are pinned: {name: settings of `RunConfig`}. Long ones take more than a few seconds each."""

from typing import Any

Case = dict[str, Any]

TINY: Case = {"chains": 32, "steps": 2000, "bins": 10}
SGD: Case = {"sampler": "sgd", "chains": 32, "bins": 10}
UV_DATA = {"samples": 8}
HADAMARD = {"model": "hadamard", "options": {"dim": 2}}

PLANS: dict[str, Case] = {
    "no symmetry": {"model": "user_model:well", **TINY},
}

LONG_PLANS: dict[str, Case] = {
    "uv weight decay": {"confine": "weight-decay", **TINY},
    "a user's model": {"model": "user_model:shifted", **TINY},
    "uv in a metric": {"metric": [1.0, 4.0], **TINY},
    "uv on a slab": {"confine": "none", **TINY},
    "uv hard with Fixman's term": {"confine": "hard-fixman", **TINY},
    "uv sgd by epochs": {
        "options": UV_DATA, "noise": "minibatch", "batch_size": 2, "replacement": False, "momentum": 0.5, **SGD,
    },
    "uv all by rule": {},
    "uv of three factors, weight decay": {"depth": 3, "confine": "weight-decay", **TINY},
    "uv hard": {"confine": "hard", **TINY},
    "uv Euler–Maruyama, small κ": {"integrator": "euler-maruyama", "kappa": 3.0, "target": -2.0, **TINY},
    "uv MALA": {"integrator": "mala", "beta": 3.0, "sigma": 2.0, **TINY},
    "uv window and step given": {"window": [0.2, 1.9], "step_size": 0.001, "thin": 3, "burn_in": 100, **TINY},
    "rotation": {"model": "rotation", "confine": "none", **TINY},
    "a user's model, slab": {"model": "user_model:shifted", "confine": "none", "slab": 0.3, **TINY},
    "hadamard stiff": {**HADAMARD, **TINY},
    "relu weight decay": {"model": "relu", "options": {"samples": 8}, "confine": "weight-decay", **TINY},
    "attention stiff": {"model": "attention", "laws": ["slice", "hard", "pushforward", "naive"], **TINY},
    "matrix stiff": {"model": "matrix", "options": {"rows": 2, "cols": 2, "rank": 1}, **TINY},
    "uv sgd minibatch": {"options": UV_DATA, "noise": "minibatch", "batch_size": 2, **SGD},
    "uv sgd fresh": {"options": {}, "noise": "fresh", "label_noise": 1.0, **SGD},
    "uv sgd isotropic": {"noise": "isotropic", "confine": "weight-decay", "weight_decay": 0.1, **SGD},
    "uv sgd none": {"noise": "none", **SGD},
    "hadamard sgd label, weight decay": {**HADAMARD, "confine": "weight-decay", "weight_decay": 0.05, **SGD},
}  # fmt: skip

JUDGED: dict[str, Case] = {
    "uv stiff": {"precision": 64, **TINY, "kappa": 20.0, "steps": 20_000},
    "uv sgd label": {"precision": 64, "lr": 0.02, "steps": 3000, "burn_in": 1000, **SGD},
}

LONG_JUDGED: dict[str, Case] = {
    "uv slab": {"precision": 64, "confine": "none", "slab": 0.2, **TINY},
    "uv hard judged": {"precision": 64, "confine": "hard", **TINY},
    "hadamard judged": {"precision": 64, **HADAMARD, **TINY},
    "hadamard sgd label": {"precision": 64, **HADAMARD, "lr": 0.02, "steps": 3000, "burn_in": 1000, **SGD},
    "uv with doubts": {"precision": 64, **TINY, "step_size": 0.004, "burn_in": 0, "thin": 2, "steps": 400},
}  # fmt: skip

FIXED: Case = {"precision": 64, "chains": 16, "steps": 400, "burn_in": 100, "thin": 2, "bins": 10, "window": [0.2, 2.2]}
UNADJUSTED: Case = {"reference": "none", "step_check": False, "laws": ["slice"], **FIXED}
DESCENT: Case = {"sampler": "sgd", "lr": 0.02, **FIXED}

PATHS: dict[str, Case] = {
    "Leimkuhler–Matthews": {"step_size": 0.02, "kappa": 5.0, **UNADJUSTED},
    "sgd label": {"label_noise": 2.0, **DESCENT},
    "projected": {"step_size": 0.01, "confine": "hard", **UNADJUSTED},
    "Euler–Maruyama": {"step_size": 0.01, "integrator": "euler-maruyama", "kappa": 5.0, **UNADJUSTED},
    "projected with Fixman's term": {"step_size": 0.01, "confine": "hard-fixman", **UNADJUSTED},
    "Leimkuhler–Matthews in float32": {"step_size": 0.02, "kappa": 5.0, **UNADJUSTED, "precision": 32},
    "sgd by epochs": {
        "options": UV_DATA, "noise": "minibatch", "batch_size": 2, "replacement": False, "momentum": 0.5, **DESCENT,
    },
    "sgd fresh": {"options": {}, "noise": "fresh", "label_noise": 1.0, **DESCENT},
    "sgd isotropic": {"noise": "isotropic", "label_noise": 2.0, **DESCENT},
}  # fmt: skip

MALA: dict[str, Case] = {
    "uv": {"name": "uv", "options": {}, "temperature": 0.1, "step_size": 0.05},
}

LONG_MALA: dict[str, Case] = {
    "hadamard": {"name": "hadamard", "options": {"dim": 2}, "temperature": 0.1, "step_size": 0.05},
}
