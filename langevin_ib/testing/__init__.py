"""A kit that tests samplers, models, kernels, noises and laws that are not ours.

`effective_temperature` says at which temperature a sampler really samples.
"""

from langevin_ib.testing.sampler import Sampler, stateful
from langevin_ib.testing.temperature import EffectiveTemperature, effective_temperature

__all__ = ["EffectiveTemperature", "Sampler", "effective_temperature", "stateful"]
