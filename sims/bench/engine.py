"""The engine against its peers: ratios from one run, each round interleaved, medians over rounds with their extremes.

    python -m sims.bench.engine [SECTION ...] [--quick] [--json FILE]

Sections: `rates` (uv, chain-steps per second), `models` (the same of others), `reach` (time to TV ≤ 0.003 on uv),
`draws` (effective draws per second beside MALA and NUTS), `processes` (the main command, cold and warm, and its
memory), `exponents` (how cost grows). All of them by default; on a GPU those that run there. Peers are optional,
`pip install -e '.[bench]'`; one that is not here is a line of its own. Every peer samples the same law with the same
step in float32, by the fastest form in which it can be written, and is checked to do so before its rate is believed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import jax

from langevin_ib.cli.command import guarded
from langevin_ib.devices import usable_cores
from langevin_ib.errors import UsageError
from sims import described
from sims.bench.sections.draws import effective_draws
from sims.bench.sections.processes import whole_commands
from sims.bench.sections.rates import exponents, model_rates, uv_rates
from sims.bench.sections.reach import time_to_law
from sims.bench.sections.table import Scale, Table

Section = Callable[[Scale], Iterator[Table]]
Head = dict[str, str | int | float]
SECTIONS: Mapping[str, Section] = {
    "rates": uv_rates,
    "models": model_rates,
    "reach": time_to_law,
    "draws": effective_draws,
    "processes": whole_commands,
    "exponents": exponents,
}
ON_ACCELERATORS = "rates", "models", "reach", "exponents"  # what is one device's; the others are of the host
CHAINS, CHAINS_QUICK = (64, 256, 1024, 4096, 16384, 65536), (1024, 4096)
CHAINS_ACCELERATOR = (4096, 65536, 1048576)
FULL, QUICK = (0.5, 7), (0.1, 3)  # seconds of a measurement, rounds
PACKAGES = "jax", "jaxlib", "numpy", "blackjax", "diffrax"


def head() -> Head:
    """What the numbers depend on: versions, cores, device, load."""
    versions: Head = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    device = jax.devices()[0]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "python": platform.python_version(),
        **versions,
        "cores": len(usable_cores()),
        "device": f"{len(jax.devices())} × {device.device_kind}",
        "load at the start": round(load, 2),
    }


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = described(__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} [all]")
    parser.add_argument("--quick", action="store_true", help="a few minutes: shorter, fewer rounds, TV ≤ 0.01")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the tables go as JSON too")
    parser.add_argument("--chains", metavar="N[,N...]", help="numbers of chains of the rates")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds")
    parser.add_argument("--seconds", type=float, metavar="S", help="of one measurement, about")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="PART", help="only peers with this in their name"
    )
    return parser


def scale_of(given: argparse.Namespace) -> Scale:
    """How much is measured.

    Raises:
        UsageError: an option is out of range.
    """
    wide = CHAINS if jax.default_backend() == "cpu" else CHAINS_ACCELERATOR
    chains = CHAINS_QUICK if given.quick and jax.default_backend() == "cpu" else wide
    if given.chains is not None:
        parts = given.chains.split(",")
        if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            raise UsageError(f"--chains must be whole numbers above 0 with commas, got {given.chains}")
        chains = tuple(map(int, parts))
    seconds, repeats = QUICK if given.quick else FULL
    seconds = seconds if given.seconds is None else given.seconds
    repeats = repeats if given.repeats is None else given.repeats
    if not 0.0 < seconds <= 60.0:
        raise UsageError(f"--seconds must be above 0 and at most 60, got {seconds:g}")
    if not 1 <= repeats <= 1000:
        raise UsageError(f"--repeats must be from 1 to 1000, got {repeats}")
    if given.json is not None and not given.json.resolve().parent.is_dir():
        raise UsageError(f"--json must be a file in a folder that there is, got {given.json}")
    return Scale(chains, seconds, repeats, given.quick, tuple(given.peer))


def sections_of(names: list[str]) -> dict[str, Section]:
    """Those asked for, or all that run on this device.

    Raises:
        UsageError: there is no such section.
    """
    for name in names:
        if name not in SECTIONS:
            raise UsageError(f"a section must be one of {', '.join(SECTIONS)}, got {name}")
    wanted = names or (SECTIONS if jax.default_backend() == "cpu" else ON_ACCELERATORS)
    return {name: section for name, section in SECTIONS.items() if name in wanted}


def measure(sections: Mapping[str, Section], scale: Scale, about: Head, target: Path | None) -> None:
    """Print every table as it comes, and write all that there are: an interrupted run keeps those that it has."""
    tables: dict[str, list[dict[str, object]]] = {}
    for name, section in sections.items():
        began = time.perf_counter()
        tables[name] = []
        for table in section(scale):
            print(f"{table.text()}\n", flush=True)
            tables[name].append(table.to_dict())
            if target is not None:
                text = json.dumps({"about": about, "sections": tables}, indent=1, ensure_ascii=False)
                target.write_text(text + "\n", encoding="utf-8")
        print(f"({name}: {time.perf_counter() - began:.0f} s)\n", flush=True)


def command(arguments: list[str] | None) -> int:
    """Run it."""
    given = options().parse_args(arguments)
    scale, sections = scale_of(given), sections_of(given.sections)
    about = head()
    print("\n".join(f"{name}: {value}" for name, value in about.items()) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="langevin_ib_bench_", ignore_cleanup_errors=True) as compiled:
        # Every call of the runner compiles its programs; from the second on they come from here.
        if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
            jax.config.update("jax_compilation_cache_dir", compiled)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        measure(sections, scale, about, given.json)
    return 0


def main(arguments: list[str] | None = None) -> None:
    """Print tables of ratios."""
    raise SystemExit(guarded("python -m sims.bench.engine", lambda: command(arguments)))


if __name__ == "__main__":
    main()
