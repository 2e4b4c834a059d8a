"""The step of a sampler with an acceptance, tuned before its chains run."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from langevin_ib.devices import in_use, load_blackjax
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Params


def tune_step_size(
    build: Callable[[Float[Array, ""]], Kernel],
    starts: Params,
    *,
    key: Key[Array, ""],
    initial: float,
    stages: tuple[tuple[float, int], ...],
) -> tuple[float, Params]:
    """Dual averaging of one step size towards a target acceptance, pooled over all chains.

    Pooling makes the acceptance of one step a nearly noiseless number, so a few hundred steps settle it.

    Args:
        build: step_size ↦ kernel whose info has `acceptance_rate`.
        initial: first guess of the step size h.
        stages: (target acceptance, steps) of each adaptation, the last of which decides. An early stage with a high
            target takes small steps, so that chains that start where the potential is steep are not left behind.

    Returns:
        The averaged step size and the chains' positions.

    Raises:
        ConfigError: the kernel reports no `acceptance_rate`.

    Source: Hoffman & Gelman, JMLR 15 (2014), section 3.2.1, through blackjax.
    """
    chains = jax.tree.leaves(starts)[0].shape[0]
    dual_averaging_adaptation = load_blackjax().adaptation.step_size.dual_averaging_adaptation

    @jax.jit  # target and number of steps are arguments, so that all stages are one program
    def adapt(position, first_step, guess, target, steps):
        da_init, da_update, da_final = dual_averaging_adaptation(target)

        def step_and_adapt(n, carry):
            position, adaptation = carry
            kernel = build(jnp.exp(adaptation.log_step_size))
            noise = kernel.draw(jax.random.fold_in(key, n), chains)
            state, info = jax.vmap(kernel.step)(noise, jax.vmap(kernel.init)(position, None), None)
            if not hasattr(info, "acceptance_rate"):
                reported = ", ".join(getattr(info, "_fields", ())) or "nothing"
                raise ConfigError(
                    "tuning", "left out of a kernel that reports no acceptance_rate", f"one of {reported}"
                )
            return state.position, da_update(adaptation, jnp.mean(info.acceptance_rate))

        start = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), da_init(guess))
        start = start._replace(step=jnp.asarray(start.step, jnp.int64))
        position, adaptation = jax.lax.fori_loop(first_step, first_step + steps, step_and_adapt, (position, start))
        return position, da_final(adaptation)

    # Both on the device for good, as what comes back is: for arrays that are not JAX compiles once more.
    position, guess = jax.device_put((starts, jnp.asarray(initial, jnp.float64)), in_use()[0])
    first_step = 0
    for target, steps in stages:
        position, guess = adapt(position, first_step, guess, target, steps)
        first_step += steps
    return float(guess), position
