"""uv and its deep form: z = u₁⋯u_D, quadratic loss, group of rescalings between neighbouring factors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.models.base import NEGATIVE, POSITIVE, Model
from langevin_ib.models.checks import at_least, non_negative
from langevin_ib.models.training import Examples, Fresh, Training, data_risk, no_penalty


def uv(target: float = 1.0, depth: int = 2, samples: int = 0, scatter: float = 0.5, seed: int = 0) -> Model:
    """A product of D scalars trained to a number, ℓ(z) = ½(z − y)², or as the slope of a line, z = u₁⋯u_D.

    With a data set, ℓ(z) = mean_i ½(x_i z − y_i)², x_i ~ N(0, 1), y_i = target · x_i + scatter · ε_i. Without one, the
    only example is x = 1, and fresh ones are x ~ N(0, 1), y = target · x, whose mean loss is ½(z − target)² too.

    The group R_{>0}^{D−1} acts by u_a ↦ e^{t_a} u_a, u_{a+1} ↦ e^{−t_a} u_{a+1}, a = 1..D−1; the moment map is
    χ_a = ½(u_a² − u_{a+1}²), so that ∇χ_a = ξ_a. The action is free where no two neighbouring factors vanish
    together; the branches z > 0 and z < 0 are its orbits with D equal moduli on the slice. For D = 2,
    log det G = log(u² + v²).

    Args:
        target: y, any finite number; its sign decides the branch that the laws are written on.
        depth: D ≥ 2, the number of factors. Parameters are one array of shape (D,).
        samples: n, the size of the data set; 0 for none.
        scatter: standard deviation of the data's labels about the line, ≥ 0.
        seed: of the data.

    Raises:
        ValueError: an argument is out of range.

    Source: arXiv:2601.06597, eqs. (4)–(7); depth D is the natural extension.

    >>> model = uv(target=1.0)
    >>> float(model.loss(jnp.array([2.0, 0.5])))
    0.0
    """
    at_least("depth", depth, 2)
    at_least("samples", samples, 0)
    at_least("seed", seed, 0)
    non_negative("scatter", scatter)

    def draw_task(random):
        x = random.normal(size=samples)
        return {"x": x, "y": target * x + scatter * random.normal(size=samples), "weight": 1.0}

    task = {"x": np.ones(1), "y": np.full(1, target), "weight": 1.0}
    best = target
    if samples:
        task = draw_task(np.random.default_rng(seed))
        best = float(task["x"] @ task["y"])  # its sign is that of the least-squares slope

    def product(params):
        # Multiplied out: the gradient of jnp.prod made a step four times slower.
        z = params[0]
        for a in range(1, depth):
            z = z * params[a]
        return z

    def act(t, params):
        edges = jnp.concatenate([jnp.zeros_like(t[:1]), t, jnp.zeros_like(t[:1])])
        return params * jnp.exp(edges[1:] - edges[:-1])

    def section(invariants):
        z = invariants["z"]
        modulus = jnp.abs(z) ** (1.0 / depth)
        return jnp.concatenate([jnp.full((depth - 1,), modulus), (jnp.sign(z) * modulus)[None]])

    def init(key):
        # Truncated, so that no ensemble, however large, holds an outlier whose cubic gradient overruns the step.
        return jax.random.truncated_normal(key, -2.0, 2.0, (depth,))

    def predict(params, x):
        return x * product(params)

    risk = data_risk(predict, no_penalty)
    training = Training(
        predict=predict,
        task=task,
        risk=risk,
        penalty=no_penalty,
        draw_task=draw_task if samples else None,
        fresh=None if samples else Fresh((), lambda task, normals: Examples(normals, task["y"][0] * normals)),
    )

    return Model(
        name="uv",
        group=f"R_{{>0}}^{depth - 1}, rescaling neighbouring factors",
        group_dim=depth - 1,
        # Written out where it can be: as a mean over one example a step takes longer.
        loss=(lambda params: risk(task, params)) if samples else lambda params: 0.5 * (product(params) - target) ** 2,
        act=act,
        moment_map=lambda params: 0.5 * (params[:-1] ** 2 - params[1:] ** 2),
        invariants=lambda params: {"z": product(params)},
        section=section,
        init=init,
        branches={"z": (NEGATIVE, POSITIVE)},
        home={"z": NEGATIVE if best < 0 else POSITIVE},
        cut=("z",),
        training=training,
    )
