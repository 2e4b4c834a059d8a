"""`python -m langevin_ib.compare`: the runs of some folders on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from langevin_ib import signals
from langevin_ib.cli.command import Parser, guarded, new_parser
from langevin_ib.devices import start_for_command

PROGRAM = "python -m langevin_ib.compare"


def build_parser() -> Parser:
    """Folders, and where the page goes."""
    parser = new_parser(
        PROGRAM, "Set the runs of some folders, or of a sweep, beside each other: which laws hold, c, distances."
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="folder of a run, or of a sweep for all of its runs; two runs or more"
    )
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the folder goes [runs]")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print compare.json on standard output, not the table")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 it could not be written."""
    return guarded(PROGRAM, lambda: _compare(vars(build_parser().parse_args(argv))), interrupted="nothing is lost")


def _compare(arguments: Mapping[str, object]) -> int:
    folders, out = arguments["runs"], Path(str(arguments["out"]))
    with signals.held():
        start_for_command()  # for figures without a screen
        from langevin_ib.output.compare import compared, read_runs  # noqa: PLC0415 - with NumPy
        from langevin_ib.output.compare_report import comparison_report, save_comparison  # noqa: PLC0415
        from langevin_ib.output.folders import check_writable, print_json  # noqa: PLC0415
        from langevin_ib.output.progress import console  # noqa: PLC0415
        from langevin_ib.output.terminal import show  # noqa: PLC0415
    comparison = compared(read_runs(folders if isinstance(folders, list) else []))
    check_writable(out)
    folder = save_comparison(comparison, out)
    if arguments["json"]:
        print_json(comparison.to_dict())
    elif not arguments["quiet"]:
        show(comparison_report(comparison, folder), console())
        console().print(f"saved in {folder}", soft_wrap=True)
    return 0
