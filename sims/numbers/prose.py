"""Pages of Markdown: their marked numbers against result files, and numbers that look measured and are not marked."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from langevin_ib.errors import UsageError
from sims.numbers import stored
from sims.numbers.stored import RESULTS, ROOT, Number, Stored

EXCEPTIONS = RESULTS / "exceptions.toml"
BUILT = "_build"  # a folder of docs/ that Sphinx writes

UNSIGNED = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
SIGNED = rf"[-−+]?{UNSIGNED}"
# `0.998 ± 0.005`, `0.0070 [0.0043, 0.023]`, `0.117 (0.092 to 0.149)`, `89.2 ± 3.1%`, or the number alone.
QUOTED = re.compile(
    rf"(?P<value>(?<![\w.])[-−+]?{UNSIGNED})"
    rf"(?:%?\s?±\s?(?P<error>{UNSIGNED}))?"
    rf"(?:%?\s?[\[(](?P<low>{SIGNED})%?(?:,\s?|\sto\s|–)(?P<high>{SIGNED})%?[\])])?(?P<percent>\s?%)?"
)
MARK = re.compile(r"<!--\s*number:\s*(?P<key>\S+)(?P<rounded>\s+rounded)?\s*-->")
OUTPUT = re.compile(r"<!--\s*output:\s*(?P<key>\S+)\s*-->")
WORDS = re.compile(r"<!--\s*words:\s*(?P<key>\S+)\s*-->")
# Between a number and its mark: a word, a unit, the end of emphasis; no digit, or it would be unclear which is meant.
BETWEEN = re.compile(r"[^\d<|]{0,30}")
# What looks measured: an error bar, a distance, a p-value, R-hat, c, a rate, a factor, a share, an interval, a count of
# seeds, a cell of a table that has a decimal fraction and nothing else. Levels of intervals, `95% upper bound`, do not.
IS = r"(?:of|is|are|was|at|is\sat|below|under|above|over|up\sto|about)"
WORDED = r"(?:two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|fifty|hundred|thousand)"
LEVEL = r"(?:upper\s|lower\s)?(?:interval|band|bound|end\b|confidence|level)"
REPEATED = r"seeds?|tasks?|runs?|chains?|cases?|starts?|draws|records|models|matrices|laws|coefficients"
LOOKS_MEASURED = re.compile(
    rf"{SIGNED}%?\s?(?:±|\+/[-−]|\+-)\s?{UNSIGNED}"
    rf"|\b(?:TV|R-hat|p-values?)\s?(?:{IS}\s|[=<>≈≤≥:])?\s?{UNSIGNED}"
    rf"|(?<!lambda )\bp\s?[=<>≈≤≥:]\s?{UNSIGNED}"
    rf"|\bc\s?(?:[=≈:]|{IS}\s)\s?[-−+]?\d+\.\d+(?:\s?±\s?{UNSIGNED})?"
    rf"|\b(?:is|are|was|were|lies|lie|stays|comes|came)\sat\s[-−+]?\d+\.\d+"
    rf"|(?<![\w.]){UNSIGNED}\s?(?:[kMG]|million\s|[MG]B)[\w-]*(?:/s|\sper\ssecond)"
    rf"|×\s?(?<![\w.]){UNSIGNED}(?![\w·])|(?<![\w.]){UNSIGNED}\s?×"
    rf"|(?<![\w.]){UNSIGNED}\stimes\b|\b{WORDED}\stimes\b"
    rf"|(?<![\w.])(?<!band of )(?<!level )(?<!level of ){UNSIGNED}\s?%(?!\s?(?:{LEVEL}))"
    rf"|(?<![\w.]){UNSIGNED}%?\s[\[(]{SIGNED}%?(?:,\s?|\sto\s|–){SIGNED}%?[\])]"
    rf"|\b(?:none|all|\d+|{WORDED})\sof\s(?:the\s|all\s)?\d+\s(?:{REPEATED})\b"
    rf"|(?<=\|)\s*[-−+]?\d+\.\d+\s?(?=\|)",
    re.IGNORECASE,
)
FENCE = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})")
HALF = 0.5 + 1e-6  # of the last digit that is quoted
THREE, TWO = 0.005, 0.05  # what rounding to significant digits may take off a number, relative


class Fault(NamedTuple):
    """Something wrong in a page."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


