"""blackjax's samplers as choices of `--integrator blackjax_kernels:NAME`."""

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from langevin_ib import blackjax_kernel
from langevin_ib.devices import load_blackjax


def hmc(log_density, target, h):
    """Eight leapfrog steps of length h at unit mass."""
    mass = jnp.ones_like(ravel_pytree(target.like)[0])
    return load_blackjax().hmc(log_density, h, mass, 8)


HMC = blackjax_kernel(hmc, tuning=((0.9, 300), (0.95, 300)))
