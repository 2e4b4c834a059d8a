"""Samplers as kernels `(draw, init, step)`."""

from langevin_ib.dynamics.base import Kernel
from langevin_ib.dynamics.constrained import constrained_langevin
from langevin_ib.dynamics.langevin import euler_maruyama, leimkuhler_matthews
from langevin_ib.dynamics.mala import mala
from langevin_ib.dynamics.sgd import sgd

__all__ = ["Kernel", "constrained_langevin", "euler_maruyama", "leimkuhler_matthews", "mala", "sgd"]
