"""blackjax's Metropolis-adjusted Langevin algorithm in the shape of a `Kernel`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.config.kernels import MalaSettings
from langevin_ib.devices import load_blackjax
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Potential, Target, refuse_task

ACCEPTANCE = 0.57  # Roberts & Rosenthal, J. R. Statist. Soc. B 60, 255–268 (1998)
# First small steps: a start where the potential is steep would reject every step that suits the typical chain.
TUNING = ((0.98, 2000), (ACCEPTANCE, 1500), (ACCEPTANCE, 500))


def mala(potential: Potential, *, temperature: float, step_size: float | Float[Array, ""]) -> Kernel:
    """Exact samples of exp(−V/T) dθ: the Euler–Maruyama proposal, accepted by Metropolis–Hastings.

    blackjax writes its proposal as x + ε∇log p + √(2ε) ζ with log p = −V/T, so ε = hT makes it this project's Euler
    step of size h = `step_size`.

    Source: Roberts & Tweedie, Bernoulli 2(4), 341–363 (1996); blackjax.mcmc.mala.
    """
    blackjax = load_blackjax()
    kernel = blackjax.mala.build_kernel()

    def logdensity(params):
        # In the chain's own type, also where a model holds constants in another.
        return (-potential(params) / temperature).astype(jax.tree.leaves(params)[0].dtype)

    def init(params, task):
        refuse_task(task)
        return blackjax.mala.init(params, logdensity)

    def step(key, state, task):
        refuse_task(task)
        # blackjax draws its noise in JAX's default float type, so that type has to be the chain's.
        dtype = jax.tree.leaves(state.position)[0].dtype
        scale = jnp.asarray(step_size * temperature, dtype)
        with jax.enable_x64(dtype == jnp.float64):
            return kernel(key, state, logdensity, scale)

    return Kernel(draw=jax.random.split, init=init, step=step)


def build(settings: MalaSettings, target: Target, step_size: float | Float[Array, ""]) -> Kernel:
    """For a target."""
    del settings
    return mala(target.potential, temperature=float(target.temperature), step_size=step_size)


KERNEL = KernelKind(MalaSettings, build, stability=1.0, thin=4, tuning=TUNING, label="blackjax.mala")
