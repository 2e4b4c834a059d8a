"""Models that are wrong only away from their starts are refused; right ones with unusual actions are not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib import sim
from langevin_ib.errors import BreachError, ModelError
from langevin_ib.geometry import contract
from langevin_ib.models import Model, Training, hadamard, rotation, uv
from langevin_ib.models.base import NEGATIVE, POSITIVE, RESERVED, SliceTerms
from langevin_ib.models.training import data_risk, no_penalty

CIRCLE = (-np.pi, np.pi)


def unit(key, size=2):
    x = jax.random.normal(key, (size,))
    return x / jnp.linalg.norm(x)


def normalised():
    """w = g v/|v| with (g, v ∈ R²): v ↦ e^t v; χ = ½(|v|² − 1). Every start has g = 1."""

    def weight(p):
        return p["g"] * p["v"] / jnp.linalg.norm(p["v"])

    def section(z):
        size = jnp.linalg.norm(z["w"])
        return {"g": size, "v": z["w"] / size}

    return Model(
        name="normalised",
        group="R_{>0}",
        group_dim=1,
        loss=lambda p: 0.5 * jnp.sum((weight(p) - jnp.array([1.5, 0.5])) ** 2),
        act=lambda t, p: {"g": p["g"], "v": jnp.exp(t[0]) * p["v"]},
        moment_map=lambda p: 0.5 * (jnp.sum(p["v"] ** 2) - 1.0)[None],
        invariants=lambda p: {"w": weight(p)},
        section=section,
        init=lambda key: {"g": jnp.ones(()), "v": unit(key) * 1.3},
    )


def pair(start=lambda key: jnp.exp(0.3 * jax.random.normal(key) * jnp.array([1.0, -1.0]))):
    """z = uv, whose every start has z = 1."""
    return dataclasses.replace(uv(), init=start)


def signed():
    """uv with positive z = |uv| and the sign as a discrete invariant."""
    return dataclasses.replace(
        uv(),
        invariants=lambda p: {"z": jnp.abs(p[0] * p[1]), "sign": jnp.sign(p[0] * p[1])},
        section=lambda z: jnp.sqrt(z["z"]) * jnp.stack([jnp.ones_like(z["z"]), z["sign"]]),
        init=lambda key: 0.5 + jax.random.uniform(key, (2,)),
        branches={"z": (POSITIVE,)},
        home={},
        discrete=("sign",),
    )


def translated():
    """L = ½(a − b − 1)²: (a, b) ↦ (a + t, b + t); χ = a + b."""
    return Model(
        name="translated",
        group="R",
        group_dim=1,
        loss=lambda p: 0.5 * (p["a"] - p["b"] - 1.0) ** 2,
        act=lambda t, p: {name: x + t[0].astype(x.dtype) for name, x in p.items()},
        moment_map=lambda p: (p["a"] + p["b"])[None],
        invariants=lambda p: {"gap": p["a"] - p["b"]},
        section=lambda z: {"a": 0.5 * z["gap"], "b": -0.5 * z["gap"]},
        init=lambda key: {
            "a": jax.random.normal(key),
            "b": jax.random.normal(jax.random.fold_in(key, 1)).astype(jnp.float32),
        },
    )


def affine():
    """An action with a fixed point elsewhere and a shift: (u, v, w) ↦ (1 + e^t (u − 1), e^{−t} v, w + t)."""
    return Model(
        name="affine",
        group="R",
        group_dim=1,
        loss=lambda p: 0.5 * ((p[0] - 1.0) * p[1] - 1.0) ** 2 + 0.5 * (p[1] * jnp.exp(p[2]) - 1.0) ** 2,
        act=lambda t, p: jnp.stack([1.0 + jnp.exp(t[0]) * (p[0] - 1.0), jnp.exp(-t[0]) * p[1], p[2] + t[0]]),
        moment_map=lambda p: p[2:],
        invariants=lambda p: {"x": (p[0] - 1.0) * p[1], "y": p[1] * jnp.exp(p[2])},
        section=lambda z: jnp.stack([1.0 + z["x"] / z["y"], z["y"], jnp.zeros_like(z["y"])]),
        init=lambda key: jnp.array([2.0, 1.0, 0.0]) + 0.3 * jax.random.normal(key, (3,)),
        branches={"y": (NEGATIVE, POSITIVE)},
    )


def scale_free():
    """L of v/|v| in the plane, in an angle that jumps: v ↦ e^t v; χ = log |v|, the slice the unit circle."""
    return Model(
        name="scale_free",
        group="R_{>0}",
        group_dim=1,
        loss=lambda p: 1.0 - p[0] / jnp.hypot(p[0], p[1]),
        act=lambda t, p: jnp.exp(t) * p,
        moment_map=lambda p: jnp.log(jnp.hypot(p[0], p[1]))[None],
        invariants=lambda p: {"phi": jnp.arctan2(p[1], p[0])},
        section=lambda z: jnp.stack([jnp.cos(z["phi"]), jnp.sin(z["phi"])]),
        init=unit,
        branches={"phi": (CIRCLE,)},
    )


def turning():
    """The same with a radius beside it, the angle seen through its cosine alone: coordinates that go round."""

    def loss(p):
        size = jnp.hypot(p[0], p[1])
        return 1.0 - p[0] / size + 0.5 * (p[2] * size - 1.0) ** 2

    return dataclasses.replace(
        scale_free(),
        loss=loss,
        act=lambda t, p: p * jnp.exp(t[0] * jnp.array([1.0, 1.0, -1.0])),
        invariants=lambda p: {"phi": jnp.arctan2(p[1], p[0]), "r": p[2] * jnp.hypot(p[0], p[1])},
        section=lambda z: jnp.stack([jnp.cos(z["phi"]), jnp.sin(z["phi"]), z["r"]]),
        scalars=lambda z: {"cosine": jnp.cos(z["phi"]), "r": z["r"]},
        init=lambda key: jnp.concatenate([unit(key), jnp.ones(1)]),
        branches={"cosine": ((-1.0, 1.0),)},
    )


def plane():
    """z = |a| b with (a ∈ R², b): rescalings of a against b, and compact rotations of a. Starts have z = 1."""

    def section(z):
        root = jnp.sqrt(jnp.abs(z["z"]))
        return {"a": root * jnp.array([1.0, 0.0]), "b": jnp.sign(z["z"]) * root}

    def init(key):
        t = 0.3 * jax.random.normal(key)
        return {"a": jnp.exp(t) * unit(key), "b": jnp.exp(-t)}

    return Model(
        name="plane",
        group="R_{>0}",
        group_dim=1,
        loss=lambda p: 0.5 * (jnp.linalg.norm(p["a"]) * p["b"] - 1.0) ** 2,
        act=lambda t, p: {"a": jnp.exp(t[0]) * p["a"], "b": jnp.exp(-t[0]) * p["b"]},
        moment_map=lambda p: 0.5 * (jnp.sum(p["a"] ** 2) - p["b"] ** 2)[None],
        invariants=lambda p: {"z": jnp.linalg.norm(p["a"]) * p["b"]},
        section=section,
        init=init,
        branches={"z": (NEGATIVE, POSITIVE)},
        compact_dim=1,
        compact_act=lambda t, p: {**p, "a": turned(t[0], p["a"])},
    )


def turned(t, a):
    return jnp.stack([a[0] * jnp.cos(t) - a[1] * jnp.sin(t), a[0] * jnp.sin(t) + a[1] * jnp.cos(t)])


def twins():
    """Two products, of which every start has the same two values."""
    model = hadamard(dim=2)

    def init(key):
        t, size = 0.3 * jax.random.normal(key, (2,)), 0.5 + jax.random.uniform(key)
        return {"u": size * jnp.exp(t), "v": jnp.exp(-t)}

    return dataclasses.replace(model, init=init)


def logarithmic():
    """uv in x = log uv, which is no number where uv < 0; and χ that is not canonical."""
    return dataclasses.replace(
        uv(),
        moment_map=lambda p: (p[0] - 4.0 * p[1] ** 3 / jnp.abs(p[0]))[None],
        invariants=lambda p: {"x": jnp.log(p[0] * p[1])},
        section=lambda z: jnp.stack(
            [(4.0 * jnp.exp(3.0 * z["x"])) ** 0.2, jnp.exp(z["x"]) / (4.0 * jnp.exp(3.0 * z["x"])) ** 0.2]
        ),
        init=lambda key: 0.5 + jax.random.uniform(key, (2,)),
        branches={},
        home={},
        cut=(),
    )


def two_of_one():
    """A group of dimension two that does not split into coordinates: u v w under the rescalings of both neighbours."""
    return uv(depth=3)


RIGHT = {
    "weight normalisation": normalised,
    "a translation, and arrays of two precisions": translated,
    "an affine action with a shift": affine,
    "an angle as the only coordinate": scale_free,
    "an angle that goes round, beside a radius": turning,
    "a logarithm as coordinate, χ not canonical": logarithmic,
    "a discrete label": signed,
    "a group of dimension two": two_of_one,
    "a compact part": plane,
    "closed forms": lambda: hadamard(dim=2),
    "starts that share an invariant": pair,
}


@pytest.mark.full(but=["starts that share an invariant"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_model_of_an_unusual_action_passes(name):
    contract.check_model(RIGHT[name](), jax.random.key(0))


def but(build, **changes):
    """A right model with a fault. A change is a function of the right model."""

    def broken():
        model = build()
        return dataclasses.replace(model, **{name: change(model) for name, change in changes.items()})

    return broken


def length(p):
    return jnp.sum(p["v"] ** 2)


def terms(log_det, log_volume, shift=0.0):
    """Closed forms of a model, as functions of its point on the slice."""

    def change(model):
        def closed(z):
            point = model.section(z)
            return SliceTerms(
                log_det(z), log_volume(z), model.loss(point) + shift * (z["z"] - 1.0 if "z" in z else 0.0)
            )

        return closed

    return change


def taught(predict=None, risk=None):
    """Training of weight normalisation on two examples, the unit vectors, with a fault."""

    def change(model):
        def right(p, x):
            return x @ model.invariants(p)["w"]

        task = {"x": jnp.eye(2), "y": jnp.array([1.5, 0.5]), "weight": 2.0}
        made = predict(model) if predict else right
        found = data_risk(made, no_penalty)
        return Training(made, task, (lambda task, p: risk(p) + found(task, p)) if risk else found, no_penalty)

    return change


def near(model):
    """Starts at angles within half a unit of zero."""

    def init(key):
        phi = jax.random.uniform(key, minval=-0.5, maxval=0.5)
        return jnp.stack([jnp.cos(phi), jnp.sin(phi)])

    return init


WRONG = {
    # Sections.
    "a section of another size": (
        "section misses the slice",
        but(normalised, section=lambda m: lambda z: {"g": jnp.linalg.norm(z["w"]), "v": z["w"]}),
    ),
    "a section without the size": (
        r"derivative of z\(s\(z\)\)",
        but(normalised, section=lambda m: lambda z: {"g": jnp.ones(()), "v": z["w"] / jnp.linalg.norm(z["w"])}),
    ),
    "a section on the orbit, not on the slice": (
        "section misses the slice",
        but(pair, section=lambda m: lambda z: jnp.stack([z["z"], jnp.ones_like(z["z"])])),
    ),
    "a linearised root": (
        "section does not invert",
        but(pair, section=lambda m: lambda z: (0.5 + 0.5 * z["z"]) * jnp.ones(2)),
    ),
    "a section without the sign": (
        "section does not invert",
        but(pair, section=lambda m: lambda z: jnp.sqrt(jnp.abs(z["z"])) * jnp.ones(2)),
    ),
    "a section of positive z alone": (
        "section fails|section does not invert",
        but(pair, section=lambda m: lambda z: jnp.sqrt(z["z"]) * jnp.ones(2)),
    ),
    "a section that clips": (
        "section does not invert",
        but(pair, section=lambda m: lambda z: m.section({"z": jnp.clip(z["z"], -3.0, 3.0)})),
    ),
    "a section that takes one entry for the other": (
        r"derivative of z\(s\(z\)\)",
        but(twins, section=lambda m: lambda z: m.section({"z": z["z"][0] * jnp.ones(2)})),
    ),
    "a section of a translation that bends": (
        "section misses the slice",
        but(
            translated,
            section=lambda m: lambda z: {"a": 0.5 * z["gap"] ** 2, "b": 0.5 * z["gap"] ** 2 - z["gap"]},
            init=lambda m: lambda key: {"a": 1.0 + jax.random.normal(key), "b": jax.random.normal(key)},
        ),
    ),
    "a section that folds the angle": (
        "section does not invert",
        but(scale_free, section=lambda m: lambda z: jnp.abs(m.section(z)).at[1].set(jnp.sin(z["phi"])), init=near),
    ),
    "a section that loses a label": (
        "section does not keep the discrete invariants",
        but(
            signed,
            loss=lambda m: lambda p: 0.5 * (jnp.abs(p[0] * p[1]) - 1.0) ** 2,
            section=lambda m: lambda z: m.section({**z, "sign": jnp.where(z["z"] > 3.0, -1.0, 1.0)}),
        ),
    ),
    "a section without a derivative": (
        "derivative of z",
        but(pair, section=lambda m: lambda z: m.section(jax.tree.map(jax.lax.stop_gradient, z))),
    ),
    # Actions.
    "an action that moves what is fixed at one": (
        "loss changes along the orbit",
        but(
            normalised,
            act=lambda m: lambda t, p: {"g": 1.0 + jnp.exp(t[0]) * (p["g"] - 1.0), "v": jnp.exp(t[0]) * p["v"]},
        ),
    ),
    "an action that is no homomorphism": (
        "act is no group action",
        but(
            normalised,
            act=lambda m: lambda t, p: {**p, "v": jnp.exp(t[0] + t[0] ** 2 * (p["g"] - 1.0)) * p["v"]},
        ),
    ),
    "an action that is no identity at zero": (
        r"act\(0, θ\) is not θ",
        but(
            normalised,
            act=lambda m: lambda t, p: {**p, "v": jnp.exp(t[0]) * (1.0 + (p["g"] - 1.0) ** 2) * p["v"]},
        ),
    ),
    "an action that ends": (
        "action is not free",
        but(
            normalised,
            act=lambda m: lambda t, p: {**p, "v": jnp.exp(t[0] * jnp.maximum(2.0 - p["g"], 0.0)) * p["v"]},
        ),
    ),
    "an action of other weights where z is not one": (
        "loss changes along the orbit",
        but(pair, act=lambda m: lambda t, p: p * jnp.exp(t * jnp.stack([jnp.ones(()), -p[0] * p[1]]))),
    ),
    # Moment maps.
    "a moment map with an invariant in it": (
        "section misses the slice",
        but(pair, moment_map=lambda m: lambda p: m.moment_map(p) + p[0] * p[1] - 1.0),
    ),
    "a moment map relative to the weight": (
        "section misses the slice",
        but(normalised, moment_map=lambda m: lambda p: 0.5 * (length(p) - p["g"] ** 2)[None]),
    ),
    "a moment map that goes flat": (
        "slice is not transversal",
        but(pair, moment_map=lambda m: lambda p: m.moment_map(p) * jnp.maximum(2.0 - p[0] * p[1], 0.0)),
    ),
    # Invariants and losses.
    "an invariant that is one at one": (
        r"derivative of z\(s\(z\)\)|an invariant changes along the orbit",
        but(normalised, invariants=lambda m: lambda p: {"w": m.invariants(p)["w"] * (1 + (p["g"] - 1) * length(p))}),
    ),
    "an invariant that forgets": (
        r"derivative of z\(s\(z\)\)",
        but(normalised, invariants=lambda m: lambda p: {"w": p["v"] / jnp.sqrt(length(p))}),
    ),
    "a loss that changes where z is not one": (
        "loss changes along the orbit",
        but(pair, loss=lambda m: lambda p: m.loss(p) + (p[0] * p[1] - 1.0) * (p[0] ** 2 - p[1] ** 2)),
    ),
    "a loss that sees more than the invariant": (
        "the loss differs at the section",
        but(
            twins,
            loss=lambda m: lambda p: m.loss(p) + (jnp.sum(jnp.sign(p["u"])) - 2.0) ** 2,
            training=lambda m: None,
        ),
    ),
    "a loss with weight decay on the wrong factor": (
        "loss changes along the orbit",
        but(normalised, loss=lambda m: lambda p: m.loss(p) + (p["g"] - 1.0) ** 2 * length(p)),
    ),
    "a label that changes with the size": (
        "discrete invariant",
        but(
            signed,
            invariants=lambda m: (
                lambda p: {
                    "z": jnp.abs(p[0] * p[1]),
                    "sign": jnp.where(jnp.abs(p[0] * p[1]) > 3.0, jnp.sign(p[0] - p[1]), 1.0),
                }
            ),
        ),
    ),
    # Branches.
    "branches that hold the origin": (
        "the action is not free, or the section fails, at z = 0",
        but(pair, branches=lambda m: {}, home=lambda m: {}, cut=lambda m: ()),
    ),
    "a radius that may be negative": (
        "section does not invert",
        but(rotation, branches=lambda m: {"r": (NEGATIVE, POSITIVE)}),
    ),
    "an invariant without the sign": (
        "the loss differs at the section",
        but(
            signed,
            discrete=lambda m: (),
            invariants=lambda m: lambda p: {"z": jnp.sqrt((p[0] * p[1]) ** 2)},
            section=lambda m: lambda z: jnp.sqrt(z["z"]) * jnp.ones(2),
            branches=lambda m: {"z": (NEGATIVE, POSITIVE)},
        ),
    ),
    "an angle without ends": (
        "section does not invert",
        but(scale_free, branches=lambda m: {}),
    ),
    "coordinates that are sorted": (
        "section does not invert",
        but(
            lambda: hadamard(dim=2, y=np.ones(2)),
            invariants=lambda m: lambda p: {"z": jnp.sort(p["u"] * p["v"])},
        ),
    ),
    # Closed forms.
    "closed form of log det G at z = 1": (
        "slice_terms gives another log_det",
        but(pair, slice_terms=terms(lambda z: jnp.log(2.0) + 0.0 * z["z"], lambda z: -0.5 * jnp.log(2.0 * z["z"]))),
    ),
    "closed form of the volume at z = 1": (
        "slice_terms gives another log_volume",
        but(
            pair,
            slice_terms=terms(lambda z: jnp.log(2.0 * jnp.abs(z["z"])), lambda z: -0.5 * jnp.log(2.0) + 0 * z["z"]),
        ),
    ),
    "closed form of the loss at z = 1": (
        "slice_terms gives another loss",
        but(
            pair,
            slice_terms=terms(
                lambda z: jnp.log(2.0 * jnp.abs(z["z"])), lambda z: -0.5 * jnp.log(2.0 * jnp.abs(z["z"])), shift=1.0
            ),
        ),
    ),
    "closed form of the volume of unit vectors": (
        "slice_terms gives another log_volume",
        but(normalised, slice_terms=terms(lambda z: 0.0 * z["w"][0], lambda z: 0.0 * z["w"][0])),
    ),
    # Training.
    "predictions that see the length": (
        "a prediction changes along the orbit",
        but(
            normalised,
            training=taught(
                predict=lambda m: lambda p, x: x @ m.invariants(p)["w"] * (1.0 + (p["g"] - 1.0) * jnp.log(length(p)))
            ),
        ),
    ),
    "a risk with a term that the loss has not": (
        "SGD takes squared errors",
        but(normalised, training=taught(risk=lambda p: (p["g"] - 1.0) ** 2)),
    ),
    # The compact part.
    "a compact action by an angle that depends on z": (
        "compact action is no isometry",
        but(
            plane,
            compact_act=lambda m: (
                lambda t, p: {**p, "a": turned(t[0] * (1.0 + (m.invariants(p)["z"] - 1.0) ** 2), p["a"])}
            ),
        ),
    ),
    "a compact action that moves the other factor": (
        "under the compact action",
        but(
            plane,
            compact_act=lambda m: (
                lambda t, p: {
                    "a": turned(t[0], p["a"]),
                    "b": p["b"] + jnp.sin(t[0]) * (m.invariants(p)["z"] - 1.0) ** 2,
                }
            ),
        ),
    ),
}


@pytest.mark.full(
    but=[
        "a section on the orbit, not on the slice",
        "a linearised root",
        "a section without the sign",
        "a section of a translation that bends",
    ]
)
@pytest.mark.parametrize("name", WRONG)
def test_a_model_that_is_wrong_away_from_its_starts_is_refused(name):
    message, build = WRONG[name]
    with pytest.raises(ModelError, match=message) as caught:
        contract.check_model(build(), jax.random.key(0))
    assert "\n" not in str(caught.value)


def in_a_shell(z):
    """Whether 2 < |z| < 2.01: where hardly a random point is."""
    return jnp.where((jnp.abs(z) > 2.0) & (jnp.abs(z) < 2.01), 1.0, 0.0)


HIDDEN = {
    "loss": (
        "the loss changes along the orbit",
        but(pair, loss=lambda m: lambda p: m.loss(p) + in_a_shell(p[0] * p[1]) * (p[0] ** 2 - p[1] ** 2)),
    ),
    "section": (
        "section misses the slice",
        but(pair, section=lambda m: lambda z: m.section(z) * jnp.exp(in_a_shell(z["z"]) * jnp.array([0.1, -0.1]))),
    ),
    "act": (
        "act is no group action",
        but(pair, act=lambda m: lambda t, p: m.act(t + in_a_shell(p[0] * p[1]) * t**2, p)),
    ),
}


@pytest.mark.full(but=["section"])
@pytest.mark.parametrize("name", HIDDEN)
def test_what_no_random_point_meets_is_found_at_the_draws(name):
    message, build = HIDDEN[name]
    model = build()
    contract.check_model(model, jax.random.key(0))
    elsewhere = np.array([[0.5, 1.0], [-1.0, 3.0], [1e-5, 1e-4]], np.float32)
    contract.check_draws(model, elsewhere)
    with pytest.raises(BreachError, match=message):
        contract.check_draws(model, np.concatenate([elsewhere, [[1.5, 2.005 / 1.5]]]))


def test_coordinates_that_a_law_has_reached_are_checked_too():
    model = HIDDEN["section"][1]()
    contract.check_law_draws(model, np.array([[0.5], [-3.0]]))
    with pytest.raises(BreachError, match="section misses the slice"):
        contract.check_law_draws(model, np.array([[0.5], [2.005]]))


LANGEVIN = ["--step-size", "0.001", "--reference", "none", "--step-check", "no", "--laws", "naive"]
DESCENT = ["--sampler", "sgd", "--lr", "0.01", "--label-noise", "2"]


@pytest.mark.full
@pytest.mark.parametrize(("command", "name"), [(LANGEVIN, "breach_stiff"), (DESCENT, "breach_sgd")])
def test_a_breach_at_the_draws_fails_the_run(command, name, tmp_path, monkeypatch, capsys):
    (tmp_path / f"{name}.py").write_text(BREACH)
    monkeypatch.chdir(tmp_path)
    quick = ["--chains", "64", "--steps", "2000", "--burn-in", "1000", "--window", "0.5", "2"]
    assert sim.main(["--model", f"{name}:model", *quick, *command]) == 3
    error = capsys.readouterr().err
    assert "loss changes along the orbit by" in error
    assert "where a chain went" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "runs").glob("[!.]*"))


BREACH = """
import dataclasses
import jax.numpy as jnp
from langevin_ib.models import uv

