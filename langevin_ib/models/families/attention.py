"""Softmax attention with trained queries and keys: channel-wise rescalings of each head."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.errors import ConfigError
from langevin_ib.models.base import POSITIVE, Model
from langevin_ib.models.checks import at_least, non_negative
from langevin_ib.models.losses import HUBER, Loss
from langevin_ib.models.own_data import check_file_labels, loss_named, read_examples
from langevin_ib.models.pair import (
    FLAT,
    PairPoint,
    balanced,
    descending,
    frame_avoiding,
    slice_terms_of,
    starting_vectors,
    to_chart,
    unit_vectors,
)
from langevin_ib.models.training import Examples, Fresh, Task, Training, data_risk, gaussian, imbalance

STRENGTH = (2.2, 1.8)  # |q_j||k_j| of the teacher's first and last channel


def attention(  # noqa: PLR0915  # one closure over the data and the options
    inputs: int = 2,
    width: int = 2,
    heads: int = 1,
    length: int = 3,
    samples: int = 4,
    gain: float = 400.0,
    ridge: float = 0.2,
    seed: int = 0,
    train_values: bool = False,
    teacher_scale: float = 0.0,
    start_scale: float = 0.0,
    skew: float = 0.0,
    boost: bool = False,
    loss: str = "squared",
    huber_threshold: float = HUBER,
    data: str = "",
    data_sha256: str = "",
) -> Model:
    """Multi-head attention that learns queries and keys from a teacher; its values are the teacher's, or learnt too.

    f(X) = Σ_heads softmax(XQ (XK)ᵀ/√r) X V, with V of shape (d, d), or (d, r) where it is learnt, and
    L = ½ gain mean |f(X) − f*(X)|² + ½ ridge Σ_j |q_j|²|k_j|², the
    mean over sequences and positions, the square summed over output channels; with another loss, gain mean ℓ(f(X), y)
    in its place, summed over channels too, but for `cross-entropy`, which takes channels for classes and the teacher's
    largest for labels. q_j and k_j are the columns of all heads'
    Q and K. The group R_{>0}^m, m = heads × r, acts by q_j ↦ e^{t_j} q_j, k_j ↦ e^{−t_j} k_j;
    χ_j = ½(|q_j|² − |k_j|²), so that ∇χ_j = ξ_j; log det G = Σ_j log(|q_j|² + |k_j|²), eq. (50).

    Softmax saturates, so the misfit is bounded: without the ridge, a function of the invariants, no law on the quotient
    could be normalised.

    Args:
        inputs: d ≥ 2. Parameters are {"Q": (heads, d, r), "K": (heads, d, r)}.
        width: r ≥ 1, channels per head. They may be exchanged within a head: the scalars are s_j = |q_j||k_j| in
            descending order, `s_1`, ... for one head. Heads differ by their fixed values and cannot be exchanged: with
            several, `s_1_1`, ... are named by head and rank in the head.
        heads: number of heads.
        length: tokens per sequence, at least 2.
        samples: number of sequences, with tokens ~ N(0, I).
        gain: ≥ 0, the weight of the misfit. The default keeps the laws at β = 10 away from s = 0, where the mean
            alone would leave little but the ridge; the paper's losses have gain 1 and a factor 2.
        ridge: ≥ 0; with 0 no reduced law exists.
        seed: of data, values and teacher. The teacher is balanced, with |q_j||k_j| about 2.
        train_values: whether V is learnt too; the group leaves it alone, so that it is a coordinate of the quotient.
        teacher_scale: if not 0, the teacher's entries, V among them, are ~ N(0, teacher_scale²) instead.
        start_scale: if not 0, a start's entries are ~ N(0, start_scale²); else of order one.
        skew: λ ≥ 0: a start's q_j is multiplied, its k_j divided by exp(2λ(j − 1)/(r − 1) − λ), eqs. (65)–(66).
        boost: whether the teacher's Q is multiplied by 4 + 4|z| and a start's by (1 + |z|)/4, z ~ N(0, 1).
        loss: ℓ: squared, logistic (labels are the signs of the teacher's output), cross-entropy, huber or
            module:function.
        huber_threshold: δ of `huber`.
        data: an .npz file with x (n, l, d), y (n, l, c), of cross-entropy (n, l), and perhaps the values V (h, d, c),
            which are drawn by the seed otherwise, with c = d (learnt values: c = r); then inputs, length, samples and
            teacher_scale are unused.
        data_sha256: digest of its content; empty for any.

    Raises:
        ValueError: an argument is out of range, or the file is not what it has to be.

    Source: arXiv:2601.06597, eqs. (11), (48)–(51).
    """
    of_example = loss_named(loss, huber_threshold, outputs=2)
    read = read_examples("attention", data, data_sha256, of_example) if data else None
    if read is not None:
        samples, length, inputs = read["x"].shape
    d, r = at_least("inputs", inputs, 2), at_least("width", width, 1)
    h, tokens = at_least("heads", heads, 1), at_least("length", length, 2, "for one token attends to itself only")
    n = at_least("samples", samples, 1)
    non_negative("ridge", ridge)
    non_negative("gain", gain)
    at_least("seed", seed, 0)
    for name, value in (("teacher_scale", teacher_scale), ("start_scale", start_scale), ("skew", skew)):
        non_negative(name, value)
    root = np.sqrt(np.linspace(*STRENGTH, r) if r > 1 else np.full(1, 2.0))
    stretch = imbalance(r, skew)
    channels = r if train_values else d

    def draw_task(random):
        if teacher_scale:
            task = {name: gaussian(random, (h, d, r), teacher_scale) for name in ("Q", "K")}
        else:
            task = {name: np.swapaxes(root[:, None] * unit_vectors(random, (h, r, d)), 1, 2) for name in ("Q", "K")}
        if boost:
            task["Q"] = task["Q"] * (4.0 + 4.0 * abs(random.normal()))
        x = random.normal(size=(n, tokens, d))
        values = random.normal(size=(h, d, channels)) * (teacher_scale or 1.0 / np.sqrt(d))
        with jax.enable_x64(True):
            y = np.asarray(attend(jnp.asarray(x), jnp.asarray(values), *(jnp.asarray(task[name]) for name in "QK")))
        if of_example.labels != "real":
            y = np.argmax(y, axis=-1) * 1.0 if of_example.labels == "classes" else np.where(y > 0, 1.0, -1.0)
        return {**task, "V": values, "x": x, "y": y, "weight": gain / tokens}

    task = draw_task(np.random.default_rng(seed))
    if read is not None:
        task = {**task, **read}
        _check_values(of_example, task, (h, d, channels), fixed=not train_values)

    def predict(params, x):
        values = params["V"] if train_values else jnp.asarray(task["V"], x.dtype)
        return attend(x, values, params["Q"], params["K"])

    def penalty(params):
        sizes = jnp.sum(params["Q"] ** 2, axis=1) * jnp.sum(params["K"] ** 2, axis=1)
        return 0.5 * ridge * jnp.sum(sizes)

    risk = data_risk(predict, penalty, of_example)
    training = Training(
        predict=predict,
        task=task,
        risk=risk,
        penalty=penalty,
        # With fixed values another task would be another model.
        draw_task=draw_task if train_values and read is None else None,
        fresh=Fresh(
            (tokens, d),
            lambda task, normals: Examples(normals, attend(normals, *(task[name] for name in ("V", "Q", "K")))),
            gain / tokens,
        )
        if read is None and of_example.labels == "real"
        else None,
        loss=of_example,
    )
    fixed = None if train_values else attend_pairs(task["x"], task["V"])

    def total(params):
        if fixed is None:
            return risk(task, params)
        if not of_example.squared:
            labels = jnp.asarray(task["y"], params["Q"].dtype)
            return gain / tokens * of_example.mean(fixed(params["Q"], params["K"]), labels) + penalty(params)
        error = fixed(params["Q"], params["K"]) - jnp.asarray(task["y"], params["Q"].dtype)
        return 0.5 * gain * jnp.sum(error**2) / (n * tokens) + penalty(params)

    def columns(matrices: Float[Array, "h d r"]) -> Float[Array, "h r d"]:
        return jnp.swapaxes(matrices, 1, 2)

    # The pole of the chart of k_j/|k_j|: far from all the teacher's keys and their opposites.
    frame = frame_avoiding(np.swapaxes(task["K"], 1, 2).reshape(h * r, d))

    def act(t, params):
        factor = jnp.exp(t).reshape(h, 1, r)
        return {**params, "Q": params["Q"] * factor, "K": params["K"] / factor}

    def moment_map(params):
        return 0.5 * jnp.ravel(jnp.sum(params["Q"] ** 2, axis=1) - jnp.sum(params["K"] ** 2, axis=1))

    def section(invariants):
        queries, keys = balanced(PairPoint(invariants["w"], invariants["eta"]), frame)
        return kept(invariants) | {"Q": columns(queries), "K": columns(keys)}

    def kept(tree):
        return {"V": tree["V"]} if train_values else {}

    names = [[f"s_{j + 1}" if h == 1 else f"s_{i + 1}_{j + 1}" for j in range(r)] for i in range(h)]

    def scalars(invariants):
        sizes = {}
        for i in range(h):
            s = descending(jnp.linalg.norm(invariants["w"][i], axis=-1))
            sizes |= {names[i][j]: s[j] for j in range(r)}
        return sizes

    def init(key):
        queries, keys, values, size = jax.random.split(key, 4)
        if start_scale:
            params = {name: start_scale * jax.random.normal(k, (h, d, r)) for name, k in (("Q", queries), ("K", keys))}
        else:
            # The two keys that it had before there were values to start.
            queries, keys = jax.random.split(key)
            params = {
                "Q": columns(starting_vectors(queries, (h, r, d))),
                "K": columns(starting_vectors(keys, (h, r, d))),
            }
        factor = jnp.asarray(stretch, params["Q"].dtype)
        boosted = 0.25 * (1.0 + jnp.abs(jax.random.normal(size))) if boost else 1.0
        params = {"Q": params["Q"] * factor * boosted, "K": params["K"] / factor}
        if train_values:
            params["V"] = (start_scale or 1.0) * jax.random.normal(values, (h, d, r))
        return params

    return Model(
        name="attention",
        group=f"R_{{>0}}^{h * r}, rescaling queries against keys channel by channel",
        group_dim=h * r,
        loss=total,
        act=act,
        moment_map=moment_map,
        invariants=lambda params: to_chart(columns(params["Q"]), columns(params["K"]), frame)._asdict() | kept(params),
        section=section,
        init=init,
        flat=FLAT,
        slice_terms=slice_terms_of(total, section),
        canonical=True,
        scalars=scalars,
        branches={name: (POSITIVE,) for head in names for name in head},
        notes=(
            *(() if train_values else ("value matrices are fixed",)),
            "the diagonal part of GL(r) is divided out, as in the paper",
        ),
        training=training,
    )


def _check_values(loss: Loss, task: Task, shape: tuple[int, int, int], *, fixed: bool) -> None:
    """Whether labels of a file have the channels of the values, or are among them.

    Raises:
        ConfigError: of the option `data`; says which shape is wanted.
    """
    h, d, channels = shape
    if np.shape(task["V"])[:2] != (h, d) or not (fixed or np.shape(task["V"])[2] == channels):
        wanted = f"an .npz file with V of shape ({h}, {d}, {'c' if fixed else channels}), heads × inputs × channels"
        raise ConfigError("data", wanted, f"shape {np.shape(task['V'])}")
    channels = np.shape(task["V"])[2]
    if loss.labels == "classes":
        wanted = int(max(task["y"].max(initial=0.0), 1.0)) + 1
        remedy = (
            f"an array V of shape ({h}, {d}, {wanted}), heads × inputs × classes," if fixed else f"width = {wanted}"
        )
        more = f" ({channels} classes, the channels of V; {remedy} makes them {wanted})" if wanted > channels else ""
        check_file_labels(loss, task["y"], channels, more)
    elif task["y"].shape[2] != channels:
        wanted = f"an .npz file with y of shape (n, l, {channels}), a number for each channel of the values"
        raise ConfigError("data", wanted, f"shape {task['y'].shape}")


def attend(
    x: Float[Array, "n l d"], values: Float[Array, "h d e"], Q: Float[Array, "h d r"], K: Float[Array, "h d r"]
) -> Float[Array, "n l e"]:
    """Σ_heads softmax(XQ (XK)ᵀ/√r) X V over n sequences X of l tokens.

    Source: arXiv:2601.06597, eq. (48).
    """
    n, tokens, d = x.shape
    # Sequences last, and sums of products for the scores: sixteen sequences are one vector register, where thousands of
    # small matrix products each cost more than their arithmetic. Twice as fast on a CPU for the paper's figure 3
    # (`sims/bench/training.py`).
    by_token = jnp.transpose(x, (2, 1, 0)).reshape(d, tokens * n)

    def head(values: Float[Array, "d e"], Q: Float[Array, "d r"], K: Float[Array, "d r"]) -> Float[Array, "e l n"]:
        r = Q.shape[1]
        weights = jnp.concatenate([Q / r**0.5, K, values], axis=1).T
        projected = (weights @ by_token).reshape(-1, tokens, n)
        queries, keys, mixed = projected[:r], projected[r : 2 * r], projected[2 * r :]
        scores = jnp.sum(queries[:, :, None] * keys[:, None], axis=0)
        weight = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=1, keepdims=True)))
        return jnp.sum(weight[None] * mixed[:, None], axis=2) / jnp.sum(weight, axis=1)

    # Head by head: with the heads as one more axis of the products XLA leaves its fast path.
    total = sum(head(*(part[i] for part in (values, Q, K))) for i in range(len(Q)))
    return jnp.transpose(jnp.asarray(total), (2, 1, 0))


def attend_pairs(
    x: Float[np.ndarray, "n l d"], values: Float[np.ndarray, "h d e"]
) -> Callable[[Float[Array, "h d r"], Float[Array, "h d r"]], Float[Array, "n l e"]]:
    """The same as a function of Q and K alone, for sequences and values that never change.

    Scores are a fixed matrix of token pairs x ⊗ x' times QKᵀ: one product for all chains, 3.4 times as fast on a CPU as
    the small products XQ and XK of each chain.
    """
    n, tokens, d = x.shape
    h = values.shape[0]
    pairs = np.einsum("nld,nke->nlkde", x, x).reshape(n * tokens * tokens, d * d)
    mixed = np.einsum("nld,hde->hnle", x, values)

    def predict(Q: Float[Array, "h d r"], K: Float[Array, "h d r"]) -> Float[Array, "n l e"]:
        forms = jnp.sum(Q[:, :, None, :] * K[:, None, :, :], axis=-1).reshape(h, d * d)
        scores = (forms @ jnp.asarray(pairs, Q.dtype).T).reshape(h, n, tokens, tokens) / Q.shape[2] ** 0.5
        return jnp.einsum("hnlk,hnke->nle", jax.nn.softmax(scores, axis=-1), jnp.asarray(mixed, Q.dtype))

    return predict
