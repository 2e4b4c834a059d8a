"""What stands in the README and in the book, as tests take it: commands, Python, files, and lines of errors.

A mark before a block, in a comment of the page, says what is done with it:

    <!-- quick -->              commands run, with few chains, in the quick tier already, not only with --full
    <!-- long -->               commands are only parsed; Python and errors, else in the quick tier, run with --full
    <!-- file: NAME -->         is (the next part of) a file in the folder in which the page's blocks run
    <!-- same as: PATH -->      is the file of the repository, letter for letter
    <!-- doubt -->              the line is one of those that the run prints, which ends well, and has a doubt
    <!-- after: PAGE -->        needs the files of another page
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
NOT_OURS = "kept-by-hand.md", "contributing.md", "changes.md"  # of the last two, other files are the text
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "_build" not in path.parts and path.name not in NOT_OURS
}
FENCE = re.compile(
    r"(?P<marks>(?:^<!-- [^\n]* -->\n)*)^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
MARK = re.compile(r"<!-- ([^\n]*?) -->")
# `langevin-ib` alone is the name of the program.
INLINE = re.compile(r"`((?:PYTHONPATH=\S+ )?(?:python -m (?:langevin_ib|sims)[^`\s]*(?: [^`]*)?|langevin-ib [^`]*))`")
OURS = re.compile(r"^(?:python -m (?:langevin_ib|sims)\b|langevin-ib\b)")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    number: int
    language: str
    text: str
    marks: tuple[str, ...]

    @property
    def is_long(self) -> bool:
        """Whether it is for `--full`."""
        return "long" in self.marks

    def mark(self, name: str) -> str | None:
        """The rest of a mark that begins with a name."""
        found = [mark.removeprefix(f"{name}:").strip() for mark in self.marks if mark.startswith(f"{name}:")]
        return found[0] if found else None

    @property
    def commands(self) -> list[str]:
        """The lines that start this package, without what stands before them."""
        if self.language not in ("bash", ""):
            return []
        return [one for line in self.text.splitlines() for one in ours(line)]


class Command(NamedTuple):
    """A command of a page, parted."""

    module: str
    arguments: list[str]
    path: str | None  # PYTHONPATH


def ours(line: str) -> list[str]:
    """The parts of a line of a shell that start this package.

    >>> ours("pip install . && python -m langevin_ib.sim --beta 10  # twenty seconds")
    ['python -m langevin_ib.sim --beta 10']
    >>> ours("dask scheduler")
    []
    """
    parts = (part.partition("  #")[0].strip() for part in line.split("&&"))
    return [part for part in parts if OURS.match(part.partition(" ")[2] if part.startswith("PYTHONPATH=") else part)]


def parted(command: str) -> Command:
    """Module and arguments.

    >>> parted("PYTHONPATH=tests/plugin python -m langevin_ib.sim --model boost")
    Command(module='langevin_ib.sim', arguments=['--model', 'boost'], path='tests/plugin')
    """
    words = shlex.split(command)
    path = words.pop(0).removeprefix("PYTHONPATH=") if words[0].startswith("PYTHONPATH=") else None
    if words[0] == "langevin-ib":
        return Command("langevin_ib.cli.main", words[1:], path)
    return Command(words[2], words[3:], path)


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [
        Block(page, number, found["language"], found["text"], tuple(MARK.findall(found["marks"])))
        for number, found in enumerate(FENCE.finditer(text))
    ]


def block(page: str, mark: str) -> str:
    """The text of the block with a mark."""
    (found,) = (one for one in blocks(page) if mark in one.marks)
    return found.text


def inline(page: str) -> list[str]:
    """Commands within a sentence or a table, but for those with a word in capitals to be put in."""
    text = FENCE.sub("", PAGES[page].read_text(encoding="utf-8"))
    return [one for one in INLINE.findall(text) if not re.search(r"\b[A-Z]{4,}\b|…", one.partition(" ")[2])]


def files(page: str) -> dict[str, str]:
    """The files that the page's blocks make up, and those of the page that it comes after."""
    made: dict[str, str] = {}
    for one in blocks(page):
        if (before := one.mark("after")) is not None:
            made |= files(f"docs/{before}")
        if (name := one.mark("file")) is not None:
            made[name] = made.get(name, "") + one.text
    return made
