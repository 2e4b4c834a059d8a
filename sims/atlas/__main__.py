"""The atlas of laws, made from small result files: which law each model obeys under each protocol and noise.

    python -m sims.atlas                     # run all cells, draw
    python -m sims.atlas --only uv-stiff     # run one, or several, draw
    python -m sims.atlas --missing           # run those that have no file of their command, draw
    python -m sims.atlas --draw              # draw from the files alone

The files go to docs/results/atlas, the picture to docs/atlas.png, the page to docs/atlas.md. A run that fails or is
refused is a cell with the line that said why. Two cells that are read off one run are run once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from langevin_ib.cli.command import guarded
from langevin_ib.errors import FailedRunError
from sims import described
from sims.atlas import cells
from sims.numbers import stored
from sims.numbers.stored import RESULTS, ROOT, Outcome

FOLDER = RESULTS / "atlas"
PICTURE, PAGE = ROOT / "docs" / "atlas.png", ROOT / "docs" / "atlas.md"


def run_cells(names: Sequence[str]) -> None:
    """Run the cells one after the other, and write the file of each as soon as it is there.

    Raises:
        FailedRunError: runs were stopped, whose cells stay as they were; the others have been run.
    """
    outcomes: dict[str, Outcome] = {}
    stopped: list[str] = []
    for name in names:
        command, start = cells.command(name), time.monotonic()
        if command not in outcomes:
            outcomes = {command: stored.run(command)}  # neighbours share a run; older ones are not kept
        try:
            kept = cells.kept(name, outcomes[command])
        except FailedRunError as error:
            stopped.append(str(error))
            continue
        kept.write(FOLDER / f"{name}.json")
        c = kept.values.get("c")
        said = f"c = {c.value} ± {c.error}" if c else kept.more["why"]
        print(f"{name:<20} {time.monotonic() - start:5.0f} s  {said}", flush=True)
    if stopped:
        raise FailedRunError("; ".join(stopped))


def is_there(name: str) -> bool:
    """Whether a cell has a file of its command and of the engine as they are now."""
    if not (FOLDER / f"{name}.json").is_file():
        return False
    kept = stored.read(name, FOLDER)
    return (kept.command, kept.engine) == (cells.command(name), stored.present_engine())


def draw() -> None:
    """Picture and page, from the files alone."""
    from langevin_ib.files import write_whole  # noqa: PLC0415 - with what follows: a run needs no Matplotlib here
    from langevin_ib.output.folders import png  # noqa: PLC0415
    from sims.atlas import page, picture, reading  # noqa: PLC0415

    found = reading.read_cells(FOLDER)
    write_whole(PICTURE, png(picture.atlas(found)))
    write_whole(PAGE, page.page(found).encode())


def work(arguments: Sequence[str] | None) -> int:
    """As the options say."""
    parser = described(__doc__)
    parser.add_argument("--only", nargs="+", metavar="CELL", help=f"of {', '.join(cells.NAMES)}")
    parser.add_argument("--missing", action="store_true", help="run those without a file of their command")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    names = options.only or cells.NAMES
    for name in names:
        cells.parts(name)
    if options.missing:
        names = [name for name in names if not is_there(name)]
    if not options.draw:
        run_cells(names)
    draw()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 if an option is wrong."""
    return guarded("python -m sims.atlas", lambda: work(arguments))


if __name__ == "__main__":
    sys.exit(main())
