"""Models with losses of unusual shapes, for `test_odd_losses`; named there as `odd_losses:NAME`."""

import dataclasses

import jax
import jax.numpy as jnp

from langevin_ib.models import Model, hadamard, uv


def product(loss, branch=(0.0, jnp.inf), start=1.0):
    """z = uv with another loss of z, on one branch; chains start near z = start."""

    def init(key):
        return start**0.5 * jnp.exp(0.2 * jax.random.truncated_normal(key, -2.0, 2.0, (2,)))

    fields = {"branches": {"z": (branch,)}, "home": {"z": branch}, "training": None, "init": init}
    return dataclasses.replace(uv(), loss=lambda p: loss(p[0] * p[1]), name="odd", **fields)


def shifted(loss):
    """z = u + v on the whole line, under (u + t, v − t)."""
    return Model(
        name="shifted",
        group="R, shifting u against v",
        group_dim=1,
        loss=lambda p: loss(p[0] + p[1]),
        act=lambda t, p: p + jnp.stack([t[0], -t[0]]),
        moment_map=lambda p: p[:1] - p[1:],
        invariants=lambda p: {"z": p[0] + p[1]},
        section=lambda z: jnp.stack([z["z"], z["z"]]) / 2,
        init=lambda key: jax.random.truncated_normal(key, -2.0, 2.0, (2,)),
    )


def angle(loss):
    """φ = arg v of a plane vector that may be rescaled."""
    return Model(
        name="angle",
        group="R_{>0}, rescaling v",
        group_dim=1,
        loss=lambda v: loss(jnp.arctan2(v[1], v[0])),
        act=lambda t, v: jnp.exp(t[0]) * v,
        moment_map=lambda v: 0.5 * (jnp.sum(v**2, keepdims=True) - 1.0),
        invariants=lambda v: {"phi": jnp.arctan2(v[1], v[0])},
        section=lambda z: jnp.stack([jnp.cos(z["phi"]), jnp.sin(z["phi"])]),
        init=lambda key: jax.random.truncated_normal(key, -2.0, 2.0, (2,)),
        branches={"phi": ((-jnp.pi, jnp.pi),)},
    )


def bounded():
    return product(lambda z: jnp.log1p(jnp.exp(-z)))


def bounded_in_each():
    def loss(p):
        return jnp.sum(jnp.log1p(jnp.exp(-p["u"] * p["v"])))

    return dataclasses.replace(hadamard(), name="odd", loss=loss, slice_terms=None, training=None)


def constant():
    return product(lambda z: 1.0 + 0.0 * z)


def two_wells():
    return product(lambda z: 4.0 * ((z - 1.5) ** 2 - 1.0) ** 2)


def far_wells():
    """Two narrow wells, at 0.5 and, a little higher, at 8: more than a decade apart."""
    return product(lambda z: 100.0 * jnp.minimum((z - 0.5) ** 2, (z - 8.0) ** 2 + 0.001))


def plateau():
    return product(lambda z: 1.0 - jnp.exp(-((z - 1.0) ** 2)))


def flat_bottom():
    return product(lambda z: 4.0 * jnp.maximum(jnp.abs(z - 1.5) - 0.5, 0.0) ** 2)


def kink():
    return product(lambda z: jnp.abs(z - 1.0))


def falling():
    return product(lambda z: 0.5 * (z - 1.0) ** 2 + 0.05 * jnp.log(z))


def rising():
    return product(lambda z: z - jnp.log(z))


def partly_nan():
    return product(lambda z: 0.5 * (z - 1.0) ** 2 + 0.0 * jnp.sqrt(1.5 - z))


def nan_far_away():
    return product(lambda z: 0.5 * (z - 1.0) ** 2 + 0.0 * jnp.sqrt(9.0 - z))


def nowhere_finite():
    return product(lambda z: jnp.log(-z))


def small():
    return product(lambda z: 0.5 * ((z - 1e-5) / 1e-6) ** 2, start=1e-5)


def large():
    return product(lambda z: 0.5 * ((z - 1e5) / 1e3) ** 2, start=1e5)


def half_line():
    return product(lambda z: 0.5 * (z - 1.0) ** 2, (0.5, jnp.inf))


def segment():
    return product(lambda z: 0.5 * (z - 1.0) ** 2, (0.5, 1.5))


def on_the_line():
    return shifted(lambda z: 0.5 * (z - 300.0) ** 2)


def wells_on_the_line():
    return shifted(lambda z: 2.0 * (z**2 - 1.0) ** 2 + 0.05 * z)


def bounded_on_the_line():
    return shifted(jnp.tanh)


def compass():
    return angle(lambda phi: 1.0 - jnp.cos(phi - 1.0))


def across_the_cut():
    """Least at φ = π, where the branch of the angle begins and ends."""
    return angle(lambda phi: 1.0 + jnp.cos(phi))


def blind():
    return angle(lambda phi: 0.0 * phi)


def normalised():
    """w = g v/|v|, the gain and direction of weight normalisation, on ½|w − w*|², with the slice |v| = g."""
    target = jnp.array([1.2, 0.5])

    def weight(p):
        return p["g"] * p["v"] / jnp.linalg.norm(p["v"])

    def init(key):
        gain, direction = jax.random.split(key)
        return {"g": 0.5 + jax.random.uniform(gain, ()), "v": jax.random.normal(direction, (2,))}

    return Model(
        name="normalised",
        group="R_{>0}, rescaling v",
        group_dim=1,
        loss=lambda p: 0.5 * jnp.sum((weight(p) - target) ** 2),
        act=lambda t, p: {"g": p["g"], "v": jnp.exp(t[0]) * p["v"]},
        moment_map=lambda p: 0.5 * (jnp.sum(p["v"] ** 2) - p["g"] ** 2)[None],
        invariants=lambda p: {"w": weight(p)},
        section=lambda z: {"g": jnp.linalg.norm(z["w"]), "v": z["w"]},
        init=init,
    )
