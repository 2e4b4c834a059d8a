"""`python -m langevin_ib.selftest`: a line for each check."""

from __future__ import annotations

from collections.abc import Sequence

from langevin_ib.cli.command import FAILED_RUN, Parser, guarded, new_parser

PROGRAM = "python -m langevin_ib.selftest"


def build_parser() -> Parser:
    """It has no options of its own."""
    return new_parser(PROGRAM, "Check on this machine what every result rests on: p-values, integrators, streams.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 all checks have passed, 3 one has not, 2 bad input."""
    return guarded(PROGRAM, lambda: _print_checks(vars(build_parser().parse_args(argv))))


def _print_checks(arguments: dict[str, str]) -> int:
    del arguments
    from langevin_ib.output.progress import console  # noqa: PLC0415
    from langevin_ib.selftest import selftest  # noqa: PLC0415

    out = console()
    outcomes = selftest(lambda outcome: out.print(str(outcome), soft_wrap=True))
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    passed = f"{len(outcomes) - len(failed)} of {len(outcomes)} checks have passed"
    out.print(f"{passed}; failed: {'; '.join(failed)}" if failed else passed, soft_wrap=True)
    return FAILED_RUN if failed else 0
