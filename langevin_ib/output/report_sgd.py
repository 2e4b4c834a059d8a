"""What a run of SGD says beyond its table: which law is nearer, the noise, the charge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from langevin_ib.output.blocks import Line
from langevin_ib.runs.descent_details import SgdDetails, noise_in_words
from langevin_ib.runs.result import Result
from langevin_ib.runs.verdicts import InvariantResult

if TYPE_CHECKING:
    from langevin_ib.laws.map import AboutMap
    from langevin_ib.statistics.tails import Tail

FREE = "fitted"  # the fitted law of which c is free too
FOURTH = 4
SEEN = 1e-3  # share of a law below 1e-6 that is said
OWN = "sgd"  # law (S)
STARTS = {"own": "the model's own starts", "slice": "starts on the slice"}  # of `--from RUN`: `report.findings`
LEADING = "(S) is the leading order in η"
GOOD_TO = 2.0  # factor that an estimate to leading order in η may be off


def descent_subject(result: Result, details: SgdDetails) -> str:
    """Noise, learning rate and confinement in one line."""
    config = result.plan.config
    words = noise_in_words(config, details.words)
    return f"SGD with η = {config.lr:g}, {words}, confinement {result.protocol.confinement}"


def nearest_lines(result: Result, details: SgdDetails) -> tuple[Line, ...]:
    """SGD's own law or the fitted family: which is nearer, and by how much."""
    nearest = result.nearest
    if not result.verdicts and not details.noisy:
        text = "no noise at the minimum, and no law there: see where the chains end, and what becomes of χ"
        return (Line(text, "bold"),)
    if nearest is None:
        return (Line("no comparison of SGD's own law with the fitted family here: see below why", "yellow"),)
    near, far = sorted((nearest.sgd_tv, nearest.fitted_tv))
    own = "SGD's own law " + ("map" if details.map else "(S)")
    free = "T and c at their best" if nearest.fitted_law == FREE else "at its best T"
    rival = f"the nearest fitted law ({nearest.fitted_law}, {free})"
    winner, loser = (rival, own) if nearest.law == nearest.fitted_law else (own, rival)
    ratio = f", {far / near:.1f} times as far" if near > 0 else ""
    decided = "" if nearest.decided else "; their 95% bounds overlap, so this does not decide"
    doubt = ", in doubt: see below" if result.doubts else ""
    worst = ", each by its worst invariant" if result.protocol.coordinates > 1 else ""
    return (Line(f"nearer: {winner}, TV {near:.4f}; {loser} {far:.4f}{worst}{ratio}{decided}{doubt}", "bold"),)


def descent_lines(result: Result, details: SgdDetails) -> tuple[Line, ...]:
    """Moments, noise meter, charge, how far the law is from (S) by itself."""
    lines = ["; ".join(_moments(name, invariant) for name, invariant in result.invariants.items())]
    if details.metered:
        lines.append(_meter(result, details))
    if details.measured.tail is not None:
        lines.append(_tail(details.measured.tail))
    lines.append(_charge(details))
    lines += [_exact(name, one) for name, one in details.map.items()]
    if details.map:
        lines += _limit_error(result, details)
    elif details.law_error:
        lines.append(_own_error(result, details))
    elif any(OWN in invariant.laws for invariant in result.invariants.values()):  # errors of all, or of none
        tail = details.measured.tail
        config = result.plan.config
        why = "does not give its cumulants" if tail is None else "has no fourth moment, or no third"
        labels = " with this noise of labels" if tail is None and (config.label_noise or config.flip_rate) else ""
        lines.append(f"{LEADING}: its own error is not estimated, for the noise {config.noise} {why}{labels}")
    if details.measured.errors is not None:
        lines += _estimate_error(result)
    return tuple(map(Line, lines))


def _meter(result: Result, details: SgdDetails) -> str:
    """How strong the noise is at the minimum, how far from isotropic and how skewed; with errors if it is estimated."""
    meter, rate = details.meter, "η/(1 − μ)" if result.plan.config.momentum else "η"
    errors = details.measured.errors
    spread = dict.fromkeys(meter._fields, "")
    if errors is not None:
        spread = {name: f" ± {error:.1g}" for name, error in zip(meter._fields, errors, strict=True)}
    of = "" if errors is None else f", estimated from {details.measured.draws} draws"
    text = (
        f"noise at the minimum{of}: tr Σ = {meter.trace:.4g}{spread['trace']}, which a Langevin step matches at "
        f"T = {rate} tr Σ/2q = {meter.temperature:.4g}{spread['temperature']}; largest eigenvalue "
        f"{meter.anisotropy:.3g}{spread['anisotropy']} times the mean, effective rank "
        f"{meter.effective_rank:.3g}{spread['effective_rank']}, share along the orbits "
        f"{meter.orbit_share:.1e}{spread['orbit_share']}, misfit of one T {meter.misfit:.3f}{spread['misfit']}"
    )
    for name, skewness in details.measured.skewness.items():
        error = "" if skewness.error is None else f" ± {skewness.error:.1g}"
        text += f"; skewness across the orbits, along {name}, {skewness.value:.3g}{error}"
    return text


