"""What the identities of a step cost: processor time of sampling with them over that without, in one process.

    python -m sims.bench.identities [name ...]

Each case is a run as the command line would plan it; its chains are sampled with and without identities in turns, with
the same numbers, and the shortest time of either counts. Planning and compilation are left out. With names, only the
cases in whose names one of them occurs.
"""

from __future__ import annotations

import sys
import time
from unittest import mock

import numpy as np

from langevin_ib import RunConfig
from langevin_ib.ensemble.runner import Ensemble
from langevin_ib.runs import sampling
from langevin_ib.runs.identities import nothing
from langevin_ib.runs.processes import sgd
from langevin_ib.runs.run import process_of
from langevin_ib.session import Session

TURNS = 12
SMALL = {"law_draws": 20_000, "chains": 128, "steps": 8000}
EXAMPLES = {"options": {"samples": 16}}
CASES: dict[str, dict] = {
    "uv, the main command": {"beta": 10.0},
    "uv, an eighth of the main command's chains": {"beta": 10.0, "chains": 512},
    "uv, euler-maruyama": {"integrator": "euler-maruyama", "chains": 256},
    "uv, mala": {"integrator": "mala", "chains": 256, "step_size": 0.01},
    "uv, sgd": {"sampler": "sgd", "chains": 256},
    "relu": {"model": "relu", **SMALL},
    "matrix": {"model": "matrix", **SMALL},
    "attention": {"model": "attention", **SMALL},
    "relu, sgd": {"model": "relu", "sampler": "sgd", **EXAMPLES, **SMALL},
    "attention, sgd": {"model": "attention", "sampler": "sgd", **SMALL},
}


class _Timed(Ensemble):
    """An ensemble whose chains are timed, apart from what compiles them."""

    seconds: list[float] = []  # noqa: RUF012  # of this process

    def run(self):
        """All of it."""
        self.compiled()
        began = time.process_time()
        result = super().run()
        self.seconds.append(time.process_time() - began)
        return result


def seconds_of(config: RunConfig) -> list[tuple[float, float]]:
    """Processor seconds of sampling, with identities and without, of each turn."""
    with Session().open() as session:
        process = process_of(config)
        prepared = process.prepare(config.replace(**_alone(config)), session)
        turns = []
        for _ in range(TURNS):
            with_them = _sampled(prepared, process, session)
            claims = "descent_claims" if config.sampler == "sgd" else "langevin_claims"
            place = sgd if config.sampler == "sgd" else sampling
            with mock.patch.object(place, claims, return_value=nothing("not asked for")):
                turns.append((with_them, _sampled(prepared, process, session)))
    return turns


def _alone(config: RunConfig) -> dict:
    """No companion and no reference."""
    return {} if config.sampler == "sgd" else {"step_check": False, "reference": "none"}


def _sampled(prepared, process, session: Session) -> float:
    _Timed.seconds.clear()

    def run_ensemble(kernel, starts, observer, **given):
        return _Timed(kernel, starts, observer, **given).run()

    patches = (
        mock.patch.object(sgd, "run_ensemble", run_ensemble),
        mock.patch.object(sampling, "Ensemble", _Timed),
        mock.patch("langevin_ib.runs.reference.Ensemble", _Timed),
    )
    with patches[0], patches[1], patches[2]:
        process.draw(prepared, session)
    return _Timed.seconds[0]


def main() -> None:
    """Print each case's ratio."""
    for name, settings in CASES.items():
        if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
            continue
        turns = np.array(seconds_of(RunConfig(**settings)))
        with_them, without = turns.min(axis=0)
        print(f"{name}: {with_them:.2f} s with identities, {without:.2f} s without, ratio {with_them / without:.3f}")


if __name__ == "__main__":
    main()