class Unmarked(NamedTuple):
    """A number that looks measured and has no mark."""

    page: str
    line: int
    text: str
    whole: str


class Exempt(NamedTuple):
    """Numbers that may stand without a mark: the text around them as the page has it, and the reason."""

    page: str
    text: str
    reason: str


class Exceptions(NamedTuple):
    """What is let pass, with the reason.

    Attributes:
        numbers: single numbers without a mark.
        pages: those whose old numbers have no marks yet.
        engines: result files, by key, of an engine that is not the present one.
    """

    numbers: tuple[Exempt, ...] = ()
    pages: Mapping[str, str] = MappingProxyType({})
    engines: Mapping[str, str] = MappingProxyType({})


class Checked(NamedTuple):
    """What checking pages came to."""

    faults: list[Fault]
    unmarked: list[Unmarked]
    marked: int


def pages(root: Path = ROOT) -> list[Path]:
    """README.md, every page of docs/, every notebook."""
    book = [path for path in sorted((root / "docs").rglob("*.md")) if BUILT not in path.parts]
    return [root / "README.md", *book, *sorted((root / "notebooks").glob("*.ipynb"))]


def text_of(path: Path) -> str:
    """A page as it is; of a notebook the Markdown, cell after cell.

    Raises:
        UsageError: it is no notebook.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    try:
        cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path.name} is no notebook: {error!r}") from error
    return "\n\n".join("".join(source) for source in cells)


def read_exceptions(path: Path = EXCEPTIONS) -> Exceptions:
    """The list of exceptions: a table `[[exception]]` for each number: page, text, reason; `[[page]]` for a whole page.

    Where one reason is that of many numbers, as of the rows of a table, `text` is a list. `[[engine]]` has the `file`
    of an earlier engine, by key, or a list of them.

    Raises:
        UsageError: it is no such list, or a reason is missing.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        numbers = tuple(
            Exempt(one["page"], text, one["reason"])
            for one in content.get("exception", [])
            for text in ([one["text"]] if isinstance(one["text"], str) else one["text"])
        )
        whole = {one["page"]: one["reason"] for one in content.get("page", [])}
        engines = {
            file: one["reason"]
            for one in content.get("engine", [])
            for file in ([one["file"]] if isinstance(one["file"], str) else one["file"])
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path.name}: every exception has page, text and reason: {error!r}") from error
    for text, reason in [*((exempt.text, exempt.reason) for exempt in numbers), *whole.items(), *engines.items()]:
        if not reason.strip():
            raise UsageError(f"{path.name}: no reason for {text!r}")
    return Exceptions(numbers, whole, engines)


def engine_faults(exceptions: Exceptions, *, results: Path = RESULTS) -> list[Fault]:
    """Result files that are not of the present engine, or do not say of which, and are no exception.

    The engine drives every chain, so that its next version gives other numbers from the same seed.
    """
    faults = []
    present = stored.present_engine()
    for key in stored.keys(results):
        engine = stored.read(key, results).engine
        if engine == present and key in exceptions.engines:
            faults.append(Fault(f"{key}.json", 0, "an exception that nothing needs any more: it is of this engine"))
        if engine != present and key not in exceptions.engines:
            said = f"of engine {engine}" if engine else "of an engine that it does not name"
            faults.append(Fault(f"{key}.json", 0, f"{said}, and the present one is {present}: run its command again"))
    missing = [key for key in exceptions.engines if not (results / f"{key}.json").is_file()]
    return [*faults, *(Fault(f"{key}.json", 0, "an exception for a file that is not there") for key in missing)]


