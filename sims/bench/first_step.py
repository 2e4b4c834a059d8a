"""How long a run of a larger group takes to its first step, and what of that is tracing, compiling and the laws.

    python -m sims.bench.first_step [--limit S] [--json FILE] [CASE ...]

Each case is a command of `langevin_ib.sim` in a process of its own with an empty folder of compiled programs. It ends
where the run's own chains would take their first step: their program is compiled and their laws are drawn. Seconds of
processor time of the process, imports and all, and of the clock; programs that were compiled, and JAX's own clocks of
tracing and compiling, which are of the clock and of several threads. On a busy machine look at processor time alone.
Cases are the ones in whose names one of the words occurs; without any it is all.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm

from langevin_ib import sim
from langevin_ib.compilation_cache import VARIABLE
from langevin_ib.models import Model
from langevin_ib.runs.sampling import Sampler
from langevin_ib.session import Session
from sims import described

CASES = {
    "rectangular": "--model matrix --set group=gl rows=3 cols=2 rank=2",
    "over-parameterised": "--model matrix --set group=gl rows=2 cols=2 rank=4 --confine weight-decay",
    "three layers": "--model matrix --set group=gl rows=2 cols=2 rank=2 depth=3",
    "three layers of one's own": "--model sims.bench.first_step:three_layers",
    "wide attention": "--model attention --set width=16 heads=4",
}
PARTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/backend_compile_duration": "compiling",
}
COLUMNS = {
    "cpu": "processor s",
    "wall": "clock s",
    "law": "law from",
    "programs": "programs",
    **{v: v for v in PARTS.values()},
}

SYMMETRIC = np.array([[[1.0, 0], [0, 0]], [[0, 0], [0, 1.0]], [[0, 0.5**0.5], [0.5**0.5, 0]]])
ROTATION = np.array([[0.0, 1.0], [-1.0, 0.0]])


def power_of(a, p):
    """A^p of a symmetric positive definite A."""
    w, v = jnp.linalg.eigh(a)
    return (v * w**p) @ v.T


def three_layers(target=((2.0, 0.3), (0.1, 1.0)), ridge: float = 0.5) -> Model:
    """W₃W₂W₁ of 2×2 matrices as a model of one's own, GL(2) × GL(2), with nothing in closed form."""
    Y = np.array(target)

    def product(p):
        return p["W3"] @ p["W2"] @ p["W1"]

    def loss(p):
        f = product(p)
        return 0.5 * jnp.sum((f - Y) ** 2) + 0.5 * ridge * jnp.sum(f**2)

    def apply(p, g1, h1, g2, h2):
        return {"W1": g1 @ p["W1"], "W2": g2 @ p["W2"] @ h1, "W3": p["W3"] @ h2}

    def act(t, p):
        a, b = jnp.einsum("a,aij->ij", t[:3], SYMMETRIC), jnp.einsum("a,aij->ij", t[3:], SYMMETRIC)
        return apply(p, expm(a), expm(-a), expm(b), expm(-b))

    def compact_act(t, p):
        a, b = expm(t[0] * ROTATION), expm(t[1] * ROTATION)
        return apply(p, a, a.T, b, b.T)

    def moment_map(p):
        first = p["W1"] @ p["W1"].T - p["W2"].T @ p["W2"]
        second = p["W2"] @ p["W2"].T - p["W3"].T @ p["W3"]
        return 0.5 * jnp.concatenate([jnp.einsum("aij,ij->a", SYMMETRIC, x) for x in (first, second)])

    def invariants(p):
        f = product(p)
        return {"P": f, "sign": jnp.sign(jnp.linalg.det(f))}

    def section(z):
        g = z["P"].T @ z["P"]
        h = power_of(g, 1 / 6)
        return {"W1": h, "W2": h, "W3": z["P"] @ power_of(g, -1 / 3)}

    def scalars(z):
        f = z["P"]
        plus, minus = jnp.hypot(f[0, 0] + f[1, 1], f[0, 1] - f[1, 0]), jnp.hypot(f[0, 0] - f[1, 1], f[0, 1] + f[1, 0])
        return {"sigma_1": 0.5 * (plus + minus), "sigma_2": 0.5 * jnp.abs(plus - minus)}

    def init(key):
        keys = jax.random.split(key, 3)
        ws = [
            jax.random.orthogonal(k, 2) * jax.random.uniform(jax.random.fold_in(k, 1), (2,), minval=0.7, maxval=1.5)
            for k in keys
        ]
        flip = jnp.sign(jnp.linalg.det(ws[2] @ ws[1] @ ws[0]))
        return {"W1": ws[0], "W2": ws[1], "W3": ws[2].at[:, 0].multiply(flip)}

    return Model(
        name="three layers",
        group="GL(2) x GL(2)",
        group_dim=6,
        compact_dim=2,
        loss=loss,
        act=act,
        compact_act=compact_act,
        moment_map=moment_map,
        invariants=invariants,
        section=section,
        scalars=scalars,
        init=init,
        branches={"sigma_1": ((0.0, np.inf),), "sigma_2": ((0.0, np.inf),)},
        cut=("sigma_2",),
        discrete=("sign",),
    )


def clock() -> float:
    """Processor seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(options: list[str], file: Path) -> NoReturn:
    """One run in this process up to its first step; writes its numbers as JSON and ends."""
    began = time.time()
    found = dict.fromkeys(COLUMNS, 0.0)

    def clocked(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if event in PARTS:
            found[PARTS[event]] += duration_secs
            found["programs"] += event.endswith("/backend_compile_duration")

    def drawn(self: Sampler, coming: object) -> NoReturn:
        del self, coming
        found["cpu"], found["wall"] = clock(), time.time() - began
        file.write_text(json.dumps(found), encoding="utf-8")
        os._exit(0)

    def stage(self, config, name, original=Session.stage):
        if name.startswith("law") and not found["law"]:
            found["law"] = clock()
        return original(self, config, name)

    jax.monitoring.register_event_duration_secs_listener(clocked)
    Sampler.drawn, Session.stage = drawn, stage
    raise SystemExit(sim.main(options))


def first_step(options: str, limit: float) -> dict[str, float] | None:
    """The numbers of a command; None if it was given up after so many seconds of the clock."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        command = [sys.executable, "-m", "sims.bench.first_step", "--json", f"{folder}/numbers.json"]
        command += ["--inside", f"{options} --quiet --out {out}"]
        variables = os.environ | {VARIABLE: str(Path(folder) / "programs")}
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(Path(folder, "numbers.json").read_text(encoding="utf-8"))


def main() -> None:
    """Print a table, a row for each case."""
    parser = described(__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="words in the names of cases [all of them]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--limit", type=float, default=3600.0, metavar="S", help="seconds to give a case [3600]")
    parser.add_argument("--inside", metavar="OPTIONS", help="time this run in this process, into FILE")
    chosen = parser.parse_args()
    if chosen.inside is not None:
        measure(chosen.inside.split(), chosen.json)
    cases = {n: o for n, o in CASES.items() if not chosen.cases or any(word in n for word in chosen.cases)}
    if not cases:
        raise SystemExit(f"no case has one of these words in its name: {', '.join(CASES)}")
    print(f"{'':<28}" + "".join(f"{title:>13}" for title in COLUMNS.values()))
    results = {}
    for name, options in cases.items():
        results[name] = first_step(options, chosen.limit)
        row = results[name]
        text = "given up" if row is None else "".join(f"{row[key]:13.1f}" for key in COLUMNS)
        print(f"{name:<28}{text}", flush=True)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
