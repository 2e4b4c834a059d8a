"""Are runs that are killed and resumed bit-identical to undisturbed ones? Random faults at random moments, as a table.

    python -m sims.bench.kills [--kills 20] [--faults SIGKILL rename] [--commands draws law] [--seed 0]

A small run is started by its command line in a process of its own and meets a fault; the same command is given again,
with a fault of the same kind, some times, and then undisturbed until it ends. Its `summary.json`, but for times and
what it says of resuming, and its `draws.nc` or `recovered.npz` must then be those of an undisturbed run, byte for byte.

    SIGKILL, SIGTERM, SIGINT   sent at a moment that is uniform over the time that an undisturbed run takes
    again                      SIGTERM, and half a second later another one
    rename                     a kill after a file has been written and before it is renamed, at a random file
    torn                       the last checkpoint loses its end, as by a disk that broke, and the process is killed
    flipped                    one bit of it is another, and the process is killed
    full                       from a random flush on, every one says that the disk is full
    limit                      no file may be larger than a random size (RLIMIT_FSIZE)

States are saved every tenth of a second instead of every 15 s, by a wrapper around the command in its process; programs
are compiled once, into a cache of their own. A faulted run that reaches its end before its fault counts as not hit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sims import described

EVERY_SECONDS = 0.1  # between states
TRIES = 5  # undisturbed, until it ends
SMALL = "--chains 64 --burn-in 2000 --thin 20 --chunk 25"
COMMANDS = {
    "draws": f"langevin_ib.sim --steps 20000 --step-size 0.002 --window 0.3 2 {SMALL}",
    "law": f"langevin_ib.sim --model hadamard --steps 20000 --step-size 0.002 --law-draws 5120 {SMALL}",
    "sgd": f"langevin_ib.sim --sampler sgd --steps 100000 {SMALL}",
    "attribution": "langevin_ib.attribute --model uv --seeds 20 --steps 20000",
    "figure": "sims.fig1_orbits --seeds 20 --steps 20000",
}
FAULTS = ("SIGKILL", "SIGTERM", "SIGINT", "again", "rename", "torn", "flipped", "full", "limit")
TIMES = {"wall_s", "total_wall_s", "chain_steps_per_s", "resumed", "refused"}  # keys of a summary that may differ
KEPT = "kept as|not continued"  # of a line on a state that was refused


class Ended(NamedTuple):
    """A process that has ended: exit code, negative of a signal's number, and its standard error."""

    code: int
    said: str


@dataclass
class Row:
    """What came of one kind of fault."""

    faults: int = 0
    hit: int = 0
    runs: int = 0
    identical: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Print the table; returns 0 if every run ended bit-identical."""
    if sys.argv[1:2] == ["--within"]:
        return within(json.loads(sys.argv[2]), sys.argv[3], sys.argv[4:])
    parser = described(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=["draws"])
    parser.add_argument("--each", type=int, default=4, help="faults that a run meets one after the other [4]")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows: dict[str, Row] = defaultdict(Row)
    with tempfile.TemporaryDirectory(prefix="langevin_ib_kills_") as place, contextlib.suppress(KeyboardInterrupt):
        measure(options, Path(place), rows)
    show(rows)  # what there is of it, if it was interrupted
    return 0 if all(row.identical == row.runs for row in rows.values()) else 1


def measure(options: argparse.Namespace, place: Path, rows: dict[str, Row]) -> None:
    """Kill and resume until there were enough faults."""
    chance = random.Random(options.seed)
    plain = {name: undisturbed(name, place) for name in options.commands}
    number = 0
    while sum(row.faults for row in rows.values()) < options.kills:
        kind = options.faults[number % len(options.faults)]
        name = options.commands[number // len(options.faults) % len(options.commands)]
        wanted, seconds = plain[name]
        out, row = place / f"{number}", rows[kind]
        for _ in range(min(options.each, options.kills - sum(row.faults for row in rows.values()))):
            fault = {"kind": kind, "seed": chance.random(), "seconds": seconds, "states": str(out / ".checkpoints")}
            ended = run(name, out, place, fault)
            row.faults += 1
            row.hit += ended.code != 0
            row.codes[ended.code] += 1
            row.said.update(spoken(ended.said))
            if ended.code == 0:
                break
        last = finish(name, out, place, row)
        same = last.code == 0 and content(out) == wanted
        row.runs, row.identical = row.runs + 1, row.identical + same
        print(f"{kind:<8} {name:<12} {row.faults} faults, {row.identical} of {row.runs} runs identical", flush=True)
        number += 1


def undisturbed(name: str, place: Path) -> tuple[dict[str, object], float]:
    """What a run leaves that nothing happens to, and the seconds of the second one, which compiles nothing."""
    seconds, found = 0.0, []
    for trial in range(2):
        began, out = time.monotonic(), place / f"plain-{name}-{trial}"
        ended = run(name, out, place, {"kind": "none"})
        if ended.code:
            raise SystemExit(f"kills: an undisturbed run of {name} ended with {ended.code}: {ended.said}")
        seconds = time.monotonic() - began
        found.append(content(out))
    if found[0] != found[1]:
        raise SystemExit(f"kills: two undisturbed runs of {name} differ")
    print(f"{name}: {seconds:.1f} s undisturbed", flush=True)
    return found[0], seconds


def finish(name: str, out: Path, place: Path, row: Row) -> Ended:
    """The same command, until it ends."""
    ended = Ended(1, "")
    for _ in range(TRIES):
        ended = run(name, out, place, {"kind": "none"})
        row.said.update(line for line in spoken(ended.said) if re.search(KEPT, line) or ended.code)
        if ended.code == 0:
            break
    return ended


def run(name: str, out: Path, place: Path, fault: dict[str, Any]) -> Ended:
    """One process that meets a fault."""
    module, *given = shlex.split(COMMANDS[name])
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(place / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-m", "sims.bench.kills", "--within", json.dumps(fault), module, *given]
    done = subprocess.run(
        [*command, "--quiet", "--out", str(out)], env=os.environ | compiled, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stderr)


def spoken(said: str) -> Iterator[str]:
    """Lines of standard error in which places and numbers of this very run are left out."""
    for line in said.splitlines():
        plain = re.sub(r"\S*langevin_ib_kills_\S*/", "", line)
        yield re.sub(r"\d+", "N", plain)


def content(out: Path) -> dict[str, object]:
    """The files of a result that must not differ, by name."""
    (folder,) = (path for path in out.iterdir() if not path.name.startswith("."))
    files: dict[str, object] = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".nc", ".npz", ".toml")
    }
    files["summary.json"] = timeless(json.loads((folder / "summary.json").read_bytes()))
    return files


def timeless(value: object) -> object:
    """A summary without the keys that differ between any two runs, and without what it says of a refused state."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [timeless(item) for item in value if not (isinstance(item, str) and re.search(KEPT, item))]
    return value


