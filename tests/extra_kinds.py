"""A confinement, a kernel and a law from outside the package, by `extra_kinds:NAME`."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from langevin_ib.config.confinements import ConfinementSettings
from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.settings import setting
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind
from langevin_ib.dynamics.kernel import KernelKind, refuse_task
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.laws.family import family_formula
from langevin_ib.laws.law import LawKind
from langevin_ib.models import uv


@dataclass(frozen=True)
class QuarticSettings(ConfinementSettings):
    """q of q|χ|⁴/4."""

    quartic: float = setting(30.0, "q of q|χ|⁴/4", POSITIVE)


def quartic(settings, temperature):
    """C = q|χ|⁴/4."""
    del temperature

    def energy(model, params):
        return 0.25 * settings.quartic * jnp.sum(model.moment_map(params) ** 2) ** 2

    return Confinement("quartic", f"q|χ|⁴/4, q = {settings.quartic:g}", energy=energy)


QUARTIC = ConfinementKind(QuarticSettings, quartic, without_symmetry="none")


def tilted(settings, temperature):
    """C = |θ|⁴/4, which reduced laws keep."""
    del settings, temperature

    def energy(model, params):
        del model
        return 0.25 * jnp.sum(params**2) ** 2

    return Confinement("tilted", "|θ|⁴/4", energy=energy, reduced=energy)


TILTED = ConfinementKind(ConfinementSettings, tilted)


@dataclass(frozen=True)
class SlowedSettings(KernelSettings):
    """By how much the step is smaller than it says."""

    slowed: float = setting(2.0, "by how much steps are smaller", POSITIVE)


def slowed(settings, target, step_size):
    """Euler and Maruyama's integrator at h/slowed."""
    kernel = euler_maruyama(
        target.potential, target.like, temperature=target.temperature, step_size=step_size / settings.slowed
    )

    def step(noise, state, task):
        refuse_task(task)
        return kernel.step(noise, state, task)

    return dataclasses.replace(kernel, step=step)


SLOWED = KernelKind(SlowedSettings, slowed, stability=0.2, weak_order=1)

HALF = LawKind("half", "limit", lambda reduction: family_formula(0.5, "c = 1/2"), c=0.5)
SAME = LawKind("slice", "limit", HALF.formula)
NOT_A_RECORD = 3


def haar(settings, temperature):
    """C = 2T log((u² + v²)/2|uv|) of uv, a function of u/v alone: every orbit has the same mass, and c = −1."""
    del settings

    def energy(model, params):
        del model
        return 2.0 * temperature * jnp.log(0.5 * jnp.sum(params**2) / jnp.abs(params[0] * params[1]))

    return Confinement("haar", "2T log((u² + v²)/2|uv|)", energy=energy)


HAAR = ConfinementKind(ConfinementSettings, haar)


def off_axes():
    """uv at y = 0, whose chains begin away from the axes, where `HAAR` is infinite."""
    return dataclasses.replace(uv(0.0), init=lambda key: 0.5 + jax.random.uniform(key, (2,)))