def _tail(tail: Tail) -> str:
    """How heavy the tail of the draws of a noise is, and which moments it has not."""
    orders = {1: "no variance, so that there is no Σ", 2: "no third moment, so that there is no skewness"}
    lacks = orders.get(tail.highest, "no fourth moment" if tail.highest == FOURTH - 1 else "")
    if tail.highest == 1 and not tail.mean:
        lacks += ", and perhaps no mean: that it is ∇L was not checked"
    found = f"it has {lacks}" if lacks else "four moments, as far as these draws show"
    return f"tail of the noise, by Hill's estimate: {tail.words}: {found}"


def _charge(details: SgdDetails) -> str:
    """Where χ starts, and what becomes of it."""
    charge = details.charge
    if math.isnan(charge.draws):
        return "χ of the draws is not known"
    if details.start == "given":
        return f"rms χ in units of the pairs' size: {charge.start:.3g} in the first draws, {charge.draws:.2g} over all"
    parts = [STARTS[details.start]] if details.start in STARTS else []
    if details.noisy and details.across:
        balance = details.balance
        slowest = "" if balance is None or len(balance) == 1 else " at its slowest"
        if details.decay > 0:
            parts.append(f"χ decays at {details.decay:.4g} per unit of t = nη{slowest}, predicted near the slice")
        elif not details.metered:
            parts.append("there is no Σ, by which a rate of χ would be predicted")
        else:
            own = "" if balance is None else ", but to a balance of its own"
            parts.append(f"the noise does not take χ to zero here{own}")
    change = "" if charge.change is None else f"; median |χ(end) − χ(start)|/|χ(start)| {charge.change:.2g}"
    parts.append(
        f"rms χ in units of the pairs' size: {charge.start:.3g} at the start, {charge.draws:.2g} over the draws{change}"
    )
    return "; ".join(parts)


def _exact(name: str, about: AboutMap) -> str:
    """The law `map` of a scalar: how well it is known, and how far it is from collapse."""
    text = f"map is the law of {name} at this η without expansion, its bin masses known to TV {about.accuracy:.1g}"
    if about.leak:
        text += f", of the chains that have not run away, as {about.leak:.1g} of them do in a step"
    if about.growth is None:
        return text
    below = f"{about.below_window:.2g} of it lies nearer to 0 than the window"
    if about.below_tiny > SEEN:
        below += f", {about.below_tiny:.2g} below 1e-6"
    return f"{text}; near {name} = 0 E log |{name}'/{name}| of a step is {about.growth:.3g} > 0: no collapse; {below}"


def _limit_error(result: Result, details: SgdDetails) -> list[str]:
    """Which part of the distance from (S) is its own: that between `map` and (S), beside the estimate of it."""
    far = {name: about.from_s for name, about in details.map.items() if about.from_s is not None}
    if not far:
        return []
    name = max(far, key=lambda scalar: far[scalar])
    measured = result.invariants[name].laws["sgd"].comparison.tv if name in result.invariants else None
    seen = "" if measured is None else f" of the {measured:.4f} measured"
    error = details.law_error.get(name)
    estimate = ""
    if error is not None:
        order = "√η" if error.order < 1 else "η"
        estimate = f"; estimated from the moments of a step, to a factor of {GOOD_TO:g}, {error.tv:.4f}, like {order}"
    of = f" in {name}" if len(far) > 1 else ""
    return [f"sgd, (S), is the limit of map for η → 0: its own part{seen} is TV {far[name]:.4f}{of}{estimate}"]


def _estimate_error(result: Result) -> list[str]:
    """How far the bin masses of (S) may be off for Σ being an estimate: the mean TV of their errors."""
    known = [law for one in result.invariants.values() for name, law in one.laws.items() if name == OWN]
    if not known:
        return []
    worst = max(0.5 * math.sqrt(2.0 / math.pi) * float(law.mass_se.sum()) for law in known)
    return [
        f"(S) follows from an estimate of Σ, by which its bin masses are known to TV {worst:.2g}: that is part of its "
        "bounds and its p"
    ]


def _own_error(result: Result, details: SgdDetails) -> str:
    """How far (S) is from the law of steps of this size, and whether that explains the distance of the worst scalar."""
    rows = {name: invariant.laws[OWN].comparison for name, invariant in result.invariants.items()}
    name = max(rows, key=lambda scalar: rows[scalar].tv)
    row, error = rows[name], details.law_error[name]
    order = (
        f"falls like √η, for the gradient noise at the minimum is skewed (skewness {error.skewness:.2g})"
        if error.order < 1
        else "falls like η"
    )
    measured = f"{row.tv:.4f} (95% bounds {row.tv_lower95:.4f}–{row.tv_upper95:.4f})"
    if row.tv_lower95 > GOOD_TO * error.tv:
        meaning = f"at least {row.tv_lower95 / max(error.tv, 1e-12):.1f} times that, which it does not explain"
    elif row.tv_upper95 < error.tv / GOOD_TO:
        meaning = "below that"
    else:
        meaning = "compatible with that"
    of = f" of {name}" if len(rows) > 1 else ""
    return (
        f"{LEADING}: its own error{of}, estimated to a factor of {GOOD_TO:g} from the moments of a "
        f"step, is TV {error.tv:.4f} and {order}; the distance measured, {measured}, is {meaning}"
    )


def _moments(name: str, invariant: InvariantResult) -> str:
    """Mean and variance; by epochs also against the law of independent batches."""
    moments, share = invariant.moments, invariant.variance_to_independent
    text = f"{name}: mean {moments.mean:.5g}, variance {moments.variance:.4g} over all draws"
    return text if share is None else f"{text}, {share:.3g} times that of law (S) of batches drawn with replacement"