def check(paths: Sequence[Path], exceptions: Exceptions, *, root: Path = ROOT, results: Path = RESULTS) -> Checked:
    """Check pages against result files.

    Args:
        paths: of the pages.
        exceptions: what may stand without a mark; one that is nowhere any more, or stands for nothing that looks
            measured, is a fault too.
        root: pages are named from here.
        results: the folder of result files.
    """
    faults: list[Fault] = []
    unmarked: list[Unmarked] = []
    used: set[Exempt] = set()
    marked = 0
    for path in paths:
        page = _Page(path.relative_to(root).as_posix(), results, exceptions.numbers)
        page.read(text_of(path))
        faults += page.faults
        if page.name not in exceptions.pages:
            unmarked += page.unmarked
        elif not page.unmarked:
            faults.append(Fault(page.name, 0, "a page that needs no exception any more"))
        used |= page.used
        marked += page.marked
    names = {path.relative_to(root).as_posix() for path in paths}
    for exempt in exceptions.numbers:
        if exempt not in used and exempt.page in names:
            faults.append(Fault(exempt.page, 0, f"an exception that nothing needs any more: {exempt.text!r}"))
    return Checked(faults, unmarked, marked)


class _Page:
    """One page on its way: what is wrong in it, what has no mark, which exceptions it needs."""

    def __init__(self, name: str, results: Path, exceptions: Sequence[Exempt]) -> None:
        self.name, self.results = name, results
        self.exceptions = [exempt for exempt in exceptions if exempt.page == name]
        self.faults: list[Fault] = []
        self.unmarked: list[Unmarked] = []
        self.used: set[Exempt] = set()
        self.marked = 0

    def read(self, text: str) -> None:
        """Every line: blocks that are the output of a command, and all others."""
        fence = ""
        shown: Stored | None = None  # whose output the block is
        awaited: Stored | None = None
        for number, line in enumerate(text.splitlines(), start=1):
            if found := FENCE.match(line):
                mark = found[1]
                if not fence:
                    fence, shown, awaited = mark, awaited, None
                    continue
                if mark.startswith(fence[0]) and len(mark) >= len(fence) and line.strip() == mark:
                    fence, shown = "", None
                    continue
            if shown is not None:
                self._shown(number, line, shown)
            elif not fence and (found := OUTPUT.fullmatch(line.strip())):
                awaited = self._stored(number, found["key"])
                if awaited is not None and not awaited.output:
                    self._fault(number, f"the file of {found['key']} keeps no output")
            else:
                if line.strip():
                    awaited = None
                self._line(number, line)

    def _shown(self, number: int, line: str, stored_file: Stored) -> None:
        """A line of a command's output stands in the result file, or is an ellipsis."""
        self.marked += 1
        if line.strip() not in ("", "…") and line.rstrip() not in stored_file.output:
            self._fault(number, f"the command did not print {line.strip()!r}")

    def _line(self, number: int, line: str) -> None:
        """Marked numbers against their files; what looks measured and lies in none of these."""
        spans = [span for mark in MARK.finditer(line) for span in self._marked(number, line, mark)]
        for mark in WORDS.finditer(line):
            self.marked += 1
            kept = self._stored(number, mark["key"])
            spans += [] if kept is None else _spans(line, _sentences(kept.more))
        for found in LOOKS_MEASURED.finditer(line):
            if any(low < found.end() and found.start() < high for low, high in spans):
                continue
            if not self._exempt(line, found.start(), found.end()):
                self.unmarked.append(Unmarked(self.name, number, found[0], line.strip()))

    def _marked(self, number: int, line: str, mark: re.Match[str]) -> Iterator[tuple[int, int]]:
        """Where the marked number stands, if there is one; a fault where it is not that of the file."""
        self.marked += 1
        start = max((end.end() for end in re.finditer("-->", line[: mark.start()])), default=0)
        quoted = None
        for candidate in QUOTED.finditer(line, start, mark.start()):
            if BETWEEN.fullmatch(line, candidate.end(), mark.start()):
                quoted = candidate
        if quoted is None:
            self._fault(number, f"no number before the mark {mark['key']}")
            return
        key, _, name = mark["key"].rpartition(".")
        kept = self._stored(number, key or mark["key"])
        if kept is not None:
            if name not in kept.values or not key:
                self._fault(number, f"no number {name!r} in {key}: it has {', '.join(kept.values) or 'none'}")
            elif wrong := difference(quoted, kept.values[name], rounded=bool(mark["rounded"])):
                self._fault(number, f"{quoted[0].strip()} is not {mark['key']}: {wrong}")
        yield quoted.start(), mark.end()

    def _exempt(self, line: str, low: int, high: int) -> bool:
        """Whether it lies within the text of an exception."""
        for exempt in self.exceptions:
            if any(start <= low and high <= end for start, end in _spans(line, [exempt.text])):
                self.used.add(exempt)
                return True
        return False

    def _stored(self, number: int, key: str) -> Stored | None:
        try:
            return stored.read(key, self.results)
        except UsageError as error:
            self._fault(number, str(error))
            return None

    def _fault(self, number: int, text: str) -> None:
        self.faults.append(Fault(self.name, number, text))


