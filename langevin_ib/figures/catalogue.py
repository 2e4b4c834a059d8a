"""The paper's figures by number: what each is of, and what its command line takes. No JAX before a figure is run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import NamedTuple

from langevin_ib.cli.command import Parser, called, called_as, guarded, new_parser
from langevin_ib.cli.figures import choice, figure_parser, positive
from langevin_ib.cli.figures import main as command
from langevin_ib.config.settings import Setting
from langevin_ib.errors import UsageError
from langevin_ib.studies.request import PARTS

PROGRAM = "langevin-ib figures"


class Entry(NamedTuple):
    """A figure's command line.

    Attributes:
        module: its file in this package, which names its run folders too.
        of: what it shows.
        text: one sentence for `--help`.
        parts: those of `PARTS` that it has.
        data: whether it takes a user's file.
        extra: settings of this figure alone.
    """

    module: str
    of: str
    text: str = "over an ensemble of seeds."
    parts: tuple[str, ...] = PARTS
    data: bool = False
    extra: Mapping[str, Setting] = {}

    def load(self) -> ModuleType:
        """Its module, with JAX."""
        return importlib.import_module(f"langevin_ib.figures.{self.module}")


PLAIN_LR = positive("learning rate of the plain model")
CATALOGUE = {
    1: Entry(
        "fig1_orbits",
        "orbits uv = θ, and what brings training to their slice",
        "and training along its orbits, over an ensemble of seeds.",
        ("attribution",),
    ),
    2: Entry("fig2_relu", "norms of a shallow ReLU network under SGD", parts=("attribution", "variants")),
    3: Entry("fig3_attention", "query and key norms of attention under SGD", parts=("attribution", "variants")),
    4: Entry(
        "fig4_completion",
        "a matrix of rank 2 from 20% of its entries",
        data=True,
        extra={
            "variant": choice(
                "loss as in the paper's code (mean over all entries) or its text (over the sub-sampled ones)",
                "code", "text",
            )
        },
    ),
    5: Entry(
        "fig5_sparse_spectral",
        "three cosines out of 64 from 32 noisy points",
        data=True,
        extra={
            "plain_lr": PLAIN_LR,
            "variant": choice("start of the factors: code (1e-2) or text (1e-4)", "code", "text"),
        },
    ),
    6: Entry(
        "fig6_piecewise_constant",
        "a piecewise-constant signal from noisy compressed measurements",
        data=True,
        extra={"plain_lr": PLAIN_LR, "variant": choice("code (1.5e6 steps) or text (5e5)", "code", "text")},
    ),
}  # fmt: skip
ALL = "all"
WANTED = f"one of {', '.join(map(str, CATALOGUE))}, {ALL}"


def main(argv: Sequence[str] | None = None) -> int:
    """`figures N` with the options of figure N, or `figures all`; returns the exit code."""
    given = sys.argv[1:] if argv is None else argv
    program = called(PROGRAM)

    def work() -> int:
        if not given or given[0] in ("-h", "--help", "--help-all", "--version"):
            build_parser().parse_args(given)
            raise UsageError(f"the figure must be {WANTED}, got nothing")
        first = given[0].removeprefix("figure").removeprefix("fig").strip("-_ ")
        if first == ALL:
            with called_as(f"{program} {ALL}"):
                return importlib.import_module("langevin_ib.figures.all").main(given[1:])
        if first not in map(str, CATALOGUE):
            raise UsageError(f"the figure must be {WANTED}, got {given[0]}")
        with called_as(f"{program} {first}"):
            return main_of(int(first), given[1:])

    return guarded(program, work)


def main_of(number: int, argv: Sequence[str] | None = None) -> int:
    """The command line of one figure; returns its exit code."""
    entry = CATALOGUE[number]
    with called_as(called(f"{PROGRAM} {number}")):
        return command(
            f"langevin_ib.figures.{entry.module}",
            f"Figure {number} of the paper{',' if entry.text.startswith('and') else ''} {entry.text}",
            lambda request, session: entry.load().study(request, session),
            lambda result: entry.load().report(result),
            argv,
            parts=entry.parts,
            data=entry.data,
            extra=entry.extra,
        )


def build_parser() -> Parser:
    """What `figures --help` shows: the figures by number, and the options that they share."""
    parser = new_parser(PROGRAM, "A figure of the paper over an ensemble of seeds, with baselines and attribution.")
    lines = [f"  {number:<4} {entry.of}" for number, entry in CATALOGUE.items()]
    lines += [f"  {ALL:<4} every one of them, with the wall time of each", "", EXAMPLES.format(program=parser.prog)]
    parser.appendix = lambda: "\n".join(["", "figures:", *lines])
    parser.add_argument("figure", metavar="N", help=f"{WANTED}; N --help has the options of a figure", nargs="?")
    return parser


def completed_parser() -> Parser:
    """The options of all figures together, for the completion of a shell."""
    extra = {name: one for entry in CATALOGUE.values() for name, one in entry.extra.items()}
    parser = figure_parser(PROGRAM, "", PARTS, data=True, extra=extra)
    parser.add_argument("figure", choices=[*map(str, CATALOGUE), ALL])
    return parser


EXAMPLES = """examples:
  {program} 5 --seeds 4 --steps 2000 --figure-only
      a small figure 5, in seconds
  {program} all --figure-only
      every figure, without what stands beside it
"""
