"""Kernels in blackjax's loops, and blackjax's samplers in ours.

Both sides are a pair of pure functions, `init` and `step`. What differs: blackjax's step takes a key, a `Kernel`'s the
noise that was drawn for all chains of a block; a `Kernel`'s report is scalars, which are averaged over the steps.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.devices import load_blackjax
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Target, refuse_task
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Params

if TYPE_CHECKING:
    from blackjax.base import SamplingAlgorithm

DEAR = 4  # a gradient and a decision, as MALA
THIN = 1


def as_blackjax(kernel: Kernel, *, task: PyTree = None) -> SamplingAlgorithm:
    """A kernel as blackjax's `SamplingAlgorithm`: `init(position)`, `step(key, state)`, for one chain.

    A step is `kernel.step` on the first row of `kernel.draw(key, 1)`. In a loop that gives step n the key
    fold_in(fold_in(run's key, i), n) the chain is that of block i, of width one, of `run_ensemble`, up to how XLA
    rounds the two loops.

    Args:
        kernel: of any kind; one that is driven by a stream of words (`kernel.on("four-point")`) draws from keys here.
        task: what the chain learns, of a kernel that takes tasks.

    >>> import jax
    >>> from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
    >>> still = euler_maruyama(lambda x: 0.5 * x[0] ** 2, jax.numpy.ones(1), temperature=0.0, step_size=0.5)
    >>> algorithm = as_blackjax(still)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jax.numpy.ones(1)))
    >>> state.position.tolist()
    [0.5]
    """
    load_blackjax()
    from blackjax.base import SamplingAlgorithm  # noqa: PLC0415 - its import starts JAX

    def init(position: Any, rng_key: Any = None) -> Any:
        del rng_key
        return kernel.init(position, task)

    def step(rng_key: Any, state: Any) -> tuple[Any, Any]:
        with jax.threefry_partitionable(False):  # as blocks of chains draw, see `ensemble.program.settings`
            noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(rng_key, 1))
            return kernel.step(noise, state, task)

    return SamplingAlgorithm(init, step)


def from_blackjax(algorithm: SamplingAlgorithm) -> Kernel:
    """One of blackjax's samplers as a kernel, for `run_ensemble`.

    A step is `algorithm.step` at a key of its own. Of what it reports the scalars are kept.

    Args:
        algorithm: as `blackjax.hmc(logdensity, step_size, …)` returns; its state has a field `position`, which that of
            its stochastic-gradient samplers, whose step takes a minibatch, has not. It must start without a key.

    Raises:
        ValueError: at a chain's start: its state has no field `position`, or the chain was given a task.
        ConfigError: at a chain's start: it starts with a key, as `mclmc`, `ghmc` and `dynamic_hmc` do.

    >>> from langevin_ib.devices import load_blackjax
    >>> normal = lambda x: -0.5 * jax.numpy.sum(x**2)
    >>> kernel = from_blackjax(load_blackjax().hmc(normal, 0.5, jax.numpy.ones(1), 4))
    >>> state = kernel.init(jax.numpy.ones(1), None)
    >>> state, info = kernel.step(jax.random.key(0), state, None)
    >>> bool(info.acceptance_rate > 0.5)
    True
    """

    def init(params: Params, task: PyTree) -> Any:
        refuse_task(task)
        state = _started(algorithm, params)
        if not hasattr(state, "position"):
            raise ValueError(f"the state of a sampler must have a field position, got {type(state).__name__}")
        return state

    def step(key: Any, state: Any, task: PyTree) -> tuple[Any, Any]:
        refuse_task(task)
        # blackjax draws its noise in JAX's default float type, so that type has to be the chain's.
        with jax.enable_x64(jax.tree.leaves(state.position)[0].dtype == jnp.float64):
            moved, info = algorithm.step(key, state)
        same = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), moved, state)
        return same, _scalars_of(info)

    return Kernel(draw=jax.random.split, init=init, step=step)


def _started(algorithm: SamplingAlgorithm, params: Params) -> Any:
    """Its state at a chain's start, without a key."""
    wanted = "a sampler that starts without a key, such as hmc or mala"
    refused = ConfigError("algorithm", wanted, "one whose init takes a key")
    try:
        state = algorithm.init(params, None)
    except Exception as error:
        try:
            algorithm.init(params, jax.random.key(0))
        except Exception:  # a fault of its own, which has nothing to do with the key
            raise error from None
        raise refused from None
    if getattr(state, "random_generator_arg", 0) is None:  # dynamic HMC's state keeps the key for its first step
        raise refused
    return state


def _scalars_of(info: Any) -> Any:
    """The fields of a report that are one number."""
    fields = info._asdict() if hasattr(info, "_asdict") else {}
    scalars = {name: value for name, value in fields.items() if getattr(value, "shape", None) == ()}
    return _report(*scalars)(**scalars)


@cache
def _report(*names: str) -> Any:
    """One class for the same fields: a loop's carry must not change its type."""
    return namedtuple("Info", names)


@dataclass(frozen=True)
class AdjustedSettings(KernelSettings):
    """Nothing to set, of a sampler with an acceptance step."""

    adjusted: ClassVar[bool] = True
    dear: ClassVar[int] = DEAR


@dataclass(frozen=True)
class UnadjustedSettings(KernelSettings):
    """Nothing to set, of a sampler without one."""

    dear: ClassVar[int] = DEAR


def blackjax_kernel(
    make: Callable[[Callable[[Params], Any], Target, Any], SamplingAlgorithm],
    *,
    stability: float = 0.5,
    weak_order: int | None = None,
    tuning: tuple[tuple[float, int], ...] | None = None,
) -> KernelKind:
    """One of blackjax's samplers as a choice of `--integrator MODULE:NAME`.

    Args:
        make: (log p, target, h) ↦ the sampler, log p = −V/T.
        stability: hΛ, Λ the largest curvature where the law has mass, of a step that is set by rule; without `tuning`.
        weak_order: of the bias of its step; None of a sampler that accepts and rejects.
        tuning: (acceptance, steps) of the stages in which its step is tuned, if it reports `acceptance_rate`.

    >>> from langevin_ib.devices import load_blackjax
    >>> def hmc(log_density, target, h):
    ...     mass = jax.tree.map(jnp.ones_like, jax.flatten_util.ravel_pytree(target.like)[0])
    ...     return load_blackjax().hmc(log_density, h, mass, 8)
    >>> kind = blackjax_kernel(hmc, tuning=((0.8, 500),))
    >>> kind.adjusted
    True
    """

    def build(settings: KernelSettings, target: Target, step_size: Any) -> Kernel:
        del settings

        def log_density(params: Params) -> Any:
            # In the chain's own type, also where a model holds constants in another.
            return (-target.potential(params) / target.temperature).astype(jax.tree.leaves(params)[0].dtype)

        return from_blackjax(make(log_density, target, jnp.asarray(step_size, jax.tree.leaves(target.like)[0].dtype)))

    settings = AdjustedSettings if weak_order is None else UnadjustedSettings
    return KernelKind(settings, build, stability, weak_order, THIN if weak_order is None else None, tuning)
