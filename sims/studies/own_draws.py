"""Draws of other people's samplers through the judge: right ones, and the same at a temperature that is 3% too high.

    python -m sims.own_draws [--only NAME …] [--store]

prints a line for each, and a table for `docs/judge.md`; `--store` writes `docs/results/own-draws.json`. PyTorch has to
be installed for its row (`tests/sgld_torch.py`, the script of the page), which is left out without it.

NUTS of blackjax on `uv` under κχ²/2, NUTS of NumPyro on `hadamard` under weight decay, and Langevin dynamics by
PyTorch's SGD, on `uv` again. What is wanted of right draws: no doubt, and the exact law agrees. Of T × 1.03: the
identity that measures T is more than five standard errors off, which is a doubt, and the exact law does not agree.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS

import langevin_ib
from langevin_ib import Result
from langevin_ib.devices import load_blackjax
from langevin_ib.plain import Json
from langevin_ib.runs.draw_files import read_draws
from langevin_ib.runs.own_details import OwnDrawsDetails
from langevin_ib.statistics.identities import Identity
from langevin_ib.testing.temperature import plus_minus
from sims import described
from sims.numbers.stored import RESULTS, Number, Stored

BETA, TOO_HOT = 10.0, 1.03
KAPPA, DECAY = 10.0, 0.2
CHAINS, DRAWS, BURN_IN = 4, 100_000, 500
NUTS_STEP = 0.06
TARGET = 1.2, 0.8
HEAD = (
    "| draws | T | ⟨\\|∇V\\|²⟩/⟨ΔV⟩ of the draws | off 0.1 | TV from the exact law | verdict on it |",
    "|---|---|---|---|---|---|",
)


class Case(NamedTuple):
    """A sampler: how it is called, what makes its draws at some β, and what they are said to be."""

    name: str
    key: str
    make: Callable[[float], Any]
    model: str
    settings: dict[str, Any]
    burn_in: int = 0


def blackjax(beta: float) -> jax.Array:
    """NUTS on β(L + κχ²/2) of uv, (chain, draw, 2)."""

    def log_density(theta: jax.Array) -> jax.Array:
        u, v = theta
        return -beta * (0.5 * (u * v - 1) ** 2 + 0.5 * KAPPA * (0.5 * (u**2 - v**2)) ** 2)

    nuts = load_blackjax().nuts(log_density, NUTS_STEP, jnp.ones(2))

    @jax.jit
    @jax.vmap
    def chain(key: jax.Array, start: jax.Array) -> jax.Array:
        def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            state, _ = nuts.step(key, state)
            return state, state.position

        return jax.lax.scan(step, nuts.init(start), jax.random.split(key, DRAWS))[1]

    starts = 1.0 + 0.3 * jax.random.normal(jax.random.key(1), (CHAINS, 2))
    return chain(jax.random.split(jax.random.key(0), CHAINS), starts)


def with_numpyro(beta: float) -> dict[str, Any]:
    """NUTS on β(L + λ|θ|²/2) of hadamard, by name."""
    target = jnp.array(TARGET)

    def model() -> None:
        u, v = (numpyro.sample(name, dist.ImproperUniform(dist.constraints.real, (), (2,))) for name in "uv")
        loss, decay = 0.5 * jnp.sum((u * v - target) ** 2), 0.5 * DECAY * jnp.sum(u**2 + v**2)
        numpyro.factor("law", -beta * (loss + decay))

    mcmc = MCMC(
        NUTS(model), num_warmup=1000, num_samples=DRAWS, num_chains=CHAINS,
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    start = jnp.ones((CHAINS, 2))
    mcmc.run(jax.random.key(0), init_params={"u": start, "v": start})
    return mcmc.get_samples(group_by_chain=True)


def with_pytorch(beta: float) -> dict[str, Any]:
    """Langevin dynamics of uv by the script of the page, which writes a file."""
    script = importlib.import_module("tests.sgld_torch")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "torch.npz"
        script.main(path, beta=beta)
        return read_draws(path)


def cases() -> list[Case]:
    """All whose library is there."""
    stiff = {"confine": "stiff", "kappa": KAPPA}
    decay = {"options": {"dim": 2}, "confine": "weight-decay", "weight_decay": DECAY}
    every = [
        Case("blackjax, NUTS: uv", "blackjax", blackjax, "uv", stiff, BURN_IN),
        Case("NumPyro, NUTS: hadamard", "numpyro", with_numpyro, "hadamard", decay),
        Case("PyTorch, Langevin: uv", "pytorch", with_pytorch, "uv", stiff),
    ]
    return every if importlib.util.find_spec("torch") else every[:-1]


def energy_of(result: Result) -> Identity:
    """The identity that T is measured by."""
    return next(one for one in result.identities if isinstance(one, Identity) and one.name == "energy")


def held(result: Result, *, right: bool) -> bool:
    """Whether the answer is the one that is wanted."""
    if right:
        return not result.doubts and result.verdicts["exact"] == "agrees"
    told = any(doubt.about == "identity" for doubt in result.doubts)
    return told and result.verdicts["exact"] != "agrees" and abs(energy_of(result).errors) > 5.0


def numbers(key: str, result: Result) -> dict[str, Number]:
    """T of the draws, how far it is off, and the largest TV from the exact law of any invariant."""
    details = result.details
    assert isinstance(details, OwnDrawsDetails)
    measured = details.temperature(result)
    assert measured is not None
    laws = [invariant.laws["exact"].comparison for invariant in result.invariants.values()]
    worst = max(laws, key=lambda one: one.tv)
    return {
        f"{key}_temperature": Number(measured.value, measured.se),
        f"{key}_off": Number((measured.value - 1.0 / BETA) / measured.se),
        f"{key}_tv": Number(worst.tv, bounds=(worst.tv_lower95, worst.tv_upper95)),
    }


def row(case: Case, key: str, factor: float, result: Result) -> str:
    """A line of the table, its numbers with the marks of `sims.numbers`."""
    temperature, off, tv = numbers(key, result).values()
    assert temperature.value is not None
    assert temperature.error is not None
    assert off.value is not None
    assert tv.bounds is not None
    mark = "<!-- number: own-draws.{}_{} -->".format
    verdict = result.verdicts["exact"] if not result.doubts else f"none: {len(result.doubts)} doubts"
    cells = (
        case.name,
        "right" if factor == 1.0 else "3% too high",
        f"{plus_minus(temperature.value, temperature.error)} {mark(key, 'temperature')}",
        f"{off.value:+.2f} se {mark(key, 'off')}".replace("-", "−", off.value < 0),
        f"{tv.value:.4f} [{tv.bounds[0]:.4f}, {tv.bounds[1]:.4f}] {mark(key, 'tv')}",
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a row for each, and how many answers are those wanted."""
    parser = described(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="samplers whose name has one of these in it")
    parser.add_argument("--store", action="store_true", help="write docs/results/own-draws.json")
    given = parser.parse_args()
    if given.only and given.store:
        parser.error("--store takes all samplers, got --only")
    values: dict[str, Number] = {}
    table, wanted, total = [*HEAD], 0, 0
    for case in cases():
        if given.only and not any(word in case.name for word in given.only):
            continue
        for word, factor in (("right", 1.0), ("hot", TOO_HOT)):
            began = time.perf_counter()
            draws = case.make(BETA / factor)
            made = time.perf_counter() - began
            result = langevin_ib.judge(draws, case.model, beta=BETA, burn_in=case.burn_in, **case.settings)
            right = held(result, right=factor == 1.0)
            wanted, total = wanted + right, total + 1
            said = result.doubts[0] if result.doubts else ", ".join(f"{k} {v}" for k, v in result.verdicts.items())
            mark = "as wanted" if right else "NOT AS WANTED"
            print(f"{case.name}, T × {factor:g}: {said} [{mark}]")
            print(f"    drawn in {made:.0f} s; {result.run.chains} chains of {result.run.steps} draws", flush=True)
            key = f"{case.key}_{word}"
            values |= numbers(key, result)
            table.append(row(case, key, factor, result))
    print(*table, sep="\n")
    print(f"{wanted} of {total} answers are those wanted")
    if given.store:
        if "pytorch_right_tv" not in values:
            parser.error("--store takes all samplers, and PyTorch is not installed")
        values |= {"wanted": Number(wanted), "total": Number(total)}
        more: dict[str, Json] = {"torch": version("torch")}
        Stored("python -m sims.own_draws", 0, values, more=more).write(RESULTS / "own-draws.json")


if __name__ == "__main__":
    main()
