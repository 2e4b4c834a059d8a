"""How a run is told, by the type of what its process has to say besides: columns, first lines, words.

A process whose details have a type of their own is told as any other, unless it joins:

    @wording_of.register
    def _(details: MyDetails) -> Wording:
        return Wording(own=my_lines)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

from langevin_ib.output.blocks import Column, Line
from langevin_ib.output.measured import measured_caption, measured_head
from langevin_ib.output.report_own import (
    own_draws_budget,
    own_draws_caption,
    own_draws_lines,
    own_draws_rerun,
)
from langevin_ib.output.report_sgd import descent_lines, descent_subject, nearest_lines
from langevin_ib.runs.descent_details import SgdDetails
from langevin_ib.runs.measured import MeasuredDetails
from langevin_ib.runs.own_details import OwnDrawsDetails
from langevin_ib.runs.result import Result
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.records import Absent

LAW = (Column("law", left=True), Column("measure", left=True, spare=6))
FITTED = (Column("T", spare=4), Column("c", spare=3))
DISTANCE = (Column("TV"), Column("floor", spare=1), Column("95% bounds", spare=5), Column("p", spare=2))
VERDICT = Column("verdict", left=True, verdict=True)
COLUMNS = (*LAW, *DISTANCE, Column("c of law", spare=1), VERDICT)
FITTED_COLUMNS = (*LAW, *FITTED, *DISTANCE, VERDICT)
TITLES = tuple(dict.fromkeys(column.title for column in (*COLUMNS, *FITTED_COLUMNS)))  # that `law_table` can fill


def thermal_subject(result: Result) -> str:
    """Temperature, or the process, confinement and slab in one line."""
    config, protocol = result.plan.config, result.protocol
    heat = f"T = {config.temperature:.4g}" if config.process.gibbs else config.sampler
    condition = f", draws with {protocol.conditioned_on}" if protocol.conditioned_on else ""
    return f"{heat}, confinement {protocol.confinement}{condition}"


def coefficient_lines(result: Result) -> tuple[Line, ...]:
    """c with its interval."""
    c = result.coefficient
    if isinstance(c, Absent):
        return (Line(f"c not estimated: {c.why}", "yellow"),)
    doubt = ", in doubt: see below" if result.doubts else ""
    return (
        Line(f"c = {c} (95% interval {c.ci95[0]:z.3f} to {c.ci95[1]:z.3f}){doubt}", "bold"),
        *map(Line, _outside(result, c)),
    )


def _outside(result: Result, c: Coefficient) -> list[str]:
    """That the interval leaves out c of every law that agrees, and how often it does so by chance: that is no doubt."""
    laws = next(iter(result.invariants.values())).laws
    known = {name: laws[name].c for name, verdict in result.verdicts.items() if verdict == "agrees" and name in laws}
    agreeing = {name: value for name, value in known.items() if value is not None}
    (low, high), count = c.ci95, len(agreeing)
    if not agreeing or any(low <= value <= high for value in agreeing.values()):
        return []
    nearest = min(agreeing, key=lambda name: abs(agreeing[name] - c.c))
    which = "which agrees" if count == 1 else "the nearest of those that agree"
    by_chance = "of runs that obey it exactly one in 20 does so by chance, and runs with other seeds tell"
    if laws[nearest].about.role == "limit":
        by_chance = f"it is the law of a limit, from which these settings may be some way off; {by_chance}"
    return [f"the interval leaves out {agreeing[nearest]:z.3f}, the c of the law {nearest}, {which}: {by_chance}"]


def thermal_caption(result: Result, sample: str) -> str:
    """What moved the chains, how much was drawn, and c."""
    config, c = result.plan.config, result.coefficient
    measured = "c not estimated" if isinstance(c, Absent) else f"c = {c}"
    # No line ends inside a number.
    measured = f"{measured}{in_doubt(result)}".replace(" ", "\N{NO-BREAK SPACE}")
    return f"{config.integrator or config.sampler}, {sample}; {measured}"


def in_doubt(result: Result) -> str:
    """Whether something stands against its verdicts."""
    return " (in doubt)" if result.doubts else ""


def steps_taken(result: Result) -> str:
    """How many chains took how many steps of which size, on which increments."""
    run, increments = result.run, result.plan.config.increments
    driven = "" if increments is None else f" on {increments} increments"
    step = wording_of(result.details).step
    where = ", where they are judged" if "lr" in result.plan.config.schedules else ""
    return (
        f"{run.chains} chains × {run.steps} steps of {step} = {run.step_size:.4g}{where}{driven} (time {run.time:.4g})"
    )


def run_again(result: Result) -> tuple[str, ...]:
    """The command that gives the same numbers; nothing of a model that was an object, which no command can name."""
    if "@" in result.plan.config.model_name:
        return ()
    return (
        "python -m langevin_ib.sim --config config.toml",
        "# config.toml lies in the folder of this page; or save the settings below as config.json, and name that",
    )


@dataclass(frozen=True)
class Wording:
    """What the table, the lines and the picture of a run have by its process; the defaults are those of a T and a c.

    Attributes:
        columns: of the table of laws, each with a title of `TITLES`.
        subject: what was sampled, in one line, without the model.
        head: the lines below the table.
        own: lines of its own, after those about verdicts.
        caption: from what was drawn, the second line above the picture.
        step: the symbol of its step size.
        mixes: whether its chains move for good, so that R-hat and ESS are shown.
        budget: how much was drawn.
        rerun: the lines of a shell that give the same numbers.
        stepped: whether its chains' steps are known: identities are those of a step, and its size has a bias.

    Raises:
        ValueError: a column has a title that nothing is known to stand under.
    """

    columns: tuple[Column, ...] = COLUMNS
    subject: Callable[[Result], str] = thermal_subject
    head: Callable[[Result], tuple[Line, ...]] = coefficient_lines
    own: Callable[[Result], tuple[Line, ...]] = lambda _: ()
    caption: Callable[[Result, str], str] = thermal_caption
    step: str = "h"
    mixes: bool = True
    budget: Callable[[Result], str] = steps_taken
    rerun: Callable[[Result], tuple[str, ...]] = run_again
    stepped: bool = True

    def __post_init__(self) -> None:
        unknown = [column.title for column in self.columns if column.title not in TITLES]
        if unknown:
            raise ValueError(f"titles of columns must be among {', '.join(TITLES)}, got {', '.join(unknown)}")


@singledispatch
def wording_of(details: object) -> Wording:
    """How a run with these details is told."""
    del details
    return Wording()


@wording_of.register
def _(details: MeasuredDetails) -> Wording:
    return Wording(
        subject=lambda result: details.plan.subject or thermal_subject(result),
        head=lambda result: measured_head(result, details),
        caption=lambda result, sample: measured_caption(result, details, sample),
        step=details.plan.symbol,
    )


@wording_of.register
def _(details: SgdDetails) -> Wording:
    return Wording(
        columns=FITTED_COLUMNS,
        subject=lambda result: descent_subject(result, details),
        head=lambda result: nearest_lines(result, details),
        own=lambda result: descent_lines(result, details),
        caption=lambda result, sample: f"{sample}{in_doubt(result)}",
        step="η",
        mixes=details.noisy,
    )


@wording_of.register
def _(details: OwnDrawsDetails) -> Wording:
    told = wording_of(details.process)
    return replace(
        told,
        own=lambda result: (*own_draws_lines(result, details), *told.own(result)),
        caption=lambda result, sample: own_draws_caption(result, details, sample),
        budget=lambda result: own_draws_budget(result, details),
        rerun=lambda result: own_draws_rerun(result, details),
        stepped=False,
    )
