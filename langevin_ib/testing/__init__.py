"""A kit that tests samplers, models, kernels, noises and laws that are not ours.

`effective_temperature` says at which temperature a sampler really samples, `check_invariance` whether a step leaves a
law as it is, for which `exact_draws` has draws of a model's own measure. `check_model`, `check_kernel`, `check_noise`,
`check_law`, `check_confinement` run the contract checks of a plug-in; `parametrize_with_checks` makes tests of them.
"""

from langevin_ib.testing.breach import ConformanceError
from langevin_ib.testing.checks import (
    Check,
    check_confinement,
    check_kernel,
    check_law,
    check_model,
    check_noise,
    checks_of,
    parametrize_with_checks,
)
from langevin_ib.testing.exact import ExactDraws, exact_draws
from langevin_ib.testing.invariance import Invariance, check_invariance
from langevin_ib.testing.sampler import Sampler, stateful
from langevin_ib.testing.temperature import EffectiveTemperature, effective_temperature

__all__ = [
    "Check",
    "ConformanceError",
    "EffectiveTemperature",
    "ExactDraws",
    "Invariance",
    "Sampler",
    "check_confinement",
    "check_invariance",
    "check_kernel",
    "check_law",
    "check_model",
    "check_noise",
    "checks_of",
    "effective_temperature",
    "exact_draws",
    "parametrize_with_checks",
    "stateful",
]
