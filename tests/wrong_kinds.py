"""Kinds with one fault each, which a check of the kit has to find."""

from dataclasses import replace

import numpy as np

from langevin_ib.dynamics.confinement import Strengths, confinement_kind
from langevin_ib.dynamics.kernel import kernel_kind
from langevin_ib.dynamics.kicks import Kicks
from langevin_ib.dynamics.noise import kind_of

LM, PROJECTED, MALA = (kernel_kind(name) for name in ("leimkuhler-matthews", "projected", "mala"))


def hotter(kind, factor=1.05):
    """Its steps are at another temperature than they are asked for; what is stated is not."""
    return replace(kind, build=lambda settings, target, h: kind.build(settings, hot(target, factor), h))


def hot(target, factor):
    return replace(target, temperature=factor * target.temperature)


def all_hotter(kind, factor=1.15):
    """The same, and what is stated agrees with it."""
    return replace(
        hotter(kind, factor), virial=lambda settings, target, h: kind.virial(settings, hot(target, factor), h)
    )


HOT, HOT_PROJECTED, HOT_MALA = hotter(LM), hotter(PROJECTED), hotter(MALA)
ALL_HOT_PROJECTED = all_hotter(PROJECTED)
WRONG_INNOVATION = replace(LM, innovation=lambda settings, target, h: LM.innovation(settings, target, 1.05 * h))
NO_NORMALS = replace(
    LM,
    build=lambda settings, target, h: (
        (kernel := LM.build(settings, target, h)),
        replace(kernel, draw=lambda key, chains: 1.05 * kernel.draw(key, chains)),
    )[1],
)

STIFF = confinement_kind("stiff")
WRONG_STRENGTHS = replace(STIFF, strengths=lambda settings: Strengths(kappa=1.05 * settings.kappa))

MINIBATCH = kind_of("minibatch")


def wider(noise, along, count):
    """Kicks 5% too wide."""
    values, weights = MINIBATCH.kicks(noise, along, count)
    mean = (weights * values).sum(axis=1, keepdims=True)
    return Kicks(np.asarray(mean + 1.05 * (values - mean)), weights)


WIDER = replace(MINIBATCH, kicks=wider)
UNLABELLED = replace(MINIBATCH, outcomes=False)
DOUBLED = replace(MINIBATCH, covariance=lambda noise, each: 1.1 * MINIBATCH.covariance(noise, each))
