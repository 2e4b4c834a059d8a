"""What a run found, in one sentence, made by rule from its verdicts: the terminal and the page lead with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from langevin_ib.output.measured import measured_lead, measured_of
from langevin_ib.runs.result import Result
from langevin_ib.runs.verdicts import Group
from langevin_ib.statistics.coefficient import Coefficient, can_be
from langevin_ib.statistics.compare import Verdict
from langevin_ib.statistics.records import Absent, Doubt

VERDICTS: tuple[Verdict, ...] = ("agrees", "differs", "undecided")


class Standing(NamedTuple):
    """Laws by their verdict; those that share one, for they lie within the margin of each other, stand together."""

    agree: tuple[tuple[str, ...], ...]
    differ: tuple[tuple[str, ...], ...]
    undecided: tuple[tuple[str, ...], ...]


def answer(result: Result) -> str:
    """One sentence on which law the draws obey. It says no more than the verdicts do, and none where there are doubts.

    Laws with one verdict together are joined by "or": the draws obey one of them, and the margin does not tell which.
    A limit that agrees within the margin, and whose c the draws' interval leaves out, is not said to be obeyed.
    """
    measured = measured_of(result)
    if measured is not None:
        return measured_lead(result, measured)
    if result.doubts:
        return _of_doubts(result.doubts)
    if not result.verdicts:
        return f"There is no law here to hold the draws against{_colon(result.missing)}."
    standing = standing_of(result.verdicts, result.groups)
    if result.against:
        return _of_contested(result, standing)
    within = f"to within TV {result.plan.config.margin:g}"
    if len(result.plan.scalars) > 1:
        within += " in every invariant"
    condition = result.protocol.conditioned_on
    draws = f"the draws with {condition}" if condition else "the draws"
    c = _measured(result.coefficient)
    if standing.agree:
        text = _of_agreement(draws, standing, within, c, of_another_c(result))
    elif not standing.undecided:
        text = _of_none(draws, result, within, c)
    elif standing.differ:
        text = (
            f"{draws} do not obey {_listed(standing.differ)} {within}{c}; whether they obey "
            f"{_listed(standing.undecided)}, this run cannot decide"
        )
    else:
        text = f"this run cannot decide which law {draws} obey {within}{c}"
    drift = "" if result.drift is None else "; all draws together drift, and have no law"
    return f"{text[0].upper()}{text[1:]}{drift}."


def standing_of(verdicts: Mapping[str, Verdict], groups: Sequence[Group]) -> Standing:
    """The laws by verdict: groups as one, and the laws of no group by themselves, in the order of the table.

    >>> group = Group(("exact", "slice"), 1e-3, "agrees")
    >>> standing_of({"exact": "agrees", "slice": "undecided", "hard": "differs"}, [group])
    Standing(agree=(('exact', 'slice'),), differ=(('hard',),), undecided=())
    """
    group_of = {law: group for group in groups for law in group.laws}
    units: dict[tuple[str, ...], Verdict] = {}
    for law, verdict in verdicts.items():
        group = group_of.get(law)
        units.setdefault(*((law,), verdict) if group is None else (group.laws, group.verdict))
    return Standing(*(tuple(laws for laws, each in units.items() if each == wanted) for wanted in VERDICTS))


def of_another_c(result: Result) -> list[str]:
    """Limits and controls that agree within the margin while the 95% interval of the draws' c leaves theirs out."""
    laws = next(iter(result.invariants.values())).laws
    if isinstance(result.coefficient, Absent):
        return []
    agreeing = [law for unit in standing_of(result.verdicts, result.groups).agree for law in unit if law in laws]
    held = [law for law in agreeing if laws[law].about.role in ("limit", "control")]
    return [law for law in held if not can_be(laws[law].c, *result.coefficient.ci95)]


def _of_contested(result: Result, standing: Standing) -> str:
    """Draws of one's own that are not of the law that they are said to have: why not, and which laws they do obey."""
    laws = next(iter(result.invariants.values())).laws
    own = [name for name, law in laws.items() if law.about.role == "own"]
    why = str(result.against[0])
    text = (
        f"The draws do not obey {_joined(own)}, which they are said to have: {why.removesuffix(result.against[0].cure)}"
    )
    others = [law for unit in standing.agree for law in unit if law not in own and law not in of_another_c(result)]
    if others:
        text += f"; to within TV {result.plan.config.margin:g} they obey {_joined(others)}"
    return f"{text}."


def _of_agreement(draws: str, standing: Standing, within: str, c: str, other: Sequence[str]) -> str:
    units = [tuple(law for law in unit if law not in other) for unit in standing.agree]
    units = [unit for unit in units if unit]
    laws = [law for unit in units for law in unit]
    alone = not (standing.differ or standing.undecided or other)
    if alone and len(laws) > 1:
        return f"{draws} obey every law here {within}{c}, so that the run tells nothing between them"
    if not laws:
        text = f"{_joined(other)} is that of {draws} {within}, but its c is not theirs{c}"
    else:
        apart = ", which does not tell these apart" if len(laws) > 1 else ""
        text = f"{draws} obey {' as well as '.join(map(_joined, units))} {within}{apart}{c}"
    if standing.differ:
        text += f", not {_listed(standing.differ)}" if laws else f"; they do not obey {_listed(standing.differ)}"
    if laws and other:
        text += f"; {_joined(other)} is as near, but its c is not theirs"
    if standing.undecided:
        text += f"; whether they obey {_listed(standing.undecided)} too, this run cannot decide"
    return text


def _of_none(draws: str, result: Result, within: str, c: str) -> str:
    """All differ: also the least distance that was measured, where every invariant that decides is shown."""
    laws = list(result.verdicts)
    several = len(laws) > 1
    text = f"{draws} obey none of the {len(laws)} laws here" if several else f"{draws} do not obey {_joined(laws)}"
    if len(result.invariants) < len(result.plan.scalars):
        return f"{text} {within}{c}"
    far = {law: max(seen.laws[law].comparison.tv for seen in result.invariants.values()) for law in laws}
    nearest = min(laws, key=lambda law: far[law])
    least = f"the {'least ' if several else ''}distance measured is TV {far[nearest]:.4f}"
    return f"{text} {within}{c}: {least}" + (f", to {_joined([nearest])}" if several else "")


def _of_doubts(doubts: Sequence[Doubt]) -> str:
    """The first reason, without its advice, and how many more there are."""
    more = len(doubts) - 1
    rest = "" if not more else f" (and {more} more doubt{'s' * (more > 1)})"
    return f"No verdict: {str(doubts[0]).split('; ', 1)[0]}{rest}."


def _measured(coefficient: Coefficient | Absent) -> str:
    return "" if isinstance(coefficient, Absent) else f" (c = {coefficient})"


def _listed(units: Sequence[tuple[str, ...]]) -> str:
    return _joined([law for unit in units for law in unit])


def _joined(laws: Sequence[str]) -> str:
    """The laws by name, one of them.

    >>> _joined(["exact"]), _joined(["exact", "slice"]), _joined(["hard", "printed", "naive"])
    ('the exact law', 'the exact or slice law', 'the hard, printed or naive law')
    """
    *first, last = laws
    return f"the {', '.join(first)} or {last} law" if first else f"the {last} law"


def _colon(lines: Sequence[str]) -> str:
    return f": {lines[0].rstrip('.')}" if lines else ""
