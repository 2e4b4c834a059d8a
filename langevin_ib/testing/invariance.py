"""Does a step leave a law as it is? From exact draws of it, a few steps, and a comparison: no burn-in, no mixing.

The test is repeated with more draws only where it is undecided, by the sequential procedure of A. Gandy and J. Scott,
*Unit testing for MCMC and other Monte Carlo methods* (2020), which bounds the probability of a false rejection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy import stats

from langevin_ib.errors import ConfigError, one_line

ROUNDS = 7  # at most
LARGER = 4  # draws of the rounds after the first, over its own
Statistics = Mapping[str, Callable[[Any], Any]]


@runtime_checkable
class Draws(Protocol):
    """A law that can be drawn from exactly, such as `langevin_ib.law(…)` or a distribution of NumPyro."""

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Independent draws, the first axis theirs."""
        ...


class Shift(NamedTuple):
    """By how much steps move the mean of a statistic, in its standard deviations under the law, and the error."""

    value: float
    error: float


@dataclass(frozen=True)
class Invariance:
    """What `check_invariance` found.

    Attributes:
        passed: whether the law stays.
        p_values: of each statistic, in the last round; of a test whose level is `threshold` there.
        shifts: what the steps did to the mean of each statistic, by pairs of a chain's start and end.
        threshold: of the smallest p-value times the number of statistics, in the last round.
        rounds: how many there were.
        draws: chains of the last round.
        level: the bound on the probability of a false rejection.
        verdict: in plain English.
    """

    passed: bool
    p_values: dict[str, float]
    shifts: dict[str, Shift]
    threshold: float
    rounds: int
    draws: int
    level: float
    verdict: str

    def __bool__(self) -> bool:
        """Whether it passed."""
        return self.passed

    def __str__(self) -> str:
        return self.verdict


def check_invariance(
    step: Callable[[Any, Any], Any],
    law: Draws,
    *,
    key: Any,
    steps: int = 1,
    draws: int = 4096,
    statistics: Statistics | None = None,
    level: float = 1e-5,
    batched: bool = False,
) -> Invariance:
    """Whether θ ~ law stays θ ~ law under k steps.

    Chains start from exact draws. After k steps each statistic is compared with that of other exact draws by the
    two-sample Kolmogorov–Smirnov test, or with the law's own `cdf` where there is one and θ is a number; the smallest p
    is multiplied by the number of statistics. Right is a step that has no bias (MALA, HMC, Gibbs); of others the
    shifts say how large the bias of k steps is.

    Args:
        step: (key, θ) ↦ θ, of one chain. If JAX cannot trace it, it is NumPy's, and its key a `numpy.random.Generator`.
        law: with `sample(key, (n,))`, exact and independent, as from `exact_draws`; with `log_prob` that is a statistic
            too, by default.
        key: of all that is drawn; JAX's, or a whole number.
        steps: k.
        draws: chains of the first round; the others have four times as many.
        statistics: name ↦ function of one θ; by default its coordinates, their squares, and log p.
        level: the probability with which a right step is rejected, at most.
        batched: whether a step in NumPy takes all chains at once, the first axis theirs: much faster.

    Raises:
        ConfigError: a number is out of range, or the step fails, changes the shape of θ, or takes randomness from
            elsewhere than its key.

    >>> import numpyro.distributions as dist
    >>> def flip(key, x):
    ...     return jnp.where(jax.random.bernoulli(key), -x, x)
    >>> bool(check_invariance(flip, dist.Normal(), key=jax.random.key(0)))
    True
    >>> bool(check_invariance(flip, dist.Normal(1.0), key=jax.random.key(0)))
    False
    """
    if steps < 1 or draws < 16:
        raise ConfigError("draws", "16 or more, and steps 1 or more", f"{draws} and {steps}")
    if not 0 < level < 1:
        raise ConfigError("level", "a probability", level)
    exact = {"z": law.cdf} if statistics is None and hasattr(law, "cdf") else {}  # pyright: ignore[reportAttributeAccessIssue]
    share = level / ROUNDS
    passing, rejecting, size = share ** (1 / ROUNDS), share, draws
    walk = _Numpy(step, steps, batched) if batched else _in_jax(step, steps)
    key = jax.random.key(key) if isinstance(key, int) else key
    n = 0
    while True:
        n += 1
        key, own = jax.random.split(key)
        start_key, fresh_key, step_key = jax.random.split(own, 3)
        before, fresh = law.sample(start_key, (size,)), law.sample(fresh_key, (size,))
        if n == 1:
            walk = _that_runs(walk, step, steps, (step_key, before[:2]))
        after = walk(step_key, before)
        chosen = _statistics(law, before) if statistics is None else statistics
        tables = [
            {name: np.asarray(jax.vmap(f)(jnp.asarray(x))) for name, f in chosen.items()}
            for x in (before, after, fresh)
        ]
        p_values = {name: _p_value(tables[1][name], tables[2][name]) for name in chosen}
        if exact and np.ndim(after) == 1 and np.isfinite(np.asarray(after)).all():
            p_values = {"z": float(stats.kstest(np.asarray(exact["z"](after)), "uniform").pvalue)} | p_values
        smallest = min(p_values.values()) * len(p_values)
        if smallest <= rejecting or smallest > passing + rejecting or n == ROUNDS:
            break
        rejecting /= passing
        size = LARGER * draws
    passed = smallest > rejecting
    shifts = {name: _shift(tables[0][name], tables[1][name]) for name in chosen}
    return Invariance(
        passed, p_values, shifts, rejecting, n, size, level, _verdict(passed, p_values, shifts, (steps, n, size, level))
    )


