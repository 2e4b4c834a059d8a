"""The random numbers: words of the streams, and the increments made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt32
from scipy import stats

from langevin_ib.dynamics.increments import BITS, FOUR_POINT, PER_DRAW, four_points
from langevin_ib.ensemble.streams import Stream, next_word, seeded
from langevin_ib.selftest.outcome import RARE, Outcome
from langevin_ib.session import Session

SEED = 18
CHAINS, WORDS = 512, 512
# The first words of the authors' C code from the state 1, 2, 3, 4.
REFERENCE = (641, 1573767, 3222811527, 3517856514, 836907274, 4247214768)
NORMAL_MOMENTS = (0.0, 1.0, 0.0, 3.0, 0.0)
ROUNDING = 1e-12


def check_reference_words(session: Session) -> Iterator[Outcome]:
    """The generator against its authors' code."""
    del session
    found = _words(Stream(*(jnp.uint32(i) for i in (1, 2, 3, 4))), len(REFERENCE))
    wrong = int(np.sum(found != np.array(REFERENCE, np.uint32)))
    yield Outcome("streams, reference", wrong, 0.0, 0.0, "words that differ from those of xoshiro128++'s authors")


def check_bits(session: Session) -> Iterator[Outcome]:
    """χ² of the number of ones in each of the 32 places of many chains' words."""
    del session
    drawn = _drawn()
    ones = np.array([np.sum((drawn >> np.uint32(bit)) & np.uint32(1)) for bit in range(32)], float)
    p_value = float(stats.chi2.sf(np.sum((ones - drawn.size / 2) ** 2) / (drawn.size / 4), 32))
    yield Outcome("streams, bits", p_value, RARE, 1.0, f"p-value of even bits, {drawn.size} words")


def check_neighbours(session: Session) -> Iterator[Outcome]:
    """Increments of neighbouring chains, and of neighbouring steps of a chain, are uncorrelated."""
    del session
    shifts = np.uint32(BITS) * np.arange(PER_DRAW[FOUR_POINT], dtype=np.uint32)
    values = np.asarray(four_points(jnp.asarray(_drawn()[..., None] >> shifts), jnp.float32))
    pairs = {
        "chains": (values[:, :-1], values[:, 1:]),
        "words of a chain": (values[:-1], values[1:]),
        "steps of a word": (values[..., :-1], values[..., 1:]),
    }
    bound = float(stats.norm.isf(RARE / 2))
    for name, (first, second) in pairs.items():
        z = float(np.mean(first * second, dtype=np.float64)) * math.sqrt(first.size)
        yield Outcome(f"streams, neighbouring {name}", abs(z), 0.0, bound, "correlation of increments, in its error")


def check_increments(session: Session) -> Iterator[Outcome]:
    """Four points have the first five moments of a normal."""
    del session
    values = np.asarray(four_points(jnp.arange(2**BITS, dtype=jnp.uint32), jnp.float64))
    worst = max(abs(float(np.mean(values**k)) - m) for k, m in enumerate(NORMAL_MOMENTS, start=1))
    yield Outcome("increments", worst, 0.0, ROUNDING, "largest error of the first five moments of four points")


def _drawn() -> UInt32[np.ndarray, "words chains"]:
    return _words(Stream(*(part[:, 0] for part in seeded(jax.random.key(SEED), jnp.arange(CHAINS)))), WORDS)


def _words(stream: Stream, count: int) -> UInt32[np.ndarray, "words ..."]:
    return np.asarray(jax.jit(lambda s: jax.lax.scan(lambda here, _: next_word(here), s, None, count)[1])(stream))