def show(rows: dict[str, Row]) -> None:
    """The table, and what was said."""
    print(f"\n{'fault':<8} {'faults':>6} {'hit':>4} {'runs':>5} {'identical':>9}  exit codes (times)")
    for kind, row in rows.items():
        codes = ", ".join(f"{code} ({times})" for code, times in sorted(row.codes.items()))
        print(f"{kind:<8} {row.faults:>6} {row.hit:>4} {row.runs:>5} {row.identical:>9}  {codes}")
    for kind, row in rows.items():
        print(f"\n{kind} said")
        for line, times in row.said.most_common():
            print(f"  {times:>3} × {line}")


def within(fault: dict[str, Any], module: str, arguments: Sequence[str]) -> int:
    """In the process that meets the fault: prepare it, and do what the command does."""
    from langevin_ib.ensemble.checkpoint import Checkpoint  # noqa: PLC0415 - with NumPy, which the other side needs not

    def due(self: Checkpoint, *, ended: bool = False) -> bool:
        return ended or time.monotonic() - self._last >= EVERY_SECONDS

    Checkpoint.due = due
    sys.argv = [module, *arguments]
    chance = random.Random(fault.get("seed"))
    PREPARE.get(fault["kind"], send)(fault, chance)
    import importlib  # noqa: PLC0415

    return importlib.import_module(module).main(list(arguments))


def later(seconds: float, work: Callable[[], None]) -> None:
    """Work in a thread that does not keep the process."""
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


def kill(number: int = signal.SIGKILL) -> None:
    """A signal to this process."""
    os.kill(os.getpid(), number)


def nothing(fault: dict[str, Any], chance: random.Random) -> None:
    """No fault."""
    del fault, chance


def send(fault: dict[str, Any], chance: random.Random) -> None:
    """The signal of that name."""
    later(chance.uniform(0.0, fault["seconds"]), lambda: kill(signal.Signals[fault["kind"]]))


def send_twice(fault: dict[str, Any], chance: random.Random) -> None:
    """SIGTERM, and another one while the first is being answered."""
    after = chance.uniform(0.0, fault["seconds"])
    for delay in (0.0, 0.5):
        later(after + delay, lambda: kill(signal.SIGTERM))


def die_before_rename(fault: dict[str, Any], chance: random.Random) -> None:
    """A file or a folder has been written, and does not get its name."""
    left = chance.randrange(1, 20)

    def counted(rename: Callable[..., object]) -> Callable[..., object]:
        def renamed(*given: Any, **options: Any) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                kill()
            return rename(*given, **options)

        return renamed

    os.replace, os.rename = counted(os.replace), counted(os.rename)


def break_state(fault: dict[str, Any], chance: random.Random) -> None:
    """A state is damaged on the disk, and the process is killed."""

    def work() -> None:
        states = sorted(Path(fault["states"]).glob("*/*.npz"))
        if states:
            path = chance.choice(states)
            data = bytearray(path.read_bytes())
            if fault["kind"] == "torn":
                del data[chance.randrange(len(data)) :]
            else:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
        kill()

    later(chance.uniform(0.4, 1.0) * fault["seconds"], work)


def fill_disk(fault: dict[str, Any], chance: random.Random) -> None:
    """Flushes fail for good, from a random one on."""
    left, flush = chance.randrange(30), os.fsync

    def flushed(place: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, os.strerror(28))
        flush(place)

    os.fsync = flushed


def limit_size(fault: dict[str, Any], chance: random.Random) -> None:
    """No file is larger than a size between that of a small file and that of a result."""
    import resource  # noqa: PLC0415 - of POSIX alone

    size = int(2 ** chance.uniform(8, 18))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


PREPARE: dict[str, Callable[[dict[str, Any], random.Random], None]] = {
    "none": nothing,
    "again": send_twice,
    "rename": die_before_rename,
    "torn": break_state,
    "flipped": break_state,
    "full": fill_disk,
    "limit": limit_size,
}

if __name__ == "__main__":
    sys.exit(main())
