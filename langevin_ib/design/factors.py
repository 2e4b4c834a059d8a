"""Factorisations of a vector of features z: products of two, chains of D, and blocks that share one scale."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from langevin_ib.models.base import NEGATIVE, POSITIVE, Branch, Invariants, Params, Scalars, SliceTerms
from langevin_ib.models.pair import pair_slice_terms

LOW, HIGH = 0.5, 1.5  # of the factors' moduli at a start of order one
CACHED = 64  # the same functions for the same arguments, so that designs of many operators are compiled once


@dataclass(frozen=True)
class Factors:
    """Parameters that multiply to z, and the rescalings that leave z alone; fields are named as in `Model`.

    Attributes:
        words: of the construction, for tables.
        group: the group, in words.
        group_dim: its dimension.
        product: θ ↦ z.
        act, moment_map, section: as in `Model`; the section takes z.
        start: (key, signs) ↦ θ of order one, with the given signs of z.
        gaussian: key ↦ θ with standard normal entries.
        slice_terms: (ℓ, z) ↦ the closed forms.
        penalty: z ↦ min ½ log det G_χ over the orbit, without its constant.
        scalars: as in `Model`; None for every z_i.
        walls: {scalar: i} of those that are the z_i at whose zero the action is not free.
        positive: scalars that are positive.
    """

    words: str
    group: str
    group_dim: int
    product: Callable[[Params], Float[Array, " m"]]
    act: Callable[[Float[Array, " k"], Params], Params]
    moment_map: Callable[[Params], Float[Array, " k"]]
    section: Callable[[Float[Array, " m"]], Params]
    start: Callable[[Key[Array, ""], Float[np.ndarray, " m"]], Params]
    gaussian: Callable[[Key[Array, ""]], Params]
    slice_terms: Callable[[Float[Array, ""], Float[Array, " m"]], SliceTerms]
    penalty: Callable[[Float[Array, " m"]], Float[Array, ""]]
    walls: Mapping[str, int]
    scalars: Callable[[Invariants], Scalars] | None = None
    positive: tuple[str, ...] = ()

    def branches(self) -> dict[str, tuple[Branch, ...]]:
        """The intervals on which the laws of the scalars live."""
        return dict.fromkeys(self.walls, (NEGATIVE, POSITIVE)) | dict.fromkeys(self.positive, (POSITIVE,))

    def home(self, signs: Float[np.ndarray, " m"]) -> dict[str, Branch]:
        """The branches in which z has the given signs."""
        return {name: NEGATIVE if signs[i] < 0 else POSITIVE for name, i in self.walls.items()}


@lru_cache(maxsize=CACHED)
def pairs(m: int) -> Factors:
    """z = u ⊙ v with {"u": (m,), "v": (m,)}, χ_i = ½(u_i² − v_i²), min ½ log det G = ½ Σ log|z_i| + (m/2) log 2.

    Source: arXiv:2601.06597, eqs. (14)–(16).
    """

    def section(z):
        modulus = jnp.sqrt(jnp.abs(z))
        return {"u": modulus, "v": jnp.sign(z) * modulus}

    def start(key, signs):
        magnitudes, side = jax.random.split(key)
        u, v = jax.random.uniform(magnitudes, (2, m), minval=LOW, maxval=HIGH)
        flip = jax.random.rademacher(side, (m,), u.dtype)
        return {"u": flip * u, "v": flip * jnp.asarray(signs, u.dtype) * v}

    def gaussian(key):
        u, v = jax.random.normal(key, (2, m))
        return {"u": u, "v": v}

    return Factors(
        words="depth 2",
        group=f"R_{{>0}}^{m}, rescaling u_i against v_i",
        group_dim=m,
        product=lambda params: params["u"] * params["v"],
        act=lambda t, params: {"u": params["u"] * jnp.exp(t), "v": params["v"] * jnp.exp(-t)},
        moment_map=lambda params: 0.5 * (params["u"] ** 2 - params["v"] ** 2),
        section=section,
        start=start,
        gaussian=gaussian,
        slice_terms=lambda loss, z: pair_slice_terms(loss, jnp.abs(z), 1, 1),
        penalty=lambda z: 0.5 * jnp.sum(jnp.log(jnp.abs(z))),
        walls=_walls(m),
    )


@lru_cache(maxsize=CACHED)
def chains(m: int, depth: int) -> Factors:
    """z_i = Π_a f_ai with {"factors": (D, m)}, rescaled between neighbours: R_{>0}^{m(D−1)}.

    χ_ai = ½(f_ai² − f_{a+1,i}²), a < D; det G = Π_i z_i² Σ_a f_ai^{−2}, which is least, D |z_i|^{2(D−1)/D}, at equal
    moduli: min ½ log det G = (D − 1)/D Σ log|z_i| + (m/2) log D.
    """

    def product(params):
        z = params["factors"][0]
        for a in range(1, depth):
            z = z * params["factors"][a]
        return z

    def act(t, params):
        edge = jnp.zeros((1, m), t.dtype)
        edges = jnp.concatenate([edge, t.reshape(depth - 1, m), edge])
        return {"factors": params["factors"] * jnp.exp(edges[1:] - edges[:-1])}

    def section(z):
        modulus = jnp.abs(z) ** (1.0 / depth)
        return {"factors": jnp.tile(modulus, (depth, 1)).at[-1].multiply(jnp.sign(z))}

    def start(key, signs):
        magnitudes, side = jax.random.split(key)
        moduli = jax.random.uniform(magnitudes, (depth, m), minval=LOW, maxval=HIGH)
        flips = jax.random.rademacher(side, (depth, m), moduli.dtype)
        last = jnp.asarray(signs, moduli.dtype) * jnp.prod(flips[:-1], axis=0)
        return {"factors": moduli * flips.at[-1].set(last)}

    def terms(loss, z):
        log_z = jnp.log(jnp.abs(z))
        log_det = np.log(depth) + 2.0 * (depth - 1) / depth * log_z
        # D moduli r = |z|^{1/D}: |ds/dz| = √D dr/dz.
        log_volume = -0.5 * np.log(depth) - (depth - 1) / depth * log_z
        return SliceTerms(jnp.sum(log_det), jnp.sum(log_volume), loss)

    return Factors(
        words=f"depth {depth}",
        group=f"R_{{>0}}^{m * (depth - 1)}, rescaling neighbouring factors of each z_i",
        group_dim=m * (depth - 1),
        product=product,
        act=act,
        moment_map=lambda params: jnp.ravel(0.5 * (params["factors"][:-1] ** 2 - params["factors"][1:] ** 2)),
        section=section,
        start=start,
        gaussian=lambda key: {"factors": jax.random.normal(key, (depth, m))},
        slice_terms=terms,
        penalty=lambda z: (depth - 1) / depth * jnp.sum(jnp.log(jnp.abs(z))),
        walls=_walls(m),
    )


@lru_cache(maxsize=CACHED)
def blocks(labels: tuple[Hashable, ...]) -> Factors:
    """z_B = s_B v_B with {"s": (blocks,), "v": (m,)}, one block for each label, in order of appearance.

    R_{>0}^blocks acts by s_B ↦ e^{t_B} s_B, v_B ↦ e^{−t_B} v_B; χ_B = ½(s_B² − |v_B|²), det G = Π_B (s_B² + |v_B|²),
    min ½ log det G = ½ Σ_B log|z_B| + (blocks/2) log 2. Scalars: z_i of a block of one, else s_B = |z_B|, as `s_2` of
    the second block.
    """
    m, known = len(labels), list(dict.fromkeys(labels))
    block = np.array([known.index(label) for label in labels])
    sizes = np.bincount(block)
    count = len(known)
    alone = {f"z_{i + 1}": i for i in range(m) if sizes[block[i]] == 1}
    wide = [b for b in range(count) if sizes[b] > 1]

    def square(v):
        return jax.ops.segment_sum(v**2, block, num_segments=count)

    def moduli(z):
        return jnp.sqrt(square(z))

    def section(z):
        s = jnp.sqrt(moduli(z))
        return {"s": s, "v": z / s[block]}

    def scalars(invariants):
        z = invariants["z"]
        s = moduli(z)
        return {name: z[i] for name, i in alone.items()} | {f"s_{b + 1}": s[b] for b in wide}

    def start(key, signs):
        scale, magnitudes, side = jax.random.split(key, 3)
        s = jax.random.uniform(scale, (count,), minval=LOW, maxval=HIGH)
        v = jax.random.uniform(magnitudes, (m,), s.dtype, minval=LOW, maxval=HIGH)
        flip = jax.random.rademacher(side, (count,), s.dtype)
        return {"s": flip * s, "v": flip[block] * jnp.asarray(signs, s.dtype) * v}

    def gaussian(key):
        scale, rest = jax.random.split(key)
        return {"s": jax.random.normal(scale, (count,)), "v": jax.random.normal(rest, (m,))}

    def terms(loss, z):
        s = moduli(z)
        each = [pair_slice_terms(jnp.zeros_like(loss), s[b], int(sizes[b]), 1) for b in range(count)]
        return SliceTerms(sum(term.log_det for term in each), sum(term.log_volume for term in each), loss)

    return Factors(
        words=f"{count} block{'s' if count > 1 else ''}",
        group=f"R_{{>0}}^{count}, rescaling s_B against the vector v_B",
        group_dim=count,
        product=lambda params: params["s"][block] * params["v"],
        act=lambda t, params: {"s": params["s"] * jnp.exp(t), "v": params["v"] * jnp.exp(-t)[block]},
        moment_map=lambda params: 0.5 * (params["s"] ** 2 - square(params["v"])),
        section=section,
        start=start,
        gaussian=gaussian,
        slice_terms=terms,
        penalty=lambda z: 0.5 * jnp.sum(jnp.log(moduli(z))),
        walls=alone,
        scalars=scalars,
        positive=tuple(f"s_{b + 1}" for b in wide),
    )


def _walls(m: int) -> dict[str, int]:
    return {f"z_{i + 1}": i for i in range(m)}