def _in_jax(step: Callable, steps: int) -> Callable[[Any, Any], Any]:
    """(key, θ of all chains) ↦ where k steps take them."""

    def one(key: Any, start: Any) -> Any:
        def again(n: Any, x: Any) -> Any:
            return _shaped(jnp.asarray(step(jax.random.fold_in(key, n), x), x.dtype), x)

        return jax.lax.fori_loop(0, steps, again, start)

    walk = jax.jit(jax.vmap(one))
    return lambda key, starts: walk(jax.random.split(key, len(starts)), starts)


@dataclass(frozen=True)
class _Numpy:
    """The same of a step in NumPy."""

    step: Callable
    steps: int
    batched: bool = False

    def __call__(self, key: Any, starts: Any) -> np.ndarray:
        starts = np.asarray(starts)
        groups = [starts] if self.batched else list(starts)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        ends = []
        for own, start in zip(rng.spawn(len(groups)), groups, strict=True):
            x = np.array(start)
            for _ in range(self.steps):
                x = _shaped(np.asarray(self.step(own, x)), start)
            ends.append(x)
        return ends[0] if self.batched else np.stack(ends)


def _shaped(moved: Any, x: Any) -> Any:
    if np.shape(moved) != np.shape(x):
        raise ConfigError("step", f"one that keeps the position's shape {np.shape(x)}", f"{np.shape(moved)}")
    return moved


def _that_runs(walk: Callable, step: Callable, steps: int, on: tuple[Any, Any]) -> Callable[[Any, Any], Any]:
    """A walk that runs from some draws: the one that is given, else NumPy's, chain by chain.

    Raises:
        ConfigError: none does.
    """
    faults = []
    for candidate in (walk,) if isinstance(walk, _Numpy) else (walk, _Numpy(step, steps)):
        # Traced anew: numbers that are drawn outside of JAX become constants, other ones in each program.
        twin = candidate if isinstance(candidate, _Numpy) else _in_jax(step, steps)
        try:
            ends = [np.asarray(each(*on)) for each in (candidate, twin)]
        except ConfigError:
            raise
        except Exception as error:  # of a user's function
            faults.append(f"{'numpy' if isinstance(candidate, _Numpy) else 'jax'}: {one_line(error)}")
        else:
            if not np.array_equal(*ends, equal_nan=True):
                raise ConfigError(
                    "step", "one whose randomness comes from its key alone", "another state for the same key"
                )
            return candidate
    raise ConfigError("step", "a function (key, position) ↦ position", f"one that fails: {'; '.join(faults)}")


def _statistics(law: Draws, draws: Array) -> Statistics:
    shape = draws.shape[1:]
    count = int(np.prod(shape))
    chosen: dict[str, Callable[[Any], Any]] = {}
    for i in range(count):
        name = f"θ_{i + 1}" if shape else "θ"
        chosen[name] = lambda x, i=i: jnp.ravel(x)[i]
        chosen[f"{name}²"] = lambda x, i=i: jnp.ravel(x)[i] ** 2
    if hasattr(law, "log_prob"):
        chosen["log p"] = lambda x: jnp.sum(law.log_prob(x))  # pyright: ignore[reportAttributeAccessIssue]
    return chosen


def _p_value(one: np.ndarray, other: np.ndarray) -> float:
    if not np.isfinite(one).all():
        return 0.0
    return float(np.asarray(stats.ks_2samp(one, other, method="asymp"))[1])


def _shift(before: np.ndarray, after: np.ndarray) -> Shift:
    with np.errstate(invalid="ignore"):  # a step may have given no number
        change, scale = after - before, max(float(before.std()), 1e-300)
        return Shift(float(change.mean() / scale), float(change.std(ddof=1) / len(change) ** 0.5 / scale))


def _verdict(passed: bool, p_values: dict[str, float], shifts: dict[str, Shift], size: tuple) -> str:
    steps, rounds, draws, level = size
    what = f"{steps} step{'s' if steps > 1 else ''} from {draws} exact draws, round {rounds} of at most {ROUNDS}"
    worst = min(p_values, key=lambda name: p_values[name])
    if passed:
        still = " No chain moved." if all(shift == (0.0, 0.0) for shift in shifts.values()) else ""
        return f"No change of the law is seen ({what}; smallest p = {p_values[worst]:.2g}, of {worst}).{still}"
    by = ""
    if worst in shifts:
        shift = shifts[worst]
        by = f", whose mean moves by ({shift.value:+.2g} ± {shift.error:.1g}) of its standard deviation"
    return f"The law does not stay ({what}): p = {p_values[worst]:.1g} of {worst}{by}; level {level:g}."
