"""The mean after a step of SGD with the noise done by hand: from η, μ, V and the covariance Σ that the noise states.

It shares no constant and no line with the step in `descent.py`, which a run holds against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.descent import SGDState
from langevin_ib.dynamics.kernel import Potential, Smoothed, refuse_task
from langevin_ib.dynamics.noise import Noise
from langevin_ib.models.base import Params
from langevin_ib.models.training import Training

QUADRATURE = 1e-6  # relative error of ∇L above which a population's Σ is not known well enough


@dataclass(frozen=True)
class DescentClaim:
    """A step of SGD as a configuration names it: m′ = μm + ĝ + λθ, θ′ = θ − ηm′.

    Attributes:
        potential: V = L + λ|θ|²/2, of which ĝ + λθ is the gradient on average.
        training: of the model.
        noise: its kind, with its settings; states Σ(θ) = Cov ĝ.
        lr: η.
        momentum: μ.
    """

    potential: Potential
    training: Training
    noise: Noise
    lr: float
    momentum: float = 0.0

    def covariance(self, params: Params) -> Float[Array, "q q"]:
        """Σ(θ)."""
        return gradient_noise(self.training, self.noise, params).covariance

    def mean_velocity(self, state: SGDState) -> Params:
        """E[m′ | state] = μm + ∇V(θ)."""
        slope = jax.grad(self.potential)(state.position)
        if not self.momentum:
            return slope
        velocity = optax.tree_utils.tree_get(state.optimiser, "trace")
        return jax.tree.map(lambda m, g: self.momentum * m + g, velocity, slope)

    def mean_after(
        self, phi: Callable[[Params], Float[Array, "..."]], state: SGDState, task: PyTree
    ) -> Float[Array, "..."]:
        """E[φ(θ′) | state] = φ(θ − η(μm + ∇V)) + ½η² tr(Σ D²φ).

        Raises:
            ValueError: the second derivatives of φ are not given, or there is a task of the chain's own.
        """
        refuse_task(task)
        if not isinstance(phi, Smoothed) or phi.hessians is None:
            raise ValueError("phi must have its hessians: noise that differs by direction needs more than their traces")
        mean = jax.tree.map(lambda x, m: x - self.lr * m, state.position, self.mean_velocity(state))
        covariance = self.covariance(state.position)
        spread = jnp.einsum("kij,ij->k", phi.hessians.astype(covariance.dtype), covariance)
        moved = phi(mean)
        return moved + jnp.pad(self.lr**2 / 2.0 * spread, (0, moved.size - spread.size))

    def velocity_gap(self, state: SGDState) -> Float[Array, ""]:
        """½ E[|m′|² | state] − ½|m|² = ½|μm + ∇V|² + ½ tr Σ − ½|m|²."""
        mean = ravel_pytree(self.mean_velocity(state))[0]
        return 0.5 * (jnp.sum(mean**2) + jnp.trace(self.covariance(state.position))) - self.velocity_square(state)

    def velocity_square(self, state: SGDState) -> Float[Array, ""]:
        """½|m|²."""
        velocity = ravel_pytree(optax.tree_utils.tree_get(state.optimiser, "trace"))[0]
        return 0.5 * jnp.sum(velocity**2)


def error_of_population(training: Training, noise: Noise, params: Params) -> float:
    """Relative error of ∇L at a point by the nodes that Σ of a population's examples is a sum over; 0 of a data set.

    Gauss–Hermite nodes are exact for polynomials, not for what has kinks, and many inputs are only sampled.
    """
    if not (noise.record.population or not training.size):
        return 0.0

    def both(theta: Params) -> tuple[Array, Array]:
        wanted = jax.grad(lambda x: training.risk(training.task, x))(theta)
        return gradient_noise(training, noise, theta).mean, ravel_pytree(wanted)[0]

    mean, wanted = map(np.asarray, jax.jit(both)(params))
    return float(np.linalg.norm(mean - wanted) / max(np.linalg.norm(wanted), 1e-300))


def isotropic_temperature(training: Training, noise: Noise, point: Params, lr: float) -> float:
    """T = η tr Σ/2q of a noise that is as strong at every point as at the minimum of the loss."""
    covariance: Callable[[Params], Array] = lambda params: gradient_noise(training, noise, params).covariance  # noqa: E731
    sigma = np.asarray(jax.jit(covariance)(point))
    return float(lr * np.trace(sigma) / (2 * sigma.shape[0]))
