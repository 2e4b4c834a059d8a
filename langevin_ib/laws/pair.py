"""Closed forms for one vector pair (a ∈ R^p, b ∈ R^q), action (e^t a, e^{−t} b), s = |a||b|: powers and Bessel laws.

From da db = s^{(p+q−2)/2} e^{(p−q)t} ds dt dâ db̂, det G = 2s on the slice and dσ_S ∝ s^{−1/2} s^{(p+q−2)/2} ds dâ db̂.
They hold for the marginal of s where the loss depends on s alone, and for each pair where it is a sum over pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import special

from langevin_ib.laws.base import Law

MEASURE = "ds dâ db̂"

Loss = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]


def power_of_s(p: int, q: int, c: float) -> float:
    """Exponent of s in law (F): (p + q)/2 − 3/2 − c/2.

    >>> power_of_s(1, 1, 1.0), power_of_s(3, 5, -1.0)
    (-1.0, 3.0)
    """
    return 0.5 * (p + q) - 1.5 - 0.5 * c


def power_law(loss: Loss, temperature: float, power: float, name: str) -> Law:
    """exp(−ℓ(s)/T) s^power ds dâ db̂."""

    def log_density(s):
        s = np.asarray(s, np.float64)
        return -loss(s) / temperature + power * np.log(s)

    return Law(name, MEASURE, f"exp(−ℓ/T) s^({power:g})", log_density)


def stiff_law(p: int, q: int, loss: Loss, temperature: float, kappa: float) -> Law:
    """The exact marginal of s under κχ²/2: exp(−ℓ/T) s^{(p+q−2)/2} e^x K_{(p−q)/4}(x), x = κs²/4T.

    Args:
        p, q: dimensions of the pair.
        loss: ℓ(s), without the confinement.
        temperature: T.
        kappa: κ.
    """
    order = 0.25 * (p - q)
    # kve(ν, x) = K_ν(x) e^x.
    return _orbit_law(
        p, q, loss, temperature,
        lambda s: np.log(special.kve(order, kappa * s**2 / (4 * temperature))),
        f"e^x K_{{{order:g}}}(x), x = κs²/4T",
    )  # fmt: skip


def decayed_law(p: int, q: int, loss: Loss, temperature: float, weight_decay: float) -> Law:
    """The exact marginal of s under λ|θ|²/2: exp(−ℓ/T) s^{(p+q−2)/2} K_{(p−q)/2}(λs/T).

    Args:
        p, q: dimensions of the pair.
        loss: ℓ(s), without the confinement.
        temperature: T.
        weight_decay: λ.
    """
    order = 0.5 * (p - q)

    def log_orbit(s):
        x = weight_decay * s / temperature
        return np.log(special.kve(order, x)) - x

    return _orbit_law(p, q, loss, temperature, log_orbit, f"K_{{{order:g}}}(λs/T)")


def _orbit_law(p: int, q: int, loss: Loss, temperature: float, log_orbit: Loss, text: str) -> Law:
    def log_density(s):
        s = np.asarray(s, np.float64)
        return -loss(s) / temperature + 0.5 * (p + q - 2) * np.log(s) + log_orbit(s)

    return Law("exact", MEASURE, f"exp(−ℓ/T) s^({0.5 * (p + q - 2):g}) {text}", log_density)
