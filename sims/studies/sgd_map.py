"""Law `map` of SGD: draws against it and against (S), and collapse on both sides of its threshold.

    python -m sims.sgd_map [--only NAME …] [--store]

1. Runs: uv under label noise of s = 2 at three learning rates, and over 16 examples, one at each step, at learning
   rates at which (S) is off by about 0.003, 0.016 and 0.05; then other models, noises and confinements. A row has the
   total-variation distance of the draws from `map` and from (S), its floor, and the distance between both laws.
2. Collapse of uv under label noise, at three η: the ηs² at which E log |z'/z| near 0 changes sign; at 5% below it what
   a run says, and the share of chains with |z| < 1e-6 by `map` and by chains of a map written out here, which shares no
   code with the package; at 5% above, what a run says, and the rate at which log |z| of such chains falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.optimize

import langevin_ib
from langevin_ib import LawError, RunConfig
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.noise import Noise
from langevin_ib.laws.map import TINY
from langevin_ib.laws.sgd import Descent
from langevin_ib.laws.step_map import Multiplies, StepMap
from langevin_ib.models import build_model
from langevin_ib.runs.descent_laws import near_collapse
from langevin_ib.runs.descent_plan import ResolvedDescent
from langevin_ib.runs.run import process_of
from langevin_ib.session import Session, silent
from sims import described
from sims.numbers.stored import RESULTS, Number, Stored, read

SEED = 0
LABEL: Mapping[str, Any] = {"noise": "label", "label_noise": 2.0}
DATA: Mapping[str, Any] = {"noise": "minibatch", "options": {"samples": 16, "scatter": 2.0, "seed": 2}}
RUNS: Mapping[str, Mapping[str, Any]] = {
    "label_01": {**LABEL, "lr": 0.01},
    "label_05": {**LABEL, "lr": 0.05},
    "label_10": {**LABEL, "lr": 0.1},
    "data_001": {**DATA, "batch_size": 1, "lr": 0.001},
    "data_006": {**DATA, "batch_size": 1, "lr": 0.006},
    "data_015": {**DATA, "batch_size": 1, "lr": 0.015},
    "depth_3": {**LABEL, "depth": 3, "lr": 0.02},
    "rotation": {**LABEL, "model": "rotation", "lr": 0.1},
    "hadamard": {**LABEL, "model": "hadamard", "options": {"dim": 2}, "lr": 0.02},
    "fresh": {**LABEL, "noise": "fresh", "batch_size": 1, "lr": 0.02},
    "weight_decay": {**LABEL, "label_noise": 1.5, "confine": "weight-decay", "weight_decay": 0.3, "lr": 0.05},
    "bernoulli": {**DATA, "noise": "bernoulli", "lr": 0.05},
    "batch_3": {**DATA, "batch_size": 3, "lr": 0.05},
    "batch_2_label": {**DATA, "batch_size": 2, "label_noise": 1.0, "lr": 0.05},
}
RATES = (0.01, 0.05, 0.1)
ASIDE = 0.05  # of ηs², below and above the threshold
AWAY = 20.0  # log z from which no chain of η ≥ 0.01 comes back: (1 − ηz)² z > z there
CHAINS = 1000
RELAXATIONS = 10  # steps of a simulation, in units of Var log |z'/z| / (E log |z'/z|)²


class Simulated(NamedTuple):
    """Chains of z' = z (1 − η(z − 1 − sε))² from z = 1: a share and a rate, each with its standard error.

    Attributes:
        share: below 1e-6, of those that have not run away.
        away: the share that has, over the top of the well.
        rate: of log z, of those that have not.
    """

    share: float
    share_se: float
    away: float
    rate: float
    rate_se: float


def run_row(name: str, settings: Mapping[str, Any], chains: int | None) -> dict[str, Number]:
    """One run; prints its row for the scalar that is furthest from `map`."""
    config = RunConfig(sampler="sgd", seed=SEED, **settings, **({} if chains is None else {"chains": chains}))
    result = langevin_ib.run(config)
    details: Any = result.details
    scalar = max(result.invariants, key=lambda each: result.invariants[each].laws["map"].comparison.tv)
    laws = result.invariants[scalar].laws
    exact, limit = laws["map"].comparison, laws["sgd"].comparison
    about = details.map[scalar]
    print(
        f"{name}: {scalar}, map TV {exact.tv:.4f} (95% bounds {exact.tv_lower95:.4f} to {exact.tv_upper95:.4f}), "
        f"p {exact.p_value:.2g}, {exact.verdict}; floor {exact.tv_floor:.4f}; (S) TV {limit.tv:.4f}, {limit.verdict}; "
        f"map to (S) {about.from_s:.4f}, accuracy of map {about.accuracy:.1g}; doubts {len(result.doubts)}",
        flush=True,
    )
    return {
        f"{name}_map": Number(exact.tv, bounds=(exact.tv_lower95, exact.tv_upper95)),
        f"{name}_s": Number(limit.tv, bounds=(limit.tv_lower95, limit.tv_upper95)),
        f"{name}_floor": Number(exact.tv_floor),
        f"{name}_between": Number(about.from_s),
        f"{name}_p": Number(exact.p_value),
    }


def near_zero(lr: float, strength: float) -> Multiplies:
    """What steps of uv under label noise of ηs² = strength do near z = 0."""
    model = build_model("uv")
    noise = Noise("label", None, float(np.sqrt(strength / lr)))
    near = StepMap(Descent(model, unconfined(), noise, lr), 0, np.array([1.0]), model.home_of("z")).multiplies
    assert near is not None  # steps of a product multiply
    return near


def simulate(lr: float, strength: float, steps: int) -> Simulated:
    """In x = log z, which no product takes below the smallest number."""
    rng = np.random.default_rng(SEED)
    x, half = np.zeros(CHAINS), np.zeros(CHAINS)
    noise = np.sqrt(lr * strength)  # ηs
    for step in range(steps):
        if step == steps // 2:
            half = x.copy()
        moved = x + 2.0 * np.log(np.abs(1.0 + lr - lr * np.exp(x) + noise * rng.standard_normal(CHAINS)))
        x = np.where(x < AWAY, moved, x)  # what has left stays where it is
    here = x < AWAY
    share = float(np.mean(x[here] < np.log(TINY)))
    rates = (x - half)[here] / (steps - steps // 2)
    root = float(np.sqrt(here.sum()))
    share_se = (share * (1.0 - share)) ** 0.5 / root
    return Simulated(share, share_se, float(np.mean(~here)), float(rates.mean()), float(rates.std()) / root)


def said(lr: float, strength: float) -> tuple[str, float | None]:
    """What a run says before its first draw, and the mass of `map` below 1e-6."""
    config = RunConfig(sampler="sgd", noise="label", lr=lr, label_noise=float(np.sqrt(strength / lr)), seed=SEED)
    with Session(silent).open() as session:
        try:
            resolved: ResolvedDescent = process_of(config).prepare(config, session).own
        except LawError as error:
            return str(error), None
    if not resolved.own.about:  # at the largest η chains run away, over the top of the well
        return "; ".join(resolved.missing), None
    about = resolved.own.about["z"]
    return near_collapse("z", about), about.below_tiny


def collapse(lr: float) -> dict[str, Number]:
    """Both sides of the threshold."""
    with jax.enable_x64(True):
        found = scipy.optimize.root_scalar(lambda each: near_zero(lr, each).growth, bracket=(1.4, 1.999), xtol=1e-5)
        threshold = float(found.root)
    key = f"collapse_{100 * lr:02.0f}"
    values = {f"{key}_threshold": Number(threshold)}
    print(f"{key}: threshold ηs² = {threshold:.4f}", flush=True)
    for side, factor in (("below", 1.0 - ASIDE), ("above", 1.0 + ASIDE)):
        strength = factor * threshold
        with jax.enable_x64(True):
            near = near_zero(lr, strength)
        variance = float(near.weights @ (np.log(near.ratios) - near.growth) ** 2)
        words, share = said(lr, strength)
        predicted = "no law" if share is None else f"{share:.3f}"
        chains = simulate(lr, strength, int(RELAXATIONS * variance / near.growth**2))
        print(
            f"  {side}, ηs² = {strength:.4f}: {words}\n"
            f"    chains below 1e-6: {chains.share:.3f} ± {chains.share_se:.3f}, map: {predicted}; "
            f"{chains.away:.1%} of all have run away; "
            f"rate of log z in the second half {chains.rate:.5f} ± {chains.rate_se:.5f}, exponent {near.growth:.5f}",
            flush=True,
        )
        values[f"{key}_{side}_share"] = Number(chains.share, chains.share_se)
        values[f"{key}_{side}_exponent"] = Number(near.growth)
        if share is None:
            values[f"{key}_{side}_rate"] = Number(chains.rate, chains.rate_se)
        else:
            values[f"{key}_{side}_map"] = Number(share)
    return values


def main() -> None:
    """Each part; with `--store` the file has its numbers as soon as it is done."""
    parser = described(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows whose name has one of these in it")
    parser.add_argument("--chains", type=int, help="of each run; by default those of a run of these settings")
    parser.add_argument("--store", action="store_true", help="add the numbers to docs/results/sgd-map.json")
    given = parser.parse_args()
    path = RESULTS / "sgd-map.json"

    def keep(values: dict[str, Number]) -> None:
        if given.store:
            known = read("sgd-map", RESULTS).values if path.is_file() else {}
            Stored("python -m sims.sgd_map", SEED, {**known, **values}).write(path)

    def wanted(name: str) -> bool:
        return not given.only or any(word in name for word in given.only)

    for name, settings in RUNS.items():
        if wanted(name):
            keep(run_row(name, settings, given.chains))
    for lr in RATES:
        if wanted(f"collapse_{100 * lr:02.0f}"):
            keep(collapse(lr))


if __name__ == "__main__":
    main()
