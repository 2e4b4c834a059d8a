"""`python -m langevin_ib.design`: the table of `verify` over all operators and constructions, and of refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langevin_ib import signals
from langevin_ib.cli.command import Parser, guarded, new_parser
from langevin_ib.config.kinds import number
from langevin_ib.errors import ConfigError

PROGRAM = "python -m langevin_ib.design"
TOLERANCE = 1e-8


def build_parser() -> Parser:
    """The options of the table of designs."""
    parser = new_parser(
        PROGRAM, "Compare the correction that each design induces, least over an orbit, with the penalty asked for."
    )
    parser.add_argument("--size", metavar="N", default="8", help="length of w, a power of two from 4 [8]")
    parser.add_argument("--features", metavar="N", default="64", help="random feature vectors of each design [64]")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 every error is below 1e-8, 1 one is not, 2 bad input."""
    return guarded(PROGRAM, lambda: _print_table(vars(build_parser().parse_args(argv))))


def _print_table(arguments: dict[str, str]) -> int:
    n, features = number(arguments["size"]), number(arguments["features"])
    if not isinstance(n, int) or n < 4 or n & (n - 1):
        raise ConfigError("size", "a power of two from 4", arguments["size"])
    if not isinstance(features, int) or features < 2:
        raise ConfigError("features", "a whole number from 2", arguments["features"])
    # After the options are known to be good, so that a typing error is answered at once.
    with signals.held():
        from langevin_ib.design.catalogue import cases, refused  # noqa: PLC0415
        from langevin_ib.design.verify import verify  # noqa: PLC0415
        from langevin_ib.output.blocks import Column, Table  # noqa: PLC0415
        from langevin_ib.output.progress import console  # noqa: PLC0415
        from langevin_ib.output.terminal import show_table  # noqa: PLC0415

    out = console()
    # Line by line, for all of them take minutes.
    out.print(f"{'operator':<18}{'construction':<20}{'condition':>10}{'constant':>12}{'error':>10}", style="bold")
    errors = []
    for case in cases(n):
        design = case.build()
        check = verify(design, features=features)
        errors.append(check.error)
        line = f"{case.operator:<18}{case.construction:<20}{design.operator.condition:>10.4g}{check.constant:>12.6f}"
        out.print(f"{line}{check.error:>10.1e}", highlight=False, soft_wrap=True)
    rows = tuple((case.operator, case.construction, _read_refusal(case.build)) for case in refused(n))
    columns = tuple(Column(title, left=True) for title in ("operator", "construction", "refused"))
    show_table(Table(columns, (rows,)), out)
    out.print(
        f"{len(errors)} designs x {features} features: the largest |min ½ log det G − penalty − constant| is "
        f"{max(errors):.1e}"
    )
    return 0 if max(errors) < TOLERANCE else 1


def _read_refusal(build: Callable[[], object]) -> str:
    try:
        build()
    except ValueError as error:
        return str(error)
    return "accepted"
