"""uv and its deep form: z = u₁⋯u_D as a slope, group of rescalings between neighbouring factors."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.models.base import NEGATIVE, POSITIVE, Model, Params
from langevin_ib.models.checks import at_least, non_negative
from langevin_ib.models.losses import HUBER, Loss
from langevin_ib.models.normals import normal_rule
from langevin_ib.models.own_data import loss_named, read_examples
from langevin_ib.models.training import Examples, Fresh, Task, Training, data_risk, no_penalty

NODES = 257  # of a population's mean, over one normal number


def uv(
    target: float = 1.0,
    depth: int = 2,
    samples: int = 0,
    scatter: float = 0.5,
    seed: int = 0,
    loss: str = "squared",
    huber_threshold: float = HUBER,
    data: str = "",
    data_sha256: str = "",
) -> Model:
    """A product of D scalars trained to a number, ℓ(z) = ½(z − y)², or as the slope of a line, z = u₁⋯u_D.

    With a data set, ℓ(z) = mean_i ½(x_i z − y_i)², x_i ~ N(0, 1), y_i = target · x_i + scatter · ε_i. Without one, the
    only example is x = 1, and fresh ones are x ~ N(0, 1), y = target · x, whose mean loss is ½(z − target)² too.

    With another loss, ℓ(z) = mean_i ℓ(x_i z, y_i); without a data set the mean is over the population of fresh
    examples, by quadrature. Labels of `logistic` are of two classes, x ~ N(y · target/2, 1) with y = ±1 equally likely,
    whose best slope is z = target; fresh examples have y = 1 throughout, for those of y = −1 are the same, with −x.

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
        loss: ℓ: squared, logistic, huber or module:function.
        huber_threshold: δ of `huber`.
        data: an .npz file with x (n,) and y (n,); then target, samples, scatter and seed are unused.
        data_sha256: digest of its content; empty for any.

    Raises:
        ValueError: an argument is out of range, or the file is not what it has to be.

    Source: arXiv:2601.06597, eqs. (4)–(7); depth D is the natural extension.

    >>> model = uv(target=1.0)
    >>> float(model.loss(jnp.array([2.0, 0.5])))
    0.0
    """
    at_least("depth", depth, 2)
    at_least("samples", samples, 0)
    at_least("seed", seed, 0)
    non_negative("scatter", scatter)

    of_example = loss_named(loss, huber_threshold)
    classes = of_example.labels == "signs"

    def draw_task(random):
        if classes:
            y = random.choice([-1.0, 1.0], size=samples)
            return {"x": 0.5 * target * y + random.normal(size=samples), "y": y, "weight": 1.0}
        x = random.normal(size=samples)
        return {"x": x, "y": target * x + scatter * random.normal(size=samples), "weight": 1.0}

    def fresh(task, normals):
        if classes:
            return Examples(0.5 * target + normals, jnp.ones_like(normals))
        slope = target if "y" not in task else task["y"][0]
        return Examples(normals, slope * normals)

    own = bool(samples or data)
    task: Task = {"x": np.ones(1), "y": np.full(1, target), "weight": 1.0}
    best = target
    if data:
        read = read_examples("uv", data, data_sha256, of_example)
        task = {"x": read["x"], "y": read["y"], "weight": 1.0}
    elif samples:
        task = draw_task(np.random.default_rng(seed))
    elif not of_example.squared:
        task = {"weight": 1.0}
    if own:  # its sign is that of the best slope
        best = float(task["x"] @ task["y"]) if of_example.squared else _pull(of_example, task)

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

    risk = data_risk(predict, no_penalty, of_example)
    if not (own or of_example.squared):
        risk = _population_risk(of_example, predict, fresh)
    training = Training(
        predict=predict,
        task=task,
        risk=risk,
        penalty=no_penalty,
        draw_task=draw_task if samples and not data else None,
        fresh=None if own else Fresh((), fresh),
        loss=of_example,
    )

    return Model(
        name="uv",
        group=f"R_{{>0}}^{depth - 1}, rescaling neighbouring factors",
        group_dim=depth - 1,
        # Written out where it can be: as a mean over one example a step takes longer.
        loss=(lambda params: 0.5 * (product(params) - target) ** 2)
        if of_example.squared and not own
        else lambda params: risk(task, params),
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


def _pull(loss: Loss, task: Task) -> float:
    """−dℓ/dz at z = 0, where every prediction is 0: what is convex is least on this side."""
    x, y = jnp.asarray(task["x"], float), jnp.asarray(task["y"], float)
    return -float(jnp.sum(x * loss.slopes(jnp.zeros_like(x), y)))


def _population_risk(loss: Loss, predict: Callable, fresh: Callable) -> Callable[[Task, Params], Float[Array, ""]]:
    """(task, θ) ↦ the mean of ℓ over the population, by quadrature."""
    nodes, share = normal_rule(NODES)

    def risk(task: Task, params: Params) -> Float[Array, ""]:
        examples = fresh(task, jnp.asarray(nodes, params.dtype))
        return jnp.asarray(share, params.dtype) @ loss.each(predict(params, examples.x), examples.y)

    return risk
