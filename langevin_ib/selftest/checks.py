"""All checks in their order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from langevin_ib.errors import one_line
from langevin_ib.selftest.chains import check_cores, check_integrators, check_resume
from langevin_ib.selftest.numbers import check_bits, check_increments, check_neighbours, check_reference_words
from langevin_ib.selftest.outcome import Outcome
from langevin_ib.selftest.p_values import check_levels, check_power
from langevin_ib.session import Session

Check = Callable[[Session], Iterator[Outcome]]

CHECKS: dict[str, Check] = {
    "cores": check_cores,
    "reference words": check_reference_words,
    "bits": check_bits,
    "neighbouring chains": check_neighbours,
    "increments": check_increments,
    "levels": check_levels,
    "power": check_power,
    "integrators": check_integrators,
    "resume": check_resume,
}


def selftest(report: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Make all checks; a check that ends in an error is one that has failed.

    Args:
        report: called with each outcome as soon as it is known.

    Raises:
        ProcessError, UsageError: JAX cannot start, as `Session.open`.
    """
    outcomes = []
    with Session().open() as session:
        for name, check in CHECKS.items():
            for outcome in _outcomes(name, check, session):
                outcomes.append(outcome)
                if report is not None:
                    report(outcome)
    return outcomes


def _outcomes(name: str, check: Check, session: Session) -> Iterator[Outcome]:
    try:
        yield from check(session)
    except Exception as error:  # whatever a machine does not do is what the check is there to find
        yield Outcome(name, math.nan, 0.0, 0.0, one_line(error))