def _sentences(content: object) -> Iterator[str]:
    """All text in the further content of a result file, as a table of a page has it."""
    if isinstance(content, str):
        yield content.replace("|", "\\|")
    elif isinstance(content, Mapping):
        for item in content.values():
            yield from _sentences(item)
    elif isinstance(content, list):
        for item in content:
            yield from _sentences(item)


def _spans(line: str, texts: Iterable[str]) -> list[tuple[int, int]]:
    """Where these texts stand in a line."""
    return [found.span() for text in texts if text for found in re.finditer(re.escape(text), line)]


def fitting(text: str, results: Path = RESULTS) -> list[str]:
    """The marks that a number could have: those of all result files whose digits are the same.

    They may be so by chance, above all where a number has no error bar: whoever marks it knows what it is.
    """
    quoted = QUOTED.search(text)
    return [
        f"{key}.{name}"
        for key in stored.keys(results)
        for name, number in stored.read(key, results).values.items()
        if quoted is not None and not difference(quoted, number)
    ]


def difference(quoted: re.Match[str], number: Number, *, rounded: bool = False) -> str:
    """What is wrong with a quoted number; empty where it is the stored one, rounded to the digits that are quoted.

    Half of the last digit may be no more than the standard error, so that rounding hides nothing that was measured. Of
    a number with an interval three significant digits do as well, of one with neither two. `rounded`, for a mark that
    says so, lets fewer digits pass.

    >>> difference(QUOTED.search("c = 0.998 ± 0.005"), Number(0.99841, 0.0047))
    ''
    >>> difference(QUOTED.search("c = 0.997 ± 0.005"), Number(0.99841, 0.0047))
    'the value is 0.99841'
    >>> difference(QUOTED.search("c = 1"), Number(0.99841, 0.0047))
    'too few digits of 0.99841 ± 0.0047: give more, or say <!-- number: KEY rounded -->'
    """
    factor = 100.0 if quoted["percent"] else 1.0
    if number.value is None or not _rounds(quoted["value"], factor * number.value):
        return f"the value is {number.value}"
    if quoted["error"] and (number.error is None or not _rounds(quoted["error"], factor * number.error)):
        return f"the error is {number.error}"
    if quoted["low"]:
        low, high = number.bounds or (None, None)
        if low is None or high is None:
            return "there is no interval"
        if not (_rounds(quoted["low"], factor * low) and _rounds(quoted["high"], factor * high)):
            return f"the interval is {low} to {high}"
    exact = float(quoted["value"].replace("−", "-")) == factor * number.value
    share = TWO if number.bounds is None else THREE
    finest = number.spread if number.error is not None else max(number.spread, share * abs(number.value))
    if not rounded and not exact and 0.5 * _unit(quoted["value"]) > factor * finest * (1.0 + 1e-6):
        return f"too few digits of {stored.shown(number)}: give more, or say <!-- number: KEY rounded -->"
    return ""


def _unit(text: str) -> float:
    """Of the last digit of a number as it is written."""
    digits, _, exponent = text.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def _rounds(text: str, value: float) -> bool:
    """Whether a number as it is written is a value, rounded to its digits.

    >>> _rounds("−0.10", -0.1042), _rounds("1e-14", 1.3e-14), _rounds("0.10", 0.1061)
    (True, True, False)
    """
    return abs(float(text.replace("−", "-")) - value) <= HALF * _unit(text)
