"""Models with a fault each for `test_bad_inputs`, there `bad_models:NAME`; `good`, `loud` and `precise` have none."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from langevin_ib.models import uv
from langevin_ib.models.base import SliceTerms

RIGHT = uv()
SEEN = []


def but(**fields):
    """uv with some fields changed, past the type checks that the tests switch on."""
    model = dataclasses.replace(RIGHT, training=None)
    for name, value in fields.items():
        object.__setattr__(model, name, value)
    return model


def training(**fields):
    made = dataclasses.replace(RIGHT.training)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return but(training=made)


def good():
    return but()


def loud():
    print("built")

    def loss(p):
        print("traced")
        return RIGHT.loss(p)

    return but(loss=loss)


def precise():
    """Its target is an array of JAX, made when the model is built."""
    target = jnp.asarray(np.array(1.0 + 1e-12), jnp.float64)
    return but(loss=lambda p: 0.5 * (p[0] * p[1] - target) ** 2, slice_terms=None)


def named(name):
    """z under another name."""
    return dataclasses.replace(
        but(),
        invariants=lambda p: {name: p[0] * p[1]},
        section=lambda z: RIGHT.section({"z": z[name]}),
        slice_terms=None,
        branches={name: RIGHT.branches_of("z")},
        home={name: RIGHT.home_of("z")},
        cut=(),
    )


def keeping(p):
    SEEN.append(p)
    return RIGHT.loss(p) + 0.0 * SEEN[0][0]


def only_in_float64(p):
    if p.dtype == jnp.float32:
        raise TypeError("float64 wanted")
    return RIGHT.loss(p)


def of_size_zero():
    return but(
        init=lambda key: {"a": RIGHT.init(key), "b": jnp.zeros(0)},
        loss=lambda p: RIGHT.loss(p["a"]),
    )


def fails(*args):
    raise RuntimeError("no data here\nand a second line")


# What a function of the model is, and what the line says of it.
FAULTS = {
    "a loss of shape (1,)": (
        lambda: but(loss=lambda p: RIGHT.loss(p)[None]),
        "loss must return a real number, shape ()",
    ),
    "a loss of whole numbers": (lambda: but(loss=lambda p: 3), "loss must return a real number, shape (), got int"),
    "a complex loss": (lambda: but(loss=lambda p: RIGHT.loss(p) + 0j), "loss must return a real number"),
    "a loss of nothing": (lambda: but(loss=lambda p: None), "loss must return a real number, shape (), got None"),
    "a loss that fails": (lambda: but(loss=fails), "loss fails: RuntimeError: no data here"),
    "a loss on the host": (lambda: but(loss=lambda p: float(p[0])), "loss fails: ConcretizationTypeError"),
    "a loss in NumPy": (lambda: but(loss=lambda p: np.square(np.asarray(p)).sum()), "loss fails: TracerArrayConv"),
    "a loss with a branch": (lambda: but(loss=lambda p: p[0] if p[0] > 0 else p[1]), "loss fails: TracerBoolConv"),
    "a loss that keeps tracers": (lambda: but(loss=keeping), "loss must depend on its arguments alone"),
    "a loss that is none": (lambda: but(loss=3.0), "loss must be a function, got 3.0"),
    "a loss that is NaN in the window": (
        lambda: but(loss=lambda p: RIGHT.loss(p) + 0 * jnp.sqrt(1.5 - p[0] * p[1]), slice_terms=None),
        "its loss is not a number at z = 1.5",
    ),
    "a loss that is NaN at the starts": (
        lambda: but(loss=lambda p: RIGHT.loss(p) + 0 * jnp.log(p[0] * p[1]), slice_terms=None),
        "the loss is not a number at θ = ",
    ),
    "an invariant that is NaN": (
        lambda: but(invariants=lambda p: {"z": jnp.nan * p[0]}, slice_terms=None),
        "an invariant is not a number at θ = ",
    ),
    "a loss without a minimum": (
        lambda: but(loss=lambda p: -p[0] * p[1], slice_terms=None),
        "has no minimum on the branch",
    ),
    "a scalar moment map": (
        lambda: but(moment_map=lambda p: RIGHT.moment_map(p)[0]),
        "moment_map must return shape (1,), one number for each of group_dim, got shape ()",
    ),
    "a list of moments": (lambda: but(moment_map=lambda p: [p[0]]), "moment_map must return shape (1,)"),
    "another group_dim": (lambda: but(group_dim=2), "moment_map must return shape (2,)"),
    "a broken group_dim": (lambda: but(group_dim=1.0), "group_dim must be a whole number from 0, got 1.0"),
    "an action on nothing": (lambda: but(act=lambda t, p: None), "act must return parameters as init does, shape (2,)"),
    "an action of one argument": (lambda: but(act=lambda p: p), "act fails: TypeError"),
    "invariants in a list": (lambda: but(invariants=lambda p: [p[0]]), "invariants must return a mapping of names"),
    "invariants without names": (lambda: but(invariants=lambda p: {1: p[0]}), "invariants must return a mapping whose"),
    "no invariants": (lambda: but(invariants=lambda p: {}), "invariants must return at least one coordinate"),
    "whole invariants": (lambda: but(invariants=lambda p: {"z": 1}), "invariants must return real numbers for z"),
    "a section elsewhere": (lambda: but(section=lambda z: z["w"]), "section fails: KeyError: 'w'"),
    "a section of two": (
        lambda: but(section=lambda z: (z["z"], z["z"])),
        "section must return parameters as init does",
    ),
    "vector scalars": (lambda: but(scalars=lambda z: {"z": z["z"][None]}), "scalars must return a number for z"),
    "no scalars": (lambda: but(scalars=lambda z: {}), "scalars must return at least one number"),
    "terms in a tuple": (lambda: but(slice_terms=lambda z: (z["z"],)), "slice_terms must return SliceTerms"),
    "terms of shape (1,)": (
        lambda: but(slice_terms=lambda z: SliceTerms(z["z"][None], z["z"], z["z"])),
        "slice_terms must return a number for log_det, shape (), got shape (1,)",
    ),
    "a flat measure of two": (lambda: but(flat=("dz", lambda z: jnp.zeros(2))), "flat[1] must return a real number"),
    "a flat measure alone": (lambda: but(flat=lambda z: 0.0), "flat must be a pair of a name and a function"),
    "no start": (lambda: but(init=lambda key: None), "init must return parameters, got None"),
    "a whole start": (lambda: but(init=lambda key: jnp.array([1, 1])), "init must return floating-point parameters"),
    "a start in bfloat16": (
        lambda: but(init=lambda key: RIGHT.init(key).astype(jnp.bfloat16)),
        "init must return parameters in float32 or float64, got init of bfloat16",
    ),
    "a start without a key": (lambda: but(init=lambda: jnp.ones(2)), "init fails: TypeError"),
    "a leaf of size 0": (
        of_size_zero,
        "init must return arrays of at least one parameter, got init['b'] of shape (0,)",
    ),
    "a compact action on nothing": (
        lambda: but(compact_dim=1, compact_act=lambda t, p: None),
        "compact_act must return parameters as init does",
    ),
    "a discrete invariant that is none": (lambda: but(discrete=("sign",)), "discrete must name invariants (z), got"),
    "a training of another kind": (lambda: but(training=3), "training must be a Training or None, got 3"),
    "one prediction for all": (
        lambda: training(predict=lambda p, x: p[0] * p[1]),
        "training.predict must return one prediction for each of 1 examples, shape (1,), got shape ()",
    ),
    "a penalty of two": (
        lambda: training(penalty=lambda p: jnp.zeros(2)),
        "training.penalty must return a real number",
    ),
    "a risk that fails": (lambda: training(risk=fails), "training.risk fails: RuntimeError: no data here"),
    "a task without labels": (lambda: training(task={"x": np.ones(1)}), "training.task must have y beside x"),
    "a fault in float32 alone": (lambda: but(loss=only_in_float64), "one of its functions fails at bad_models.py:"),
    **{
        f"an invariant called {name!r}": (lambda name=name: named(name), message)
        for name, message in {
            "": "printable characters without /, got ''",
            "u/v": "printable characters without /, got 'u/v'",
            "a\nb": "printable characters without /",
            "a\ud800": "printable characters without /",
            "..": "printable characters without /",
            "chain": "no scalar can be called chain",
            "energy": "no scalar can be called energy",
        }.items()
    },
}


def faulty(number: int):
    """The model of a fault, by its place in the list."""
    return list(FAULTS.values())[number][0]()
