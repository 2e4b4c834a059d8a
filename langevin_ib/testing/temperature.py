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
from langevin_ib.testing.extrapolation import Estimate, Fit, at_zero, fit, power
from langevin_ib.testing.sampler import Length, Path, Sampler, resolved, simulate
from langevin_ib.testing.target import COPIES, Target, standard

HALVINGS = 3  # runs at h, h/2, h/4
BURN_IN = 0.2  # of a run
WEAKEST = 0.05  # relative error of T beyond which nothing is said
NO_FIT = 1e-6  # p-value of the extrapolation below which there is none, if the bias is as large as T itself
POWER = 0.25  # of h in T, from which on T is said to depend on h
TESTS = 5  # that share the level: T of springs, T elsewhere, the power of h, whether there is a T, the time scale
LEAST_CHAINS = 16  # errors are those of chains; of fewer, Student's t asks for more than steps can give
FAR = 8.0  # standard deviations from which a relaxation starts
SPANS = 2.0, 0.5  # Λt of a relaxation; the shorter one where nothing is left after the longer
ONE_RATE = 0.15  # relative, within which rates of relaxation count as one time scale
STEPS_OF_STABILITY, OUT = 256, 1e3
SOFTEST, STIFFEST, PER_OCTAVE = 2.0**-8, 64.0, 12  # hκ between which stability is looked for
PRODUCT = 0.2  # hΛ of a run at h; less where that is more than a tenth of what is stable
SIZES = {  # chains, steps of a run at h, chains of a relaxation: for JAX, NumPy with all chains at once, and one by one
    "jax": (512, 3000, 2048),
    "batched": (512, 2000, 2048),
    "numpy": (48, 1000, 512),
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
        product: hΛ of the runs at h, Λ the largest stiffness.
        bias: T(h)/T̂ − 1 at hκ = `product`, and its error: the step's own bias.
        order: k of the bias, which is O(h^k), and its error; None where no bias is seen.
        time_scale: by how much faster than dθ = −∇V dt + √(2T) dW it relaxes; None if it has none.
        noise_factor: variance of its noise over 2hT; None without a time scale.
        stable: the largest hΛ that keeps all chains bounded; infinite if none was found up to 64.
        rows: every temperature that was measured.
        passed: whether temperature and time scale (if it has one) are those claimed; False where undecided.
        decided: whether enough was simulated to tell.
        verdict: in plain English.
    """

    claimed: float
    step_size: float
    temperature: Estimate
    power: float
    elsewhere: Estimate
    product: float
    bias: Estimate
    order: Estimate | None
    time_scale: Estimate | None
    noise_factor: float | None
    stable: float
    rows: tuple[Row, ...]
    passed: bool
    decided: bool
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
    slope: Estimate
    power: float
    elsewhere: Estimate
    product: float
    bias: Estimate
    lawless: bool
    clock: Estimate | None
    stable: float
    critical: float
    span: tuple[float, float]

    @property
    def decided(self) -> bool:
        """Whether it is precise enough: a T̂ known to `WEAKEST`, and a power of h that is small or surely is none."""
        if self.lawless:
            return True
        T, error = self.fit.temperature
        return error <= WEAKEST * abs(T) and (self.power != 0 or abs(self.slope.value) <= POWER)

    def off(self, estimate: Estimate, wanted: float) -> bool:
        """Whether an estimate is further away than chance."""
        return abs(estimate.value - wanted) > self.critical * estimate.error


def effective_temperature(
    step: Callable | Sampler,
    *,
    temperature: float,
    step_size: float = 0.1,
    chains: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    level: float = 1e-3,
) -> EffectiveTemperature:
    """The temperature that a sampler of exp(−V/T) really samples, and what is wrong with it if it is another.

    It runs on springs of stiffness Λ, Λ/2, Λ/4, hΛ = 0.2, and on two coordinates that are none, at h, h/2, h/4. Each is
    T(h, κ) = E[x ∂V/∂x], a mean over chains with its standard error. T(h, κ) = T̂ + b hκ + c (hκ)² is fitted, so that
    the bias of a finite step is not taken for a wrong temperature, nor the other way round. From chains that start far
    away follows the time scale: a spring relaxes as exp(−κt), t = nh. A sampler whose rates are not those of one time
    scale (kinetic ones, HMC, NUTS) is said to have none, and is not judged by it.

    Args:
        step: (key, state, gradient, h) ↦ state, of one chain, or a `Sampler`. It samples at `temperature`.
        temperature: T, as claimed. At T = 1 mistakes in T cannot be seen, and at 2 or ½ not told from a factor of two.
        step_size: h, the largest at which it runs. Stiffnesses follow from it; they are smaller where hΛ = 0.2 is more
            than a tenth of what is stable.
        chains: how many, from 16; by default 512, of a step in NumPy that moves one chain 48.
        steps: of the run at h; at h/2 twice as many. By default 3000; in NumPy 2000, or 1000.
        seed: of all that is drawn.
        level: the probability with which a sampler that is right is said to be wrong. Where too little was simulated
            to tell, nothing is said: `decided` is False.

    Raises:
        ConfigError: there are fewer than 16 chains; or the step fails, takes randomness from elsewhere than its key or
            the same for all chains, or is unstable from hΛ = 1/256 on.

    >>> import numpy as np
    >>> def step(rng, x, gradient, h):
    ...     return x - h * gradient(x) + np.sqrt(4 * h * 0.1) * rng.normal(size=x.shape)
    >>> answer = effective_temperature(Sampler(step, batched=True), temperature=0.1, chains=128, steps=400)
    >>> print(answer.verdict.partition(". ")[0].partition("as much: ")[2])
    the noise has twice the variance it should: √(4hT) for √(2hT)
    >>> answer.passed
    False
    """
    _check_numbers(temperature=temperature, step_size=step_size, level=level)
    if chains is not None and chains < LEAST_CHAINS:
        raise ConfigError("chains", f"a whole number from {LEAST_CHAINS}, as errors are those of chains", chains)
    sampler = resolved(step, standard(temperature, PRODUCT / step_size), step_size)
    defaults = SIZES["batched" if sampler.batched else sampler.backend]
    size = _Size(chains or defaults[0], steps or defaults[1], defaults[2], seed)
    stable = _stable(sampler, temperature, step_size, seed)
    if not stable:
        raise ConfigError(
            "step", f"one that stays bounded at hΛ = {SOFTEST:g}", f"one that does not, h = {step_size:g}"
        )
    target = standard(temperature, min(PRODUCT, 0.1 * stable) / step_size)
    halved = [step_size / 2**i for i in range(HALVINGS)]
    rows = [row for i, h in enumerate(halved) for row in _rows(target, h, _run(sampler, target, (h, 2**i), size))]
    measured = _measured(rows, temperature, step_size, (size.chains, level))._replace(
        clock=_clock(sampler, target, halved[-2:], size), stable=stable
    )
    return _judged(measured, tuple(rows))


class _Size(NamedTuple):
    """How much is simulated: chains and steps of a run at h, chains of a relaxation; and from which seed."""

    chains: int
    steps: int
    relaxing: int
    seed: int


def _run(sampler: Sampler, target: Target, at: tuple[float, int], size: _Size) -> Path:
    """A run at a step size, of so many times as many steps."""
    h, times = at
    # Chains start in the law that is claimed: a right sampler has nothing to forget.
    starts = np.random.default_rng(size.seed).normal(size=(size.chains, target.size)) * target.widths()
    burn_in = math.ceil(BURN_IN * size.steps)
    length = Length(burn_in * times, max(1, size.steps - burn_in) * times)
    path = simulate(sampler, target, h, starts, length, size.seed + 1000 * times)
    if not np.isfinite(path.virial).all():
        raise ConfigError(
            "step", f"one that stays bounded at h = {h:g}, hΛ = {h * max(target.stiffness):g}", "infinity"
        )
    return path


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise ConfigError(name, "a positive number", value)
    if not numbers["level"] < 1:
        raise ConfigError("level", "a probability", numbers["level"])


def _rows(target: Target, h: float, path: Path) -> list[Row]:
    """A row for each stiffness, and one for where there is no spring: means over chains."""
    groups = path.virial.reshape(len(path.virial), -1, COPIES).mean(axis=2)
    means, errors = groups.mean(axis=0), groups.std(axis=0, ddof=1) / len(groups) ** 0.5
    springs = target.stiffness[::COPIES]
    return [Row(h, float(kappa), *pair) for kappa, *pair in zip((*springs, math.nan), means, errors, strict=True)]


def _critical(chains: int, level: float, tests: int = TESTS) -> float:
    """Standard errors beyond which something is off, by Student's t of the chains and Bonferroni's rule."""
    return float(stats.t.isf(0.5 * level / tests, chains - 1))


def _measured(rows: list[Row], claimed: float, step_size: float, of: tuple[int, float]) -> _Measured:
    """What rows say, of so many chains and at a level; the time scale and what is stable are not known yet."""
    springs = np.array([row for row in rows if not math.isnan(row.stiffness)])
    others = np.array([row for row in rows if math.isnan(row.stiffness)])
    critical = _critical(*of)
    h, kappa, values, errors = springs.T
    soft = kappa == min(kappa)
    slope = power(h[soft], values[soft], errors[soft])
    seen = abs(slope.value) > max(POWER, critical * slope.error)
    exponent = round(2 * slope.value) / 2 if seen else 0.0
    scale = (h / step_size) ** exponent
    fitted = fit(h * kappa, values / scale, errors / scale)
    scale = (others[:, 0] / step_size) ** exponent
    elsewhere = at_zero(others[:, 0] / step_size, others[:, 2] / scale, others[:, 3] / scale)
    unit = int(np.argmax(h * kappa))
    T0, error0 = fitted.temperature
    bias = Estimate(float(values[unit] / T0 - 1), float(math.hypot(errors[unit], error0) / T0))
    # No temperature: some measurement is off the fit, and the bias exceeds T̂ itself; neither by chance.
    strange = fitted.p_value < NO_FIT and fitted.worst > _critical(*of, TESTS * len(values))
    excess = abs(values[unit] - T0) - abs(T0)
    lawless = bool(strange and excess > critical * math.hypot(errors[unit], 2 * error0))
    product, span = step_size * max(kappa), (float(min(values)), float(max(values)))
    return _Measured(
        claimed, step_size, fitted, slope, exponent, elsewhere, product, bias, lawless, None, math.inf, critical, span
    )


def _clock(sampler: Sampler, target: Target, steps: list[float], size: _Size) -> Estimate | None:
    """How much faster than it should a spring relaxes, at h → 0 from two steps; None where there is no one rate."""
    for span in SPANS:
        found = [_rates(sampler, target, h, size, span) for h in steps]
        if all(each is not None for each in found):
            break
    else:
        return None
    rates, errors = np.array(found).swapaxes(0, 1)
    weights = errors**-2.0
    coarse, fine = np.sum(weights * rates, axis=1) / np.sum(weights, axis=1)
    slack = ONE_RATE * abs(fine) + 4 * float(np.max(errors))
    if np.ptp(rates[1]) > slack or abs(coarse - fine) > slack:
        return None
    # Rates at κ depend on hκ: extrapolate each, then take the mean.
    ends, spread = 2 * rates[1] - rates[0], np.hypot(2 * errors[1], errors[0])
    weights = spread**-2.0
    return Estimate(float(np.sum(weights * ends) / np.sum(weights)), float(np.sum(weights) ** -0.5))


def _rates(
    sampler: Sampler, target: Target, h: float, size: _Size, span: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """−log of what is left of the mean after a time span/Λ, over κt, by stiffness; None where nothing is left."""
    springs = len(target.stiffness)
    starts = np.tile(FAR * target.widths(), (size.relaxing, 1))
    starts[:, springs:] = 0.0
    n = max(1, round(span / (h * max(target.stiffness))))
    end = simulate(sampler, target, h, starts, Length(0, n), size.seed + round(1e6 * h)).end[:, :springs]
    share = (end / starts[:1, :springs]).reshape(len(end), -1, COPIES).mean(axis=2)
    means, se = share.mean(axis=0), share.std(axis=0, ddof=1) / len(share) ** 0.5
    if not (means > 3 * se).all():  # NaN too
        return None
    time = n * h * np.array(target.stiffness[::COPIES])
    return -np.log(means) / time, se / means / time


def _stable(sampler: Sampler, temperature: float, step_size: float, seed: int) -> float:
    """The largest hΛ up to which every spring keeps its chains, from one run on a spring for each of many hΛ."""
    octaves = round(math.log2(STIFFEST / SOFTEST) * PER_OCTAVE)
    products = SOFTEST * 2.0 ** (np.arange(octaves + 1) / PER_OCTAVE)
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
    known = measured.decided and not measured.lawless
    right = known and measured.power == 0 and not measured.off(temperature, measured.claimed)
    same = not measured.off(measured.elsewhere, measured.claimed)
    timely = clock is None or not _wrong_clock(measured)
    return EffectiveTemperature(
        claimed=measured.claimed,
        step_size=measured.step_size,
        temperature=temperature,
        power=measured.power,
        elsewhere=measured.elsewhere,
        product=measured.product,
        bias=measured.bias,
        order=measured.fit.order,
        time_scale=clock,
        noise_factor=None if clock is None else temperature.value / measured.claimed * clock.value,
        stable=measured.stable,
        rows=rows,
        passed=right and same and timely,
        decided=measured.decided,
        verdict=" ".join(_sentences(measured, right, same, timely)),
    )


def _wrong_clock(measured: _Measured) -> bool:
    # What is left of the extrapolation from two steps is some per cent.
    clock = measured.clock
    return clock is not None and measured.off(clock, 1.0) and not suspects.near(*clock, 1.0, suspects.CLOCK)


def _sentences(measured: _Measured, right: bool, same: bool, timely: bool) -> list[str]:
    (T, error), h, clock = measured.fit.temperature, measured.step_size, measured.clock
    head = f"T = {plus_minus(T, error)} for the claimed {measured.claimed:g}"
    if measured.power:
        at = f"{plus_minus(T, error)} at h = {h:g} for the claimed {measured.claimed:g}"
        head = f"T depends on the step size, as h^{measured.power:g}: {at}"
    if measured.lawless:
        low, high = measured.span
        return [
            f"It has no temperature: T is {low:.3g} to {high:.3g} over steps and stiffnesses, for the claimed "
            f"{measured.claimed:g}, and neither a bias of the step nor a power of h fits that.",
            _stable_line(measured.stable),
        ]
    if not measured.decided:
        return [f"{head}: undecided; more chains or a longer time are needed."]
    if right:
        lines = [f"{head}: right{'' if same else ' on springs'}."]
    else:
        found = "; or ".join(_found(measured)) or "none of the usual mistakes fits"
        factor = "" if measured.power else f", {T / measured.claimed:.3g} times as much"
        lines = [f"{head}{factor}: {found}."]
    if right and not same:
        lines.append(
            f"Where the potential is no spring T = {plus_minus(*measured.elsewhere)}: its law is not exp(−V/T)."
        )
    if clock is None:
        lines.append("It has no time scale of overdamped dynamics: h is not judged.")
    elif timely:
        lines.append(f"Time runs as it should ({plus_minus(*clock)} of dθ = −∇V dt).")
    else:
        found = suspects.clocks(clock, measured.claimed) if right else []
        lines.append(
            f"Time runs at {plus_minus(*clock)} times the right rate{': ' + '; or '.join(found) if found else ''}."
        )
    return [*lines, _bias_line(measured), _stable_line(measured.stable)]


def _found(measured: _Measured) -> list[str]:
    """The mistakes that fit a wrong T̂; first those of samplers that are no explicit overdamped step."""
    temperature, clock, claimed = measured.fit.temperature, measured.clock, measured.claimed
    found = suspects.named(temperature, measured.power, clock, (measured.step_size, claimed))
    aside = "" if clock is not None else "as an overdamped step, "
    other: list[str] = []
    if not measured.power:
        kinetic, bounded = clock is None or not found, math.isinf(measured.stable)
        other = suspects.otherwise(temperature, claimed, kinetic=kinetic, bounded=bounded)
    return [*other, *(aside + words for words in found)]


def _bias_line(measured: _Measured) -> str:
    bias, order, product = measured.bias, measured.fit.order, measured.product
    if order is None:
        return f"No bias of the step is seen: {_percent(bias)} at hΛ = {product:g}."
    return f"The step's own bias at hΛ = {product:g} is {_percent(bias)}, of order {plus_minus(*order)} in h."


def _stable_line(stable: float) -> str:
    if math.isinf(stable):
        return f"It stays bounded at every step up to hΛ = {STIFFEST:g}."
    return f"It stays bounded up to hΛ = {stable:.2g}."


def plus_minus(value: float, error: float) -> str:
    """A number with its error to one digit: 0.2003 ± 0.0005.

    >>> plus_minus(0.20034, 0.00052)
    '0.2003 ± 0.0005'
    """
    digits = max(0, -math.floor(math.log10(error))) if error > 0 and math.isfinite(error) else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _percent(bias: Estimate) -> str:
    return f"({plus_minus(100 * bias.value, 100 * bias.error)})%"
