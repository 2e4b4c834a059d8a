"""Small result files: a command, its seed, when and by which versions it ran, and the numbers that pages quote."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import langevin_ib
from langevin_ib.errors import UsageError
from langevin_ib.files import write_whole
from langevin_ib.plain import Json, JsonObject, plain

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PACKAGES = "jax", "numpy", "scipy", "blackjax", "numpyro"
SIGNIFICANT = 6  # digits that are kept of a number
# Two results differ where the difference is more than this many of its standard errors, and than what other versions of
# libraries may change in a number of the same seed: by chance in 0.3% of numbers, where seeds differ.
FAR = 3.0
SAME = 1e-3  # relative
NORMAL95 = 1.96  # half of a 95% interval, in standard errors
BAND = "/low90"  # of the seeds of a study: how far these scatter, no error of their median
WIDE = "160"  # columns of a terminal, so that no line of the output is broken
# Of the terminal's lines: what is different each time, or depends on where the command ran.
PASSING = re.compile(r"saved in |\bof \d+ cores? (was|were) used")


class Number(NamedTuple):
    """One measured number.

    Attributes:
        value: what was measured; None where there is none.
        error: its standard error.
        bounds: its interval.
        at, error_at, bounds_at: where they stand in `summary.json`, as JSON pointers (RFC 6901).
    """

    value: float | None
    error: float | None = None
    bounds: tuple[float, float] | None = None
    at: str = ""
    error_at: str = ""
    bounds_at: tuple[str, str] | None = None

    def to_dict(self) -> JsonObject:
        """Without what there is none of."""
        return {name: plain(item) for name, item in self._asdict().items() if item not in (None, "") or name == "value"}

    @property
    def spread(self) -> float:
        """Its standard error: as stored, else half of its interval over 1.96; 0 without either."""
        if self.error is not None:
            return self.error
        return 0.0 if self.bounds is None else (self.bounds[1] - self.bounds[0]) / (2.0 * NORMAL95)

    def agrees(self, other: Number) -> bool:
        """Whether two results are one number: |a − b| ≤ 3 √(s_a² + s_b²) + |a|/1000, s their standard errors.

        s is the stored one, half of a 95% interval over 1.96, or 0 where there is neither. The band over the seeds of a
        study is no error of the number: there s is 0 too.

        >>> Number(1.0, 0.01).agrees(Number(1.02, 0.01)), Number(1.0, 0.01).agrees(Number(1.1, 0.01))
        (True, False)
        >>> Number(1.0, bounds=(0.9, 1.1)).agrees(Number(1.2, bounds=(1.1, 1.3)))
        True
        >>> Number(1.0, bounds=(0.9, 1.1)).agrees(Number(1.3, bounds=(1.09, 1.5))), Number(2.0).agrees(Number(2.01))
        (True, False)
        """
        if self.value is None or other.value is None:
            return self.value is other.value
        error = 0.0 if self._is_band else (self.spread**2 + other.spread**2) ** 0.5
        return abs(self.value - other.value) <= FAR * error + SAME * abs(self.value)

    @property
    def _is_band(self) -> bool:
        return self.bounds_at is not None and self.bounds_at[0].endswith(BAND)


class Outcome(NamedTuple):
    """What a command ended in.

    Attributes:
        code: its exit code.
        summary: the content of its `summary.json`; None without one, and of a run that did not come to its end.
        output: the lines of its standard output, without those that are different each time.
        error: the last line of its standard error, without the name of the program.
    """

    code: int
    summary: Mapping[str, Any] | None
    output: tuple[str, ...]
    error: str


@dataclass(frozen=True)
class Stored:
    """A result file.

    Attributes:
        command: as it is typed in the repository's root.
        seed: of all its randomness.
        values: the numbers, by name.
        output: the lines that the command printed; empty where no page shows them.
        date, versions: when it ran, and by what.
        engine: `langevin_ib.ensemble.program.ENGINE` then: another engine draws other numbers from the same seed.
        more: other content of the file, by key.
    """

    command: str
    seed: int
    values: dict[str, Number]
    output: tuple[str, ...] = ()
    date: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    engine: str = ""
    more: dict[str, Json] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """As JSON, a line for each number."""
        head: dict[str, Json] = {
            "command": self.command,
            "seed": self.seed,
            "date": self.date or date.today().isoformat(),
            "versions": dict(self.versions or versions()),
            "engine": self.engine or present_engine(),
            "values": plain(self.values),
            **({"output": list(self.output)} if self.output else {}),
            **self.more,
        }
        write_whole(path, _lines(head).encode())


def read(key: str, folder: Path = RESULTS) -> Stored:
    """The result file of a key: `main` is `main.json`, `atlas/uv-stiff` stands in a folder.

    Raises:
        UsageError: there is none, or it is no result file.
    """
    path = folder / f"{key}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = {name: _number(entry) for name, entry in content.pop("values").items()}
        known = {name: content.pop(name) for name in ("command", "seed", "date", "versions")}
        output, engine = tuple(content.pop("output", ())), content.pop("engine", "")
        return Stored(**known, values=values, output=output, engine=engine, more=content)
    except FileNotFoundError as error:
        raise UsageError(f"no result file {path.name} in {folder.name}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path.name} is no result file: {error!r}") from error


def keys(folder: Path = RESULTS) -> list[str]:
    """Of all result files."""
    return [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.json"))]


def _number(entry: dict[str, Any]) -> Number:
    """A number as the file has it."""
    pairs = {name: tuple(entry[name]) for name in ("bounds", "bounds_at") if name in entry}
    return Number(**{**entry, **pairs})


def run(command: str) -> Outcome:
    """Run a command of this repository in an empty folder, and read what it left in `runs/*/summary.json`.

    Raises:
        UsageError: it is no command `python …`.
    """
    words = shlex.split(command)
    if words[:1] != ["python"]:
        raise UsageError(f"a command of a result file begins with python, got {command!r}")
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        surroundings = {**os.environ, "PYTHONPATH": paths, "COLUMNS": WIDE, "NO_COLOR": "1"}
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=folder, env=surroundings, capture_output=True, text=True, check=False
        )
        summaries = sorted(Path(folder).glob("runs/*/summary.json"))
        whole = not done.returncode and len(summaries) == 1  # a run that was stopped leaves a partial one
        summary = json.loads(summaries[0].read_text(encoding="utf-8")) if whole else None
    output = tuple(line.rstrip() for line in done.stdout.splitlines() if line.strip() and not PASSING.search(line))
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    error = re.sub(r"^python -m [\w.]+: (error: )?", "", said[-1]) if said and done.returncode else ""
    return Outcome(done.returncode, summary, output, error)


def pointed(content: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to.

    Raises:
        KeyError, IndexError: nothing is there.

    >>> pointed({"a/b": [{"c": 2}]}, "/a~1b/0/c")
    2
    """
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        content = content[int(name)] if isinstance(content, list) else content[name]
    return content


