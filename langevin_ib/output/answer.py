"""What a run came to, in one sentence."""

from __future__ import annotations

from langevin_ib.runs.result import Result
from langevin_ib.statistics.records import Absent


def answer(result: Result) -> str:
    """By rule from the verdicts: it says no more than they do."""
    agree, differ = (
        [law for law, verdict in result.verdicts.items() if verdict == asked] for asked in ("agrees", "differs")
    )
    c = "" if isinstance(result.coefficient, Absent) else f" (c = {result.coefficient})"
    if not result.verdicts:
        return f"There is no law to hold the draws against{c}."
    if result.doubts:
        return f"No verdict: the run is in doubt{c}."
    if not agree:
        others = "; the others are undecided" if len(differ) < len(result.verdicts) else ""
        return f"No law is found to agree{c}: {_listed(differ)} differ{others}." if differ else f"Undecided{c}."
    unlike = f", not {_listed(differ, 'or')}" if differ else ""
    return f"The draws obey the law{'s' * (len(agree) > 1)} {_listed(agree)}{c}{unlike}."


def _listed(names: list[str], last: str = "and") -> str:
    """Names in a sentence.

    >>> _listed(["exact", "slice", "hard"]), _listed(["exact"])
    ('exact, slice and hard', 'exact')
    """
    return f" {last} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
