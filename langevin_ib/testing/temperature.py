"""At which temperature does a sampler sample? Measured on potentials whose answer is known, and put into words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from langevin_ib.errors import ConfigError
from langevin_ib.testing import suspects
from langevin_ib.testing.extrapolation import Estimate, Fit, fit, richardson
from langevin_ib.testing.sampler import Length, Path, Sampler, resolved, simulate
from langevin_ib.testing.target import COPIES, SPRINGS, Target, standard

HALVINGS = 3  # runs at h, h/2, h/4
BURN_IN = 0.2  # of a run
WEAKEST = 0.05  # relative error of T beyond which nothing is said
POWER = 0.25  # of h in T, from which on T is said to depend on h
TESTS = 3  # that share the level: T of springs, T elsewhere, the time scale
FAR = 8.0  # standard deviations from which a relaxation starts
ONE_RATE = 0.15  # relative, within which rates of relaxation count as one time scale
STEPS_OF_STABILITY, OUT = 256, 1e3
STIFFEST, PER_OCTAVE = 64.0, 12
WINDOW = 0.25  # hκ from which on stability is looked for
SIZES = {  # chains, time of a run, chains of a relaxation: for JAX, NumPy with all chains at once, and one by one
    "jax": (1024, 400.0, 2048),
    "batched": (1024, 200.0, 2048),
    "numpy": (32, 100.0, 512),
}


class Row(NamedTuple):
    """One measurement: E[x ∂V/∂x] on a spring of stiffness κ (NaN: where there is no spring) at a step h."""

    step_size: float
    stiffness: float
    temperature: float
    error: float


@dataclass(frozen=True)
class EffectiveTemperature:
    """What `effective_temperature` found.

    Attributes:
        claimed: T, as it was said to be.
        step_size: h, as given.
        temperature: T̂ and its error, of steps of size zero; where T̂ depends on h, of steps of size h.
        power: of h in T̂: 0 for a sampler that has a temperature.
        elsewhere: the same where the potential is no spring.
        bias: T(h)/T̂ − 1 on the spring κ = 1 at the given h, and its error: the step's own bias.
        order: k of the bias, which is O(h^k), and its error; None where no bias is seen.
        time_scale: by how much faster than dθ = −∇V dt + √(2T) dW it relaxes; None if it has none.
        noise_factor: variance of its noise over 2hT; None without a time scale.
        stable: the largest hΛ that keeps all chains bounded; infinite if none was found up to 64.
        rows: every temperature that was measured.
        passed: whether temperature and time scale (if it has one) are those claimed.
        verdict: in plain English.
    """

    claimed: float
    step_size: float
    temperature: Estimate
    power: float
    elsewhere: Estimate
    bias: Estimate
    order: Estimate | None
    time_scale: Estimate | None
    noise_factor: float | None
    stable: float
    rows: tuple[Row, ...]
    passed: bool
    verdict: str

    def __bool__(self) -> bool:
        """Whether it passed."""
        return self.passed

    def __str__(self) -> str:
        return self.verdict


class _Measured(NamedTuple):
    """All that verdicts are made of."""

    claimed: float
    step_size: float
    fit: Fit
    power: float
    elsewhere: Estimate
    bias: Estimate
    clock: Estimate | None
    stable: float
    chains: int
    level: float

    @property
    def critical(self) -> float:
        """Standard errors beyond which something is off, by Student's t of the chains and Bonferroni's rule."""
        return float(stats.t.isf(0.5 * self.level / TESTS, self.chains - 1))

    def off(self, estimate: Estimate, wanted: float) -> bool:
        """Whether an estimate is further away than chance."""
        return abs(estimate.value - wanted) > self.critical * estimate.error


def effective_temperature(
    step: Callable | Sampler,
    *,
    temperature: float,
    step_size: float = 0.1,
    chains: int | None = None,
    time: float | None = None,
    seed: int = 0,
    level: float = 1e-3,
) -> EffectiveTemperature:
    """The temperature that a sampler of exp(−V/T) really samples, and what is wrong with it if it is another.

    It runs on six springs of stiffness κ = ½, 1, 2 and on two coordinates that are none, at h, h/2 and h/4. Each gives
    T(h, κ) = E[x ∂V/∂x], a mean over chains with its standard error. T(h, κ) = T̂ (1 + b (hκ)^k …) is fitted, so that
    the bias of a finite step is not taken for a wrong temperature, nor the other way round. From chains that start far
    away follows the time scale: a spring relaxes as exp(−κt), t = nh. A sampler whose rates are not those of one time
    scale (kinetic ones, HMC, NUTS) is said to have none, and is not judged by it.

    Args:
        step: (key, state, gradient, h) ↦ state, of one chain, or a `Sampler`. It samples at `temperature`.
        temperature: T, as claimed. At T = 1 mistakes in T cannot be seen, and at 2 or ½ not told from a factor of two.
        step_size: h, the largest at which it runs; stiffnesses go up to 2.
        chains: how many; by default 1024, of a step in NumPy that moves one chain 32.
        time: of each run: it takes time/h steps, as many again for each halving. By default 400; in NumPy 200, or 100.
        seed: of all that is drawn.
        level: the probability with which a sampler that is right is said to be wrong.

    Raises:
        ConfigError: the step fails, or takes no randomness from its key, or leaves all bounds at h.

    >>> import numpy as np
    >>> def step(rng, x, gradient, h):
    ...     return x - h * gradient(x) + np.sqrt(4 * h * 0.1) * rng.normal(size=x.shape)
    >>> answer = effective_temperature(Sampler(step, batched=True), temperature=0.1, chains=128, time=40.0)
    >>> print(answer.verdict.partition(". ")[0][-70:])
    the noise has twice the variance it should: √(4hT) for √(2hT)
    >>> answer.passed
    False
    """
    _check_numbers(temperature=temperature, step_size=step_size, level=level, time=1.0 if time is None else time)
    target = standard(float(temperature))
    sampler = resolved(step, target, step_size)
    defaults = SIZES["batched" if sampler.batched else sampler.backend]
    chains, time = chains or defaults[0], time or defaults[1]
    if chains < 8:
        raise ConfigError("chains", "a whole number from 8, as errors are those of chains", chains)
    steps = [step_size / 2**i for i in range(HALVINGS)]
    # Chains start in the law that is claimed: a right sampler has nothing to forget.
    starts = np.random.default_rng(seed).normal(size=(chains, target.size)) * target.widths()
    paths = []
    for i, h in enumerate(steps):
        length = Length(math.ceil(BURN_IN * time / h), math.ceil((1 - BURN_IN) * time / h))
        paths.append(simulate(sampler, target, h, starts, length, seed + 1000 * (i + 1)))
        if not np.isfinite(paths[-1].virial).all():
            raise ConfigError("step_size", "one at which the sampler stays bounded on stiffnesses up to 2", f"{h:g}")
    rows = [row for h, path in zip(steps, paths, strict=True) for row in _rows(h, path)]
    measured = _measured(rows, temperature, step_size)._replace(
        clock=_clock(sampler, target, steps[-2:], defaults[2], seed),
        stable=_stable(sampler, temperature, step_size, seed),
        chains=chains,
        level=level,
    )
    return _judged(measured, tuple(rows))


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise ConfigError(name, "a positive number", value)
    if not numbers["level"] < 1:
        raise ConfigError("level", "a probability", numbers["level"])


def _rows(h: float, path: Path) -> list[Row]:
    """A row for each stiffness, and one for where there is no spring: means over chains."""
    groups = path.virial.reshape(len(path.virial), -1, COPIES).mean(axis=2)
    means, errors = groups.mean(axis=0), groups.std(axis=0, ddof=1) / len(groups) ** 0.5
    return [Row(h, kappa, *pair) for kappa, *pair in zip((*SPRINGS, math.nan), means, errors, strict=True)]


def _measured(rows: list[Row], claimed: float, step_size: float) -> _Measured:
    springs = np.array([row for row in rows if not math.isnan(row.stiffness)])
    others = np.array([row for row in rows if math.isnan(row.stiffness)])
    h, kappa, values, errors = springs.T
    soft = values[kappa == min(SPRINGS)]
    power = round(2 * math.log2(soft[-2] / soft[-1])) / 2 if (soft > 0).all() else 0.0
    power = power if abs(power) > POWER else 0.0
    scale = (h / step_size) ** power
    fitted = fit(h * kappa, values / scale, errors / scale)
    order = 1 if fitted.order is None else max(1, min(4, round(fitted.order.value)))
    scale = (others[:, 0] / step_size) ** power
    elsewhere = richardson(others[:, 0], others[:, 2] / scale, others[:, 3] / scale, order)
    unit = (kappa == 1.0) & (h == step_size)
    T0, error0 = fitted.temperature
    bias = Estimate(float(values[unit][0] / T0 - 1), float(math.hypot(errors[unit][0], error0) / T0))
    return _Measured(claimed, step_size, fitted, power, elsewhere, bias, None, math.inf, 0, 0.0)


def _clock(sampler: Sampler, target: Target, steps: list[float], chains: int, seed: int) -> Estimate | None:
    """How much faster than it should a spring relaxes, at h → 0 from two steps; None where there is no one rate."""
    starts = np.tile(FAR * target.widths(), (chains, 1))
    starts[:, len(target.stiffness) :] = 0.0
    rates, errors = [], []
    for h in steps:
        n = max(1, round(1.0 / h))
        end = simulate(sampler, target, h, starts, Length(0, n), seed + round(1e6 * h)).end
        springs = (end / starts[:1])[:, : len(target.stiffness)] if np.isfinite(end).all() else np.zeros((chains, 1))
        share = springs.reshape(chains, -1, COPIES).mean(axis=2)
        means, se = share.mean(axis=0), share.std(axis=0, ddof=1) / chains**0.5
        if not (means > 3 * se).all():
            return None
        time = n * h * np.array(SPRINGS)
        rates.append(-np.log(means) / time)
        errors.append(se / means / time)
    rates, errors = np.array(rates), np.array(errors)
    weights = errors**-2.0
    coarse, fine = np.sum(weights * rates, axis=1) / np.sum(weights, axis=1)
    slack = ONE_RATE * abs(fine) + 4 * float(np.max(errors))
    if np.ptp(rates[1]) > slack or abs(coarse - fine) > slack:
        return None
    # Rates at κ depend on hκ: extrapolate each, then take the mean.
    ends, spread = 2 * rates[1] - rates[0], np.hypot(2 * errors[1], errors[0])
    weights = spread**-2.0
    return Estimate(float(np.sum(weights * ends) / np.sum(weights)), float(np.sum(weights) ** -0.5))


def _stable(sampler: Sampler, temperature: float, step_size: float, seed: int) -> float:
    """The largest hΛ up to which every spring keeps its chains, from one run on a spring for each of many hΛ."""
    octaves = round(math.log2(STIFFEST / WINDOW) * PER_OCTAVE)
    products = WINDOW * 2.0 ** (np.arange(octaves + 1) / PER_OCTAVE)
    target = Target(tuple(products / step_size), 0, temperature)
    starts = np.random.default_rng(seed).normal(size=(16, target.size)) * target.widths()
    end = simulate(sampler, target, step_size, starts, Length(0, STEPS_OF_STABILITY), seed).end
    bound = OUT * (temperature * np.maximum(step_size, step_size / products)) ** 0.5
    lost = ~(np.abs(end) <= bound).all(axis=0)
    if not lost.any():
        return math.inf
    first = int(np.argmax(lost))
    return float(products[first - 1]) if first else 0.0


def _judged(measured: _Measured, rows: tuple[Row, ...]) -> EffectiveTemperature:
    temperature, clock = measured.fit.temperature, measured.clock
    precise = temperature.error <= WEAKEST * abs(temperature.value)
    right = precise and measured.power == 0 and not measured.off(temperature, measured.claimed)
    same = not measured.off(measured.elsewhere, measured.claimed)
    timely = clock is None or not _wrong_clock(measured)
    return EffectiveTemperature(
        claimed=measured.claimed,
        step_size=measured.step_size,
        temperature=temperature,
        power=measured.power,
        elsewhere=measured.elsewhere,
        bias=measured.bias,
        order=measured.fit.order,
        time_scale=clock,
        noise_factor=None if clock is None else temperature.value / measured.claimed * clock.value,
        stable=measured.stable,
        rows=rows,
        passed=right and same and timely,
        verdict=" ".join(_sentences(measured, precise, right, same, timely)),
    )


def _wrong_clock(measured: _Measured) -> bool:
    # What is left of the extrapolation from two steps is some per cent.
    clock = measured.clock
    return clock is not None and measured.off(clock, 1.0) and not suspects.near(*clock, 1.0)


def _sentences(measured: _Measured, precise: bool, right: bool, same: bool, timely: bool) -> list[str]:
    (T, error), h, clock = measured.fit.temperature, measured.step_size, measured.clock
    head = f"T = {_pm(T, error)} for the claimed {measured.claimed:g}"
    if measured.power:
        head = f"T depends on the step size, as h^{measured.power:g}: {_pm(T, error)} at h = {h:g} for the claimed {measured.claimed:g}"
    if not precise:
        return [f"{head}: undecided; more chains or a longer time are needed."]
    if right:
        lines = [f"{head}: right."] if same and timely else [f"{head}: right on springs."]
    else:
        found = suspects.named((T, error), measured.power, clock, (h, measured.claimed))
        factor = "" if measured.power else f", {T / measured.claimed:.3g} times as much"
        lines = [f"{head}{factor}: {'; or '.join(found) if found else 'none of the usual mistakes fits'}."]
    if right and not same:
        lines.append(f"Where the potential is no spring T = {_pm(*measured.elsewhere)}: its law is not exp(−V/T).")
    if clock is None:
        lines.append("It has no time scale of overdamped dynamics: h is not judged.")
    elif timely:
        lines.append(f"Time runs as it should ({_pm(*clock)} of dθ = −∇V dt).")
    else:
        found = suspects.clocks(clock, measured.claimed) if right else []
        lines.append(f"Time runs at {_pm(*clock)} times the right rate{': ' + '; or '.join(found) if found else ''}.")
    return [*lines, _bias_line(measured), _stable_line(measured.stable)]


def _bias_line(measured: _Measured) -> str:
    bias, order, h = measured.bias, measured.fit.order, measured.step_size
    if order is None:
        return f"No bias of the step is seen: {_percent(bias)} at hΛ = {h:g}."
    return f"The step's own bias at hΛ = {h:g} is {_percent(bias)}, of order {_pm(*order)} in h."


def _stable_line(stable: float) -> str:
    if math.isinf(stable):
        return f"It stays bounded at every step up to hΛ = {STIFFEST:g}."
    if not stable:
        return f"It leaves all bounds from hΛ = {WINDOW:g} on or before."
    return f"It stays bounded up to hΛ = {stable:.2g}."


def _pm(value: float, error: float) -> str:
    """A number with its error to one digit: 0.2003 ± 0.0005.

    >>> _pm(0.20034, 0.00052)
    '0.2003 ± 0.0005'
    """
    digits = max(0, -math.floor(math.log10(error))) if error > 0 and math.isfinite(error) else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _percent(bias: Estimate) -> str:
    return f"({_pm(100 * bias.value, 100 * bias.error)})%"
