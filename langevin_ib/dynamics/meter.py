"""How far the covariance Σ(θ) of a gradient noise is from that of isotropic noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.geometry.gram import all_fields
from langevin_ib.models.base import Model, Params


class NoiseReport(NamedTuple):
    """What an isotropic model would have to make of a gradient noise; see `measure`."""

    trace: Any
    temperature: Any
    anisotropy: Any
    effective_rank: Any
    orbit_share: Any
    misfit: Any


def measure(model: Model, covariance: Float[Array, "q q"], params: Params, lr: float) -> NoiseReport:
    """How far a gradient noise Σ at θ is from isotropic, and which temperature would come nearest.

    Returns:
        trace: tr Σ.
        temperature: T = η tr Σ/2q: Langevin dynamics at this T and step h = η makes kicks of the same mean square.
        anisotropy: the largest eigenvalue of Σ over the mean one; 1 for isotropic noise.
        effective_rank: (tr Σ)²/tr Σ², q for isotropic noise.
        orbit_share: tr PΣ/tr Σ, with P on the orbit directions ξ_a (those of a compact part included): 0 for the noise
            of SGD, whose every gradient is orthogonal to the orbits, m/q for isotropic noise.
        misfit: |Σ − (tr Σ/q) I| / |Σ| in the Frobenius norm, how far one T is from fitting: √(1 − r/q), r the
            effective rank.
    """
    q = covariance.shape[0]
    trace, square = jnp.trace(covariance), jnp.sum(covariance**2)
    basis = jnp.linalg.qr(all_fields(model, params).T)[0]
    gap = covariance - trace / q * jnp.eye(q, dtype=covariance.dtype)
    return NoiseReport(
        trace=trace,
        temperature=lr * trace / (2 * q),
        anisotropy=jnp.linalg.eigvalsh(covariance)[-1] * q / trace,
        effective_rank=trace**2 / square,
        # Not negative, as rounding may have it.
        orbit_share=jnp.maximum(jnp.trace(basis.T @ covariance @ basis) / trace, 0.0),
        misfit=jnp.sqrt(jnp.sum(gap**2) / square),
    )