def shown(number: Number) -> str:
    """A number with what it has of an error.

    >>> shown(Number(0.998, 0.005)), shown(Number(0.003, bounds=(0.001, 0.004)))
    ('0.998 ± 0.005', '0.003 [0.001, 0.004]')
    """
    error = "" if number.error is None else f" ± {number.error:g}"
    bounds = "" if number.bounds is None else f" [{number.bounds[0]:g}, {number.bounds[1]:g}]"
    return f"{number.value}{error}{bounds}"


def measured(summary: Mapping[str, Any], where: Number) -> Number:
    """The number that `where` points to in a summary.

    Raises:
        UsageError: nothing is there.
    """
    try:
        value = _rounded(pointed(summary, where.at))
        error = _rounded(pointed(summary, where.error_at)) if where.error_at else None
        ends = [_rounded(pointed(summary, end)) for end in where.bounds_at or ()]
    except (KeyError, IndexError, TypeError, ValueError) as fault:
        raise UsageError(f"summary.json has nothing at {where.at}: {fault!r}") from fault
    bounds = (ends[0], ends[1]) if len(ends) == 2 and ends[0] is not None and ends[1] is not None else None
    return where._replace(value=value, error=error, bounds=bounds)


def _rounded(value: float | None) -> float | None:
    """To the digits that are kept."""
    return None if value is None else float(f"{value:.{SIGNIFICANT}g}")


def rounded(values: Any, digits: int = SIGNIFICANT) -> list[float]:
    """A list of numbers to a few significant digits."""
    return [float(f"{value:.{digits}g}") for value in values]


def present_engine() -> str:
    """The engine's version in this checkout."""
    from langevin_ib.ensemble.program import ENGINE  # noqa: PLC0415 - JAX, which reading files does not need

    return ENGINE


def versions() -> dict[str, str]:
    """Of the package, Python and the libraries that numbers depend on."""
    found = {"langevin_ib": langevin_ib.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _lines(content: Mapping[str, Json], depth: int = 1) -> str:
    """JSON with one line for each entry of the first two levels."""
    rows = []
    for name, item in content.items():
        inner = _lines(item, depth + 1) if depth < 3 and isinstance(item, dict) and item else json.dumps(
            item, ensure_ascii=False, indent=2 * depth if name == "output" else None
        )  # fmt: skip
        rows.append(f"{' ' * depth}{json.dumps(name)}: {inner}")
    return "{\n" + ",\n".join(rows) + "\n" + " " * (depth - 1) + "}" + ("\n" if depth == 1 else "")