def model():
    right = uv()
    def loss(p):
        z = p[0] * p[1]
        return right.loss(p) + 1e-3 * jnp.where((z > 1.0) & (z < 1.1), p[0] ** 2 - p[1] ** 2, 0.0)
    return dataclasses.replace(right, loss=loss)
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"scalars": lambda z, name=name: {name: z["z"][0], "other": z["z"][1]}}, f"can be called {name}, which")
            for name in RESERVED
        ),
        (
            {
                "invariants": lambda p: {"z": (p["u"] * p["v"])[:1], "z_1": (p["u"] * p["v"])[1]},
                "section": lambda z: hadamard(dim=2).section({"z": jnp.append(z["z"], z["z_1"])}),
                "slice_terms": None,
            },
            "two scalars are called z_1",
        ),
        *(
            ({"scalars": lambda z, name=name: {name: z["z"][0], "other": z["z"][1]}}, "printable characters without /")
            for name in ("a/b", "", " ", ".", "..", "a\nb", "a\0b", "a\ud800b")
        ),
        ({"home": {"z_1": (0.5, 1.0)}}, "home of z_1 must be one of its branches"),
    ],
)
def test_names_that_cannot_be_saved_are_refused(changes, message):
    bare = {"branches": {}, "home": {}, "cut": ()} if "home" not in changes else {}
    with pytest.raises(ModelError, match=message) as caught:
        contract.check_model(dataclasses.replace(hadamard(dim=2), **bare, **changes), jax.random.key(0))
    assert "\n" not in str(caught.value)
