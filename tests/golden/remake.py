"""Make the stored numbers of the golden tests anew from the present code: `python tests/golden/remake.py [NAME ...]`.

A change of these numbers that is meant is a commit of its own, which holds nothing but the change and the files that
this script has made anew, and says why. Without names all are made; with names, those parts and cases alone: paths,
mala, `long NAME` of `long_numbers.py`, or the name of a case of `cases.py`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import adapter
import cases
import long_numbers
from comparing import STORED, plain, slug

import langevin_ib
from langevin_ib import RunConfig


def dump(name: str, value: Any) -> None:
    """Readable JSON: lists of numbers in one line."""

    def text(value: Any, indent: str) -> str:
        inner = indent + " "
        if isinstance(value, dict) and value:
            rows = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {text(v, inner)}" for key, v in value.items()]
            return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
        return json.dumps(value, ensure_ascii=False)

    (STORED / name).write_text(text(plain(value), "") + "\n", encoding="utf-8")


def stored(name: str) -> Any:
    path = STORED / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def make_plan(name: str, case: cases.Case) -> None:
    kept: adapter.Arrays = {}
    with adapter.recording(kept):
        plan = adapter.planned(RunConfig(**case))
    if kept:  # draws of a law, without which another machine would have others
        adapter.write(STORED / f"{slug(name)}.npz", kept)
        dump("build.json", adapter.build())
        with adapter.replaying(adapter.read(STORED / f"{slug(name)}.npz")):
            plan = adapter.planned(RunConfig(**case))
    plans = stored("plans.json")
    plans[name] = plan
    order = [*cases.PLANS, *cases.LONG_PLANS]
    dump("plans.json", {key: plans[key] for key in order if key in plans})


def make_summary(name: str, case: cases.Case) -> None:
    kept: adapter.Arrays = {}
    with adapter.recording(kept):
        langevin_ib.run(RunConfig(**case))
    adapter.write(STORED / f"{slug(name)}.npz", kept)
    with adapter.replaying(adapter.read(STORED / f"{slug(name)}.npz")):
        dump(f"{slug(name)}.json", adapter.summary_of(langevin_ib.run(RunConfig(**case))))


def make_paths() -> None:
    dump(
        "paths.json",
        {name: adapter.path_of(RunConfig(**case)) for name, case in cases.PATHS.items()},
    )


def make_mala() -> None:
    dump(
        "mala.json", {name: adapter.mala_ends(**case).tolist() for name, case in (cases.MALA | cases.LONG_MALA).items()}
    )


def make_long(name: str) -> None:
    dump("long.json", stored("long.json") | {name: long_numbers.NUMBERS[name]()})


def main(names: list[str]) -> None:
    STORED.mkdir(exist_ok=True)
    makers: dict[str, Any] = {"paths": make_paths, "mala": make_mala}
    makers |= {f"long {name}": lambda name=name: make_long(name) for name in long_numbers.NUMBERS}
    for name, case in (cases.PLANS | cases.LONG_PLANS).items():
        makers[name] = lambda name=name, case=case: make_plan(name, case)
    for name, case in (cases.JUDGED | cases.LONG_JUDGED).items():
        makers[name] = lambda name=name, case=case: make_summary(name, case)
    for name in names or makers:
        began = time.perf_counter()
        makers[name]()
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
