"""Numbers in prose: each that README.md and docs/ quote as measured, against a result file of docs/results.

    python -m sims.numbers                       # check all pages
    python -m sims.numbers README.md             # or some
    python -m sims.numbers --list                # what has no mark, as entries of the list of exceptions
    python -m sims.numbers --make KEY …          # run the command of docs/results/recipes.toml, write KEY.json
    python -m sims.numbers --remake KEY …        # run the command of KEY.json again, compare within the error bars

Exit codes: 0 all numbers are right; 2 bad input; 3 a number is wrong, unmarked, or came out different.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from langevin_ib.cli.command import FAILED_RUN, guarded
from langevin_ib.errors import UsageError
from sims import described
from sims.numbers import prose, recipes, stored
from sims.numbers.stored import RESULTS, ROOT


def make(keys: Sequence[str]) -> int:
    """Write the files of these keys."""
    for key in keys:
        made = recipes.make(recipes.recipe_of(key))
        made.write(RESULTS / f"{key}.json")
        print(f"{key}: " + ", ".join(f"{name} {stored.shown(number)}" for name, number in made.values.items()))
    return 0


def remake(keys: Sequence[str]) -> int:
    """Run the stored commands again; 3 if a number comes out different. Writes nothing.

    Raises:
        UsageError: there is no such file, or its numbers, those of a benchmark for one, are in no `summary.json`.
    """
    faults = 0
    for key in keys:
        old = stored.read(key)
        if not any(number.at for number in old.values.values()):
            raise UsageError(
                f"{key}.json has numbers of a command without summary.json; run {old.command}, and compare"
            )
        new = recipes.make(recipes.Recipe(old.command, old.values, bool(old.output), old.seed))
        lines = recipes.compared(old, new)
        faults += len(lines)
        print(f"{key}: {len(old.values)} numbers, {len(lines)} different", *lines, sep="\n  ")
    return FAILED_RUN if faults else 0


def check(paths: Sequence[Path]) -> int:
    """Check pages; a line for each fault."""
    exceptions = prose.read_exceptions()
    found = prose.check(paths, exceptions)
    wrong = [*found.faults, *prose.engine_faults(exceptions)]
    for fault in wrong:
        print(fault)
    for number in found.unmarked:
        print(f"{number.page}:{number.line}: {number.text!r} has no mark <!-- number: KEY --> and is no exception")
    for page, reason in exceptions.pages.items():
        print(f"{page}: numbers without a mark are let pass: {reason}")
    for file, reason in exceptions.engines.items():
        print(f"{file}.json: an earlier engine is let pass: {reason}")
    faults = len(wrong) + len(found.unmarked)
    print(f"{len(paths)} pages, {found.marked} numbers and lines against result files, {faults} faults")
    return FAILED_RUN if faults else 0


def list_unmarked(paths: Sequence[Path]) -> int:
    """Entries for the list of exceptions, whose reasons are still to be given, and the marks that would fit instead."""
    numbers = prose.read_exceptions().numbers
    for number in prose.check(paths, prose.Exceptions(numbers)).unmarked:
        quoted = number.text.replace("\\", "\\\\").replace('"', '\\"')
        marks = prose.fitting(number.text)
        print(*(f"# <!-- number: {mark} -->" for mark in marks), sep="\n", end="\n" if marks else "")
        print(f'[[exception]]  # line {number.line}\npage = "{number.page}"\ntext = "{quoted}"\nreason = ""\n')
    return 0


def work(arguments: Sequence[str] | None) -> int:
    """As the options say."""
    parser = described(__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="pages to check [README.md and all of docs]")
    parser.add_argument("--list", action="store_true", help="what is unmarked, as entries of exceptions.toml")
    parser.add_argument("--make", nargs="+", metavar="KEY", help="result files to write")
    parser.add_argument("--remake", nargs="+", metavar="KEY", help="result files to compare with a new run")
    options = parser.parse_args(arguments)
    if options.make:
        return make(options.make)
    if options.remake:
        return remake(options.remake)
    paths = [Path(page).resolve() for page in options.pages] or prose.pages()
    for path in paths:
        if not path.is_file():
            raise UsageError(f"no page {path.name}")
        if not path.is_relative_to(ROOT):
            raise UsageError(f"{path.name} is no page of this repository")
    return list_unmarked(paths) if options.list else check(paths)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    return guarded("python -m sims.numbers", lambda: work(arguments))


if __name__ == "__main__":
    sys.exit(main())
