"""A shallow ReLU network f(x) = vᵀ relu(W x), on a data set or on its Gaussian population."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.models.base import POSITIVE, Model
from langevin_ib.models.checks import at_least, non_negative
from langevin_ib.models.losses import HUBER
from langevin_ib.models.own_data import loss_named, read_examples
from langevin_ib.models.pair import descending, pair_slice_terms, starting_vectors, unit_vectors
from langevin_ib.models.training import Examples, Fresh, Training, cast, data_risk, gaussian, imbalance

STRENGTH = (2.2, 1.8)  # |v_j||W_j| of the teacher's first and last neuron


def relu(  # noqa: PLR0915  # one closure over the data and the options
    inputs: int = 3,
    width: int = 2,
    samples: int = 32,
    population: bool = False,
    gain: float = 2.0,
    ridge: float = 0.3,
    seed: int = 0,
    teacher_scale: float = 0.0,
    start_scale: float = 0.0,
    skew: float = 0.0,
    random_signs: bool = False,
    loss: str = "squared",
    huber_threshold: float = HUBER,
    data: str = "",
    data_sha256: str = "",
) -> Model:
    """A one-hidden-layer ReLU network that learns from a teacher of its own form.

    L = gain mean_i ℓ(f(x_i), y_i) + ½ ridge Σ_j v_j²|W_j|², ℓ = ½(f − y)² unless another is given, with x ~ N(0, I).
    The group R_{>0}^h acts by
    W_j ↦ e^{t_j} W_j, v_j ↦ e^{−t_j} v_j; χ_j = ½(|W_j|² − v_j²), so that ∇χ_j = ξ_j (eq. (45) prints v_j without its
    square, but the gradient below it and eq. (47) are those of v_j²); log det G = Σ_j log(|W_j|² + v_j²), eq. (46).

    The ridge is a function of the invariants, so the symmetry stays. Without it exp(−ℓ/T) could not be normalised on
    the quotient: two neurons of opposite signs may cancel each other at any size, and a neuron that no sample activates
    may grow without changing the loss. (With all v_j > 0, as at home, only the second happens, and only on a data set.)

    Args:
        inputs: d ≥ 2. Parameters are {"v": (h,), "W": (h, d)}.
        width: h ≥ 1. Neurons of one sign may be exchanged, so the scalars are s_j = |v_j||W_j| in descending order.
        samples: n ≥ 1, the size of the data set; unused with `population`.
        population: whether the mean is over the Gaussian itself, in closed form by the arc-cosine kernel.
        gain: ≥ 0, the weight of the misfit; 2 is the paper's mean squared error.
        ridge: ≥ 0; with 0 no reduced law may exist.
        seed: of data and teacher. The teacher is balanced, with all v_j > 0 and |v_j||W_j| about 2.
        teacher_scale: if not 0, the teacher's entries are ~ N(0, teacher_scale²) instead.
        start_scale: if not 0, a start's entries are ~ N(0, start_scale²), but for the signs of v_j, which alternate, so
            that a Gaussian teacher can be learnt; else of order one, with all v_j > 0.
        skew: λ ≥ 0: a start's W_j is multiplied, its v_j divided by exp(2λ(j − 1)/(h − 1) − λ), eqs. (62)–(63).
        random_signs: whether each start draws the signs of its v_j, as the paper's does; for training with
            `start_scale`, since laws are those of one set of signs.
        loss: ℓ: squared, logistic, huber or module:function. Labels of `logistic` are the signs of a teacher's output.
        huber_threshold: δ of `huber`.
        data: an .npz file with x (n, d) and y (n,); then inputs, samples, population and teacher_scale are unused.
        data_sha256: digest of its content; empty for any.

    With data of one's own, and with `logistic`, whose labels have both signs, the signs of v_j alternate, of starts,
    teacher and laws; else f would be of one sign.

    Raises:
        ValueError: an argument is out of range, or the file is not what it has to be.

    Source: arXiv:2601.06597, eqs. (10), (44)–(47); the kernel: Cho & Saul, NeurIPS 2009, order 1.
    """
    of_example = loss_named(loss, huber_threshold)
    read = read_examples("relu", data, data_sha256, of_example) if data else None
    d = at_least("inputs", inputs, 2) if read is None else read["x"].shape[1]
    h = at_least("width", width, 1)
    n = at_least("samples", samples, 1)
    non_negative("ridge", ridge)
    non_negative("gain", gain)
    at_least("seed", seed, 0)
    for name, value in (("teacher_scale", teacher_scale), ("start_scale", start_scale), ("skew", skew)):
        non_negative(name, value)
    if random_signs and not start_scale:
        raise ValueError("random_signs must be False without start_scale, for laws have v_j > 0, got True")
    strength = np.linspace(*STRENGTH, h) if h > 1 else np.full(1, 2.0)
    stretch = imbalance(h, skew)
    if population and not of_example.squared:
        raise ValueError(f"population must be False with a loss that is not squared, got True with loss {loss}")
    signs = np.where(np.arange(h) % 2 == 0, 1.0, -1.0)
    classes = of_example.labels == "signs"
    both_signs = bool(data) or classes

    def draw_task(random):
        if teacher_scale:
            v, W = gaussian(random, (h,), teacher_scale), gaussian(random, (h, d), teacher_scale)
        else:
            v, W = np.sqrt(strength), np.sqrt(strength)[:, None] * unit_vectors(random, (h, d))
            v = v * signs if both_signs else v
        task = {"v": v, "W": W, "weight": gain}
        if population:
            return task
        x = random.normal(size=(n, d))
        y = np.maximum(x @ W.T, 0.0) @ v
        return {**task, "x": x, "y": np.where(y > 0, 1.0, -1.0) if classes else y}

    def predict(params, x):
        return jax.nn.relu(x @ params["W"].T) @ params["v"]

    def penalty(params):
        return 0.5 * ridge * jnp.sum(params["v"] ** 2 * jnp.sum(params["W"] ** 2, axis=1))

    def population_risk(task, params):
        known = cast(task, params)
        return gain * population_misfit(params["v"], params["W"], known["v"], known["W"]) + penalty(params)

    # Of labels that jump a mean over the population is known too badly by quadrature.
    population_known = read is None and not classes
    training = Training(
        predict=predict,
        task=draw_task(np.random.default_rng(seed)) if read is None else {**read, "weight": gain},
        risk=population_risk if population else data_risk(predict, penalty, of_example),
        penalty=penalty,
        draw_task=draw_task if read is None else None,
        fresh=Fresh((d,), lambda task, normals: Examples(normals, predict(task, normals)), gain)
        if population_known
        else None,
        loss=of_example,
    )

    def total(params):
        return training.risk(training.task, params)

    def section(invariants):
        w = invariants["w"]
        root = jnp.sqrt(jnp.linalg.norm(w, axis=1))
        return {"v": invariants["sign"] * root, "W": invariants["sign"][:, None] * w / root[:, None]}

    def scalars(invariants):
        s = descending(jnp.linalg.norm(invariants["w"], axis=1))
        return {f"s_{j + 1}": s[j] for j in range(h)}

    def init(key):
        outgoing, incoming = jax.random.split(key)
        if start_scale:
            v = start_scale * jnp.abs(jax.random.normal(outgoing, (h,)))
            v = v * jnp.asarray(signs, v.dtype)
            W = start_scale * jax.random.normal(incoming, (h, d))
        else:
            v = jax.random.uniform(outgoing, (h,), minval=0.5, maxval=1.5)
            v = v * jnp.asarray(signs, v.dtype) if both_signs else v
            W = starting_vectors(incoming, (h, d))
        v, W = v / jnp.asarray(stretch, v.dtype), W * jnp.asarray(stretch, v.dtype)[:, None]
        if random_signs:
            v = jax.random.rademacher(jax.random.fold_in(key, 1), v.shape, v.dtype) * jnp.abs(v)
        return {"v": v, "W": W}

    return Model(
        name="relu",
        group=f"R_{{>0}}^{h}, rescaling incoming against outgoing weights of each neuron",
        group_dim=h,
        loss=total,
        act=lambda t, params: {"v": params["v"] * jnp.exp(-t), "W": params["W"] * jnp.exp(t)[:, None]},
        moment_map=lambda params: 0.5 * (jnp.sum(params["W"] ** 2, axis=1) - params["v"] ** 2),
        invariants=lambda params: {"w": params["v"][:, None] * params["W"], "sign": jnp.sign(params["v"])},
        section=section,
        init=init,
        slice_terms=lambda invariants: pair_slice_terms(
            total(section(invariants)), jnp.linalg.norm(invariants["w"], axis=1), d, 1
        ),
        scalars=scalars,
        branches={f"s_{j + 1}": (POSITIVE,) for j in range(h)},
        discrete=("sign",),
        notes=(
            "laws and draws are those with "
            + ("alternating signs of v_j" if start_scale or both_signs else "all outgoing weights v_j > 0"),
        ),
        training=training,
    )


def population_misfit(
    v: Float[Array, " h"], W: Float[Array, "h d"], v_teacher: Float[Array, " k"], W_teacher: Float[Array, "k d"]
) -> Float[Array, ""]:
    """½ E (Σ_j v_j relu(W_j·x) − Σ_k v*_k relu(W*_k·x))² over x ~ N(0, I)."""
    rows = jnp.concatenate([W, W_teacher])
    weights = jnp.concatenate([v, -v_teacher])
    return 0.5 * weights @ relu_kernel(rows) @ weights


def relu_kernel(rows: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """E relu(a·x) relu(b·x) = (|a||b| sin φ + (π − φ) a·b)/2π for every two rows a, b at the angle φ.

    Values, gradients and Hessians are finite also where rows are parallel, opposite or zero.
    """
    inner = rows @ rows.T
    # |a|²|b|² − (a·b)² by Lagrange's identity: the difference itself would lose half of the digits at small angles.
    areas = rows[:, None, :, None] * rows[None, :, None, :]
    square = 0.5 * jnp.sum((areas - jnp.swapaxes(areas, 2, 3)) ** 2, axis=(2, 3))
    # Below sqrt(eps) the terms in φ add φ² to the gradient and φ to the Hessian, less than their rounding errors.
    bent = square > jnp.finfo(rows.dtype).eps * (square + inner**2)
    cross = jnp.where(bent, jnp.sqrt(jnp.where(bent, square, 1.0)), 0.0)
    angle = jnp.where(
        bent,
        jnp.arctan2(jnp.where(bent, cross, 1.0), jnp.where(bent, inner, 1.0)),
        jnp.where(inner < 0, jnp.pi, 0.0),
    )
    return (cross + (jnp.pi - angle) * inner) / (2.0 * jnp.pi)
