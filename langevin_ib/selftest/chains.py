"""The ensemble: integrators against an exactly solvable chain, resuming, and how much of the machine it uses."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from langevin_ib import __version__, devices
from langevin_ib.config.kernels import INCREMENTS, NORMAL
from langevin_ib.dynamics.increments import SOURCES
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble.accumulators import moments
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.drivers import SCALAR_WIDTH
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.selftest.outcome import RARE, Outcome
from langevin_ib.session import Session

SEED = 18
CHAINS = 1024
CURVATURES = np.array([1.0, 2.0])  # κ of V = Σ κ x²/2, T = 1
STEP = 0.1
SCHEDULE = Schedule(burn_in=200, thin=20, records=500, segments=(500,))
INTERRUPTED = Schedule(burn_in=30, thin=10, records=8, segments=(4, 8))


class _StopError(Exception):
    """Ends an ensemble in its middle."""


@dataclass
class _Eager(Checkpoint):
    """Saved after each chunk."""

    def due(self, *, ended: bool = False) -> bool:
        del ended
        return True


def check_cores(session: Session) -> Iterator[Outcome]:
    """Cores that this process may use and an ensemble of a block for each leaves idle; what it runs on."""
    del session
    cores = len(devices.usable_cores())
    kernel = _kernel(leimkuhler_matthews, NORMAL)
    engine = _ensemble(kernel, cores * SCALAR_WIDTH, INTERRUPTED, Stage("selftest")).engine
    on = f"{jax.device_count()} {jax.default_backend()} device(s), {cores} core(s)"
    what = f"cores idle; {on}, langevin_ib {__version__}, JAX {jax.__version__}, Python {platform.python_version()}"
    idle = cores - engine.threads if jax.default_backend() == "cpu" else 0
    yield Outcome("cores", idle, 0.0, 0.0, what if engine.idle is None else f"{what}: {engine.idle}")


def check_integrators(session: Session) -> Iterator[Outcome]:
    """E x² on either increments: Euler–Maruyama's bias is of order 1 and exactly known, Leimkuhler–Matthews has none.

    The order is log₂ of the ratio of the biases at hκ = 0.2 and 0.1; that of T/(κ(1 − hκ/2)) is 1.08 there.
    """
    del session
    bound, steps = float(stats.norm.isf(RARE / 2)), STEP * CURVATURES
    exact = 1.0 / (1.0 - steps / 2) - 1.0
    for source in INCREMENTS:
        bias, se = _bias(euler_maruyama, source)
        order, wanted = (float(np.log2(b[1] / b[0])) if np.all(b > 0) else np.nan for b in (bias, exact))
        reach = bound * float(np.hypot(*(se / exact))) / np.log(2.0)
        yield Outcome(
            f"euler-maruyama, {source}", order, wanted - reach, wanted + reach, "order of the bias of E x² on κx²/2"
        )
    bound = float(stats.norm.isf(RARE / 4))  # of the larger of two
    for source in INCREMENTS:
        bias, se = _bias(leimkuhler_matthews, source)
        worst, without = float(np.max(np.abs(bias) / se)), float(np.max(exact / se))
        what = f"bias of E x² on κx²/2, in its error (euler-maruyama's would be {without:.0f})"
        yield Outcome(f"leimkuhler-matthews, {source}", worst, 0.0, bound, what)


def check_resume(session: Session) -> Iterator[Outcome]:
    """An ensemble that is stopped and resumed, against one that is not, on any increments."""
    del session
    for source in SOURCES:
        whole = _ensemble(_kernel(leimkuhler_matthews, source), 16, INTERRUPTED, Stage("selftest", chunk_records=1))
        with tempfile.TemporaryDirectory(prefix="langevin_ib_selftest_") as folder:
            resumed = _stopped_and_resumed(_kernel(leimkuhler_matthews, source), Path(folder))
        pairs = zip(*(jax.tree.leaves((r.segments, r.trace, r.position)) for r in (whole, resumed)), strict=True)
        differ = sum(int(np.sum(np.asarray(x) != np.asarray(y))) for x, y in pairs)
        yield Outcome(f"resume, {source}", differ, 0.0, 0.0, "numbers that differ after an interruption")


def _potential(x: Float[Array, "2"]) -> Float[Array, ""]:
    return 0.5 * jnp.sum(jnp.asarray(CURVATURES, x.dtype) * x**2)


def _kernel(build: Callable[..., Kernel], source: str) -> Kernel:
    return build(_potential, jnp.zeros(2, jnp.float32), temperature=1.0, step_size=STEP).on(source)


def _ensemble(kernel: Kernel, chains: int, schedule: Schedule, stage: Stage) -> EnsembleResult:
    return run_ensemble(
        kernel,
        jnp.ones((chains, 2), jnp.float32),
        Observer(lambda state: state.position**2, moments((2,)), lambda x: {"x": x}, trace_chains=16),
        key=jax.random.key(SEED),
        schedule=schedule,
        limit=Limit(STEP),
        stage=stage,
    )


def _bias(build: Callable[..., Kernel], source: str) -> tuple[np.ndarray, np.ndarray]:
    """Of κ E x²/T, and its standard error, chains as the unit."""
    result = _ensemble(_kernel(build, source), CHAINS, SCHEDULE, Stage("selftest"))
    means = CURVATURES * np.asarray(result.segments[0].mean)
    return means.mean(axis=0) - 1.0, means.std(axis=0, ddof=1) / np.sqrt(len(means))


def _stopped_and_resumed(kernel: Kernel, folder: Path) -> EnsembleResult:
    """Stopped past its middle, and gone on with.

    Raises:
        OSError: it has begun anew, which would come to the same numbers.
    """
    place, identity, seen = folder / "state.npz", {"run": "selftest"}, list[int]()

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise _StopError

    stage = Stage("selftest", stop, chunk_records=1, checkpoint=_Eager(place, identity))
    with contextlib.suppress(_StopError):
        _ensemble(kernel, 16, INTERRUPTED, stage)
    again = replace(stage, progress=lambda done, _: seen.append(done), checkpoint=Checkpoint(place, identity))
    result = _ensemble(kernel, 16, INTERRUPTED, again)
    if seen[0] <= INTERRUPTED.steps // 2:
        raise OSError(f"an ensemble stopped after step {INTERRUPTED.steps // 2} began anew at step {seen[0]} or before")
    return result
