"""The same numbers wherever chains run? Bits that differ on devices, threads, chunks, processes, a worker killed.

    python -m sims.bench.places [--kernels uv mala sgd] [--steps 4000]

For 512 and 4096 chains of each kernel: one device and one thread, whose result is the measure; 2, 4 and 8 devices; 8
threads of one device; three sizes of chunks; one process of a Dask cluster, three of them, and three of which one is
killed while it works. A row counts the bits in which statistics, trace, ends and means over steps differ: all 0.
With a control: the same chains with another key.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.increments import FOUR_POINT, NORMAL
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Placement, Schedule, Stage, octaves
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.models import Model, build_model
from langevin_ib.session import Session
from langevin_ib.stages import Progress
from sims import described

DEVICES = "--xla_force_host_platform_device_count=8"
THIN = 20
CHAINS = (512, 4096)
KERNELS: dict[str, Callable[[Model, Callable, object], Kernel]] = {
    "uv": lambda model, potential, like: _langevin(potential, like).on(FOUR_POINT),
    "uv, normals": lambda model, potential, like: _langevin(potential, like).on(NORMAL),
    "mala": lambda model, potential, like: mala(potential, temperature=0.1, step_size=1e-3),
    "sgd": lambda model, potential, like: sgd(model, like, noise=Noise("label", label_noise=0.5), lr=1e-2),
}


def _langevin(potential: Callable, like: object) -> Kernel:
    return leimkuhler_matthews(potential, like, temperature=0.1, step_size=1e-3)


class Sampled:
    """An ensemble of one kernel that may be run anywhere."""

    def __init__(self, kernel: str, chains: int, steps: int):
        model = build_model("uv")
        potential = stiff(50.0).potential(model)
        self.starts = starting_points(model.init, jax.random.key(0), chains, jnp.float32)
        like = jax.tree.map(lambda leaf: leaf[0], self.starts)
        self.kernel = KERNELS[kernel](model, potential, like)
        self.observer = Observer(lambda s: potential(s.position), accumulators.moments(), lambda x: {"energy": x})
        records = steps // THIN
        self.schedule = Schedule(THIN + 3, THIN, records, octaves(records))

    def run(
        self, placement: Placement, chunk: int | None = None, seed: int = 1, progress: Progress | None = None
    ) -> EnsembleResult:
        """All of it."""
        return run_ensemble(
            self.kernel,
            self.starts,
            self.observer,
            key=jax.random.key(seed),
            schedule=self.schedule,
            limit=Limit(1e-3),
            stage=Stage("places", progress, chunk, placement=placement),
        )


def bits_between(first: EnsembleResult, second: EnsembleResult) -> int:
    """In which two results differ, but for how they were made."""
    pairs = zip(jax.tree.leaves(first[:-1]), jax.tree.leaves(second[:-1]), strict=True)
    return sum(int(np.bitwise_count(_raw(x) ^ _raw(y)).sum()) for x, y in pairs)


def _raw(values: object) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def rows(sampled: Sampled) -> Iterator[tuple[str, Callable[[], EnsembleResult]]]:
    """What each row is called, and how it comes to its numbers."""
    devices = jax.devices()
    for count in (2, 4, 8):
        yield f"{count} devices", lambda count=count: sampled.run(Placement(devices[:count]))
    yield "8 threads of one device", lambda: sampled.run(Placement(devices[:1], threads=8))
    for chunk in (1, 7, 10**6):
        yield f"chunks of {chunk} records", lambda chunk=chunk: sampled.run(Placement(devices[:1]), chunk)
    for workers, killed in ((1, False), (3, False), (3, True)):
        name = f"{workers} Dask worker{'s' * (workers > 1)}{', one killed' * killed}"
        yield name, lambda workers=workers, killed=killed: _on_dask(sampled, workers, killed)
    yield "control: another key", lambda: sampled.run(Placement(devices[:1]), seed=2)


def _on_dask(sampled: Sampled, workers: int, killed: bool) -> EnsembleResult:
    from distributed import Client, LocalCluster  # noqa: PLC0415  # an extra

    quiet: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(workers, threads_per_worker=1, **quiet) as cluster, Client(cluster) as client:
        if not killed:
            return sampled.run(Placement(executor=client.get_executor(pure=False)), chunk=25)
        killer = _Killer(cluster)
        result = sampled.run(Placement(executor=client.get_executor(pure=False)), chunk=25, progress=killer)
        killer.join()
        return result


class _Killer(threading.Thread):
    """Progress of a run that, from a third of it on, sends SIGKILL to a worker of a cluster that is at a call."""

    def __init__(self, cluster: Any):
        super().__init__(daemon=True)
        self._cluster = cluster

    def __call__(self, done: int, steps: int) -> None:
        if 3 * done >= steps and self.ident is None:
            self.start()

    def run(self) -> None:
        """Look until there is one; the run cannot end without."""
        while not (found := [w for w in list(self._cluster.scheduler.workers.values()) if w.processing]):
            time.sleep(1e-4)
        os.kill(self._cluster.workers[found[0].name].pid, signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0 if no bit differs, and the control's do."""
    parser = described(__doc__)
    parser.add_argument("--kernels", nargs="+", choices=list(KERNELS), default=list(KERNELS), help="[all]")
    parser.add_argument("--steps", type=int, default=4000)
    given = parser.parse_args(argv)
    if len(jax.devices()) < 8:  # known from the start of a process on
        flags = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}"
        command = [sys.executable, "-m", "sims.bench.places", *(sys.argv[1:] if argv is None else argv)]
        return subprocess.call(command, env=os.environ | {"XLA_FLAGS": flags})
    wrong = 0
    with Session().open():
        for kernel in given.kernels:
            for chains in CHAINS:
                sampled = Sampled(kernel, chains, given.steps)
                measure = sampled.run(Placement(jax.devices()[:1], threads=1))
                print(f"\n{kernel}, {chains} chains, {given.steps} steps: bits that differ from one device, one thread")
                for name, work in rows(sampled):
                    differing = bits_between(measure, work())
                    wrong += (differing > 0) != name.startswith("control")
                    print(f"  {name:30s} {differing}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
