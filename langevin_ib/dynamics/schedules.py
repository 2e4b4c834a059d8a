"""Values that change along a run, as functions of a step's number in a compiled program; and kernels that take them.

The value of a `ValueSchedule` at step n is made of optax's schedules. A kernel of Langevin dynamics whose temperature
or potential changes is the same kernel, built at every step with that step's numbers: it carries its own state and n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.value_schedules import ValueSchedule
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Target
from langevin_ib.models.base import Params

Value = Callable[[Any], Float[Array, ""]]  # n ↦ v


class ScheduledState(NamedTuple):
    """State of the kernel that takes the steps, and how many it has taken."""

    inner: Any
    n: Any

    @property
    def position(self) -> Params:
        """The parameters."""
        return self.inner.position


def value_of(schedule: ValueSchedule, dtype: Any, *, slowed: int = 1) -> Value:
    """n ↦ v(n/slowed) in a type of floats, by optax; the end itself once it is reached.

    Args:
        schedule: v.
        dtype: of the result.
        slowed: steps that stand for one of the schedule: 2 of a companion at h/2.

    >>> from langevin_ib.config.value_schedules import read_schedule
    >>> value = value_of(read_schedule("cosine 1 3 10"), jnp.float32)
    >>> [round(float(value(n)), 3) for n in (0, 5, 10, 11)]
    [1.0, 2.0, 3.0, 3.0]
    """
    of_step, length, end = _optax(schedule), schedule.length, schedule.values[-1]

    def value(n: Any) -> Float[Array, ""]:
        n = jnp.asarray(n) if slowed == 1 else jnp.asarray(n) / slowed
        v = jnp.asarray(of_step(n))
        return (v if length is None else jnp.where(n >= length, end, v)).astype(dtype)

    return value


def sum_of(schedule: ValueSchedule, steps: int) -> float:
    """Σ v(n) over the steps n = 0, …, steps − 1, in float64.

    >>> from langevin_ib.config.value_schedules import read_schedule
    >>> sum_of(read_schedule("linear 1 3 2"), 4)
    9.0
    """
    changing = steps if schedule.length is None else min(schedule.length, steps)
    with jax.enable_x64(True):
        value = value_of(schedule, jnp.float64)
        # One number at a time: no array of all steps.
        added = jax.jit(lambda count: jax.lax.fori_loop(0, count, lambda n, total: total + value(n), 0.0))
        return float(added(changing)) + (steps - changing) * schedule.values[-1]


def _optax(schedule: ValueSchedule) -> optax.Schedule:
    values, counts = schedule.values, [int(n) for n in schedule.counts]
    if schedule.name == "linear":
        return optax.linear_schedule(values[0], values[1], counts[0])
    if schedule.name == "inverse":  # optax has none
        return lambda n: values[0] / (1.0 + n / schedule.tau)
    if schedule.name == "steps":
        return optax.join_schedules([optax.constant_schedule(value) for value in values], counts)
    once = optax.cosine_decay_schedule(values[0], counts[0], values[1] / values[0])
    if schedule.name == "cosine":
        return once
    period, cycles = counts
    return optax.join_schedules([once] * cycles, [period * (k + 1) for k in range(cycles - 1)])


def scheduled_kernel(
    kind: KernelKind, settings: KernelSettings, target_at: Callable[[Any], Target], h: float
) -> Kernel:
    """The kernel of a kind whose step n is that of a kernel for the target `target_at(n)`.

    Args:
        kind: whose settings say that its temperature may be an array (`KernelSettings.scheduled`).
        settings: of the kernel.
        target_at: n ↦ what chains are to sample at step n, with a temperature that is an array.
        h: the step size.
    """
    begun = kind.build(settings, target_at(0), h)

    def init(params: Params, task: PyTree) -> ScheduledState:
        return ScheduledState(begun.init(params, task), jnp.zeros((), jnp.int32))

    def step(noise: PyTree, state: ScheduledState, task: PyTree) -> tuple[ScheduledState, Any]:
        inner, info = kind.build(settings, target_at(state.n), h).step(noise, state.inner, task)
        return ScheduledState(inner, state.n + 1), info

    return Kernel(begun.draw, init, step, increments=begun.increments)
