"""Chain-steps per second of uv at several numbers of chains, of other models at one, and how cost grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from langevin_ib.plain import Json
from sims.bench.peers import catalogue
from sims.bench.peers.base import Absent, Job, Peer, job
from sims.bench.peers.timing import (
    LEVEL,
    Chosen,
    check_model,
    check_uv,
    fastest,
    interleaved,
    potentials,
    ratios,
)
from sims.bench.sections.table import Scale, Table, spread

COLUMNS = "peer", "M chain-steps/s", "[least, most]", "ours is faster by", "[least, most] ", "form"
# Of each model, the chains of its rate: its arrays fill the caches as in a run.
MODELS: dict[str, tuple[str, Mapping[str, Json], int]] = {
    "hadamard, 64 coordinates": ("hadamard", {"dim": 64}, 1024),
    "matrix, 20 × 20, rank 20": ("matrix", {"rows": 20, "cols": 20, "rank": 20}, 256),
    "relu": ("relu", {}, 4096),
    "attention": ("attention", {}, 4096),
    "matrix": ("matrix", {}, 4096),
}
STEPS = 2_000, 8_000, 32_000, 128_000
HADAMARD = 2, 8, 32, 128  # coordinates, of which each has two parameters
FITTED_CHAINS = 1024


def uv_rates(scale: Scale) -> Iterator[Table]:
    """uv, one table for each number of chains."""
    here, checks = job("uv"), Checks(lambda peer, build: check_uv(peer, build, job("uv")))
    for chains in scale.chains:
        yield _rates(here, f"uv, {chains} chains", chains, scale, checks)


def model_rates(scale: Scale) -> Iterator[Table]:
    """Other models, one table each."""
    for label, (name, options, chains) in MODELS.items():
        here = job(name, options, label)
        reference = potentials(catalogue.peers()[catalogue.JAX_LOOP].forms[catalogue.ONE_THREAD], here)
        checks = Checks(lambda peer, build, here=here, ref=reference: check_model(peer, build, here, ref))
        count = chains // 4 if scale.quick else chains
        yield _rates(here, f"{label}: {here.parameters} parameters, {count} chains", count, scale, checks)


class Checks:
    """What each form was checked to sample, once."""

    def __init__(self, p_value: Callable[[Peer, Any], float]):
        self.p_value, self.known = p_value, dict[tuple[str, str], float]()

    def of(self, peer: Peer, one: Chosen) -> float:
        """The p-value of a peer in its form."""
        key = peer.name, one.form
        if key not in self.known:
            self.known[key] = self.p_value(peer, one.build)
        return self.known[key]


def _rates(here: Job, title: str, chains: int, scale: Scale, checks: Checks) -> Table:
    table, chosen = Table(title, COLUMNS), dict[str, Chosen]()
    host = jax.default_backend() == "cpu"
    for name, peer in catalogue.peers().items():
        if not scale.wants(name) or (peer.uv_only and here.model.name != "uv"):
            continue
        if peer.uv_only and not host:  # its chains would run on the host's cores
            continue
        try:
            one = fastest(peer, here, chains, scale.seconds)
        except Absent as absent:
            table.notes.append(f"{name}: {absent}")
            continue
        p = checks.of(peer, one)
        if p < LEVEL:
            table.notes.append(f"{name}: not believed, for it samples another law (p = {p:.1g})")
            continue
        chosen[name] = one
    rates = interleaved(chosen, chains, scale.seconds, scale.repeats)
    if catalogue.OURS not in rates:
        return table
    faster = ratios(rates, catalogue.OURS)
    for name, own in rates.items():
        rate, ratio = spread(own), spread(faster[name])
        table.rows.append((name, rate.median, _ends(rate), ratio.median, _ends(ratio), chosen[name].form))
    return table


def _ends(of: Any) -> str:
    return f"[{of.low:.3g}, {of.high:.3g}]"


def exponents(scale: Scale) -> Iterator[Table]:
    """log cost against log size: slope ± its standard error, of the package's own chains."""
    table = Table("Cost grows as a power of", ("size", "increments", "exponent", "± error", "sizes", "per unit [µs]"))
    uv, few = job("uv"), max(2, scale.repeats - 2)
    for name in (catalogue.OURS, catalogue.OURS_NORMAL):
        peer = catalogue.peers()[name]
        sizes = [n for n in scale.chains if n >= FITTED_CHAINS]
        by_chains = [1.0 / _paces(peer, uv, n, scale.seconds, few) for n in sizes]
        one = fastest(peer, uv, FITTED_CHAINS, scale.seconds)
        steps = STEPS[: 3 if scale.quick else None]
        by_steps = [float(np.median([one.chains.run(n // 50, 50) for _ in range(few)])) for n in steps]
        models = [job("hadamard", {"dim": m}) for m in HADAMARD[: 3 if scale.quick else None]]
        by_size = [1.0 / _paces(peer, model, FITTED_CHAINS, scale.seconds, few) for model in models]
        label = name.removeprefix("ours, ")
        if len(sizes) > 2:
            table.rows.append(("chains (uv)", label, *_slope(sizes, by_chains)))
        table.rows.append(("steps (uv)", label, *_slope(steps, by_steps)))
        table.rows.append(("parameters (hadamard)", label, *_slope([m.parameters for m in models], by_size)))
    yield table


def _paces(peer: Peer, here: Job, chains: int, seconds: float, repeats: int) -> float:
    one = fastest(peer, here, chains, seconds)
    return float(np.median(interleaved({"": one}, chains, seconds, repeats)[""])) * 1e6 / chains


def _slope(sizes: Any, costs: list[float]) -> tuple[float, float, str, float]:
    (slope, _), covariance = np.polyfit(np.log(sizes), np.log(costs), 1, cov=True)
    return float(slope), float(covariance[0, 0] ** 0.5), f"{sizes[0]}–{sizes[-1]}", 1e6 * costs[-1] / sizes[-1]
