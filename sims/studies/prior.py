"""The bias that noise and weight decay induce on w = uv, as a prior in sparse regression, against the horseshoe.

    python -m sims.prior [--seeds N] [--only TASK …] [--out FILE]

Noisy training of w = u ⊙ v under weight decay has the exact marginal Π_j K₀(λ|w_j|/T), times the likelihood: u and v
are integrated out. Here it is a prior in NumPyro, `langevin_ib.law("exact", …, loss=False)`. Beside it the law without
the correction, exp(−λ|w|/T), which is Laplace's, and the horseshoe. Every prior has one scale for all coefficients, and
no number is tuned:

    y = X w + s ε,  w_j = τ b_j,  τ ~ C⁺(1),  s ~ C⁺(1),
    b_j ~ K₀(|b|)/π (induced)  or  ½ e^{−|b|} (naive)  or  N(0, λ_j²), λ_j ~ C⁺(1) (horseshoe).

Tasks: 40 examples of 30 normal features, noise of variance 1; `few` has 3 coefficients ±2 and the others 0; `many` 30
from N(0, ½²); `mixed` 8 from N(0, 1), the others 0. NUTS, two chains. Printed for each task and prior, as mean ±
standard error over seeds: the squared error of the posterior mean on 500 other examples; the share of these in 90%
intervals of the posterior predictive; the share of coefficients, of all and of those that are not 0, in 90% intervals
of the posterior; and of each the difference from the horseshoe, paired over seeds. Seeds are drawn eight at a time,
and FILE is written after each eight: a result file as `sims.numbers` reads it, with the numbers of every seed.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import gelman_rubin
from numpyro.infer import MCMC, NUTS

import langevin_ib
from langevin_ib.jax_settings import default_settings
from langevin_ib.plain import plain
from sims import described
from sims.numbers.stored import Number, Stored, rounded

EXAMPLES, FEATURES, HELD_OUT = 40, 30, 500
DRAWS, CHAINS, DEPTH = 300, 2, 7
BLOCK = 8  # seeds whose chains run side by side: what a stop costs at most
LEVEL = 0.9
CONVERGED = 1.1  # R-hat of a posterior's worst coefficient, at most
UNIT = {"beta": 10.0, "confine": "weight-decay", "weight_decay": 0.1, "loss": False, "window": "all"}  # λ = T


class Task(NamedTuple):
    """A regression and what it is judged by."""

    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray


def few(random: np.random.Generator) -> np.ndarray:
    """Three coefficients ±2."""
    w = np.zeros(FEATURES)
    w[:3] = 2.0 * random.choice([-1.0, 1.0], 3)
    return w


def mixed(random: np.random.Generator) -> np.ndarray:
    """Eight from N(0, 1)."""
    w = np.zeros(FEATURES)
    w[:8] = random.normal(size=8)
    return w


def many(random: np.random.Generator) -> np.ndarray:
    """All from N(0, ½²)."""
    return 0.5 * random.normal(size=FEATURES)


TASKS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {"few": few, "mixed": mixed, "many": many}


def task_of(kind: str, seed: int) -> Task:
    """The task of a seed."""
    random = np.random.default_rng([seed, list(TASKS).index(kind)])
    w = TASKS[kind](random)
    x, held_x = random.normal(size=(EXAMPLES, FEATURES)), random.normal(size=(HELD_OUT, FEATURES))
    y, held_y = (points @ w + random.normal(size=len(points)) for points in (x, held_x))
    return Task(x, y, w, held_x, held_y)


def by_quantiles(law: dist.Distribution) -> Callable[[int], Any]:
    """b = F⁻¹(Φ(ε)): the sampler sees normals, and not the law's singularity at 0."""

    def draw(count: int) -> Any:
        normals = numpyro.sample("normals", dist.Normal(0.0, 1.0).expand([count]).to_event(1))
        return law.icdf(jax.scipy.special.ndtr(normals))

    return draw


def horseshoe(count: int) -> Any:
    """b = λε."""
    normals = numpyro.sample("normals", dist.Normal(0.0, 1.0).expand([count]).to_event(1))
    return normals * numpyro.sample("local", dist.HalfCauchy(1.0).expand([count]).to_event(1))


PRIORS = "horseshoe", "induced", "naive"


def priors() -> dict[str, Callable[[int], Any]]:
    """Of coefficients at scale 1."""
    laws = [by_quantiles(langevin_ib.law(name, **UNIT)) for name in ("exact", "naive")]
    return dict(zip(PRIORS, (horseshoe, *laws), strict=True))


def regression(prior: Callable[[int], Any]) -> Callable[..., None]:
    """The NumPyro model."""

    def model(x: Any, y: Any) -> None:
        scale = numpyro.sample("scale", dist.HalfCauchy(1.0))
        w = numpyro.deterministic("w", scale * prior(FEATURES))
        noise = numpyro.sample("noise", dist.HalfCauchy(1.0))
        numpyro.sample("y", dist.Normal(x @ w, noise), obs=y)

    return model


class Posterior(NamedTuple):
    """Draws of one seed's posterior: (chain, draw, …)."""

    w: np.ndarray
    noise: np.ndarray
    diverging: np.ndarray


Sampler = Callable[[Sequence[Task], Any], list[Posterior]]


def sampler(prior: Callable[[int], Any], draws: int) -> Sampler:
    """Tasks and a key for each ↦ their posteriors; warm-up is as long as the draws.

    All chains run side by side, each with its own step size and mass matrix.
    """
    kernel = NUTS(regression(prior), target_accept_prob=0.9, max_tree_depth=DEPTH)

    def chain(key: Any, x: Any, y: Any) -> Posterior:
        mcmc = MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=1, progress_bar=False)
        mcmc.run(key, x, y, extra_fields=("diverging",))
        samples = mcmc.get_samples()
        return Posterior(samples["w"], samples["noise"], mcmc.get_extra_fields()["diverging"])

    many = jax.jit(jax.vmap(jax.vmap(chain, (0, None, None))))

    def sample(tasks: Sequence[Task], keys: Any) -> list[Posterior]:
        of_chains = jax.vmap(lambda key: jax.random.split(key, CHAINS))(keys)
        drawn = many(of_chains, *(jnp.stack([getattr(task, name) for task in tasks]) for name in ("x", "y")))
        return [Posterior(*(np.asarray(values[i]) for values in drawn)) for i in range(len(tasks))]

    return sample


def judged(posterior: Posterior, task: Task, random: np.random.Generator) -> dict[str, float]:
    """What one posterior comes to."""
    w, noise = posterior.w.reshape(-1, FEATURES), posterior.noise.reshape(-1)
    predicted = w @ task.held_x.T + noise[:, None] * random.normal(size=(len(w), HELD_OUT))
    ends = [0.5 * (1.0 - LEVEL), 0.5 * (1.0 + LEVEL)]
    low, high = np.quantile(predicted, ends, axis=0)
    w_low, w_high = np.quantile(w, ends, axis=0)
    covered = (w_low <= task.w) & (task.w <= w_high)
    return {
        "held-out error": float(np.mean((task.held_x @ w.mean(axis=0) - task.held_y) ** 2)),
        "coverage of examples": float(np.mean((low <= task.held_y) & (task.held_y <= high))),
        "coverage of coefficients": float(covered.mean()),
        "coverage where not 0": float(covered[task.w != 0].mean()),
        "largest R-hat": float(np.max(gelman_rubin(posterior.w))),
        "diverging": float(posterior.diverging.mean()),
    }


Numbers = dict[str, dict[str, dict[str, list[float]]]]  # task, prior, quantity: of each seed


def key_of(kind: str, seed: int) -> Any:
    """Of a task's chains, the same whatever is drawn beside them."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), [*TASKS].index(kind)), seed)


def study(
    seeds: int, kinds: Sequence[str], draws: int = DRAWS, keep: Callable[[Numbers, int], None] | None = None
) -> Numbers:
    """All kinds of tasks under all priors; `keep` is called with the numbers of the first seeds, and their count."""
    numbers: Numbers = {kind: {name: {} for name in PRIORS} for kind in kinds}
    with default_settings():
        samplers = {name: sampler(prior, draws) for name, prior in priors().items()}
        for first in range(0, seeds, BLOCK):
            block = [(kind, seed) for kind in kinds for seed in range(first, min(first + BLOCK, seeds))]
            tasks = [task_of(kind, seed) for kind, seed in block]
            keys = jnp.stack([key_of(kind, seed) for kind, seed in block])
            for name, sample in samplers.items():
                for (kind, seed), task, posterior in zip(block, tasks, sample(tasks, keys), strict=True):
                    random = np.random.default_rng([1, seed, [*TASKS].index(kind)])
                    for quantity, value in judged(posterior, task, random).items():
                        numbers[kind][name].setdefault(quantity, []).append(value)
            if keep is not None:
                keep(numbers, min(first + BLOCK, seeds))
    return numbers


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Over seeds."""
    array = np.asarray(values)
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(array.size))


def _number(values: Sequence[float]) -> Number:
    """Mean and standard error, as a result file has them."""
    mean, error = rounded(mean_and_error(values))
    return Number(mean, error)


def stored(numbers: Numbers, seeds: int, command: str) -> Stored:
    """A result file: means, with standard errors over seeds, and differences from the horseshoe, paired over seeds."""
    values: dict[str, Number] = {}
    for kind, by_prior in numbers.items():
        for name, by_seed in by_prior.items():
            for quantity, each in by_seed.items():
                key = f"{kind}_{name}_{quantity}".lower().replace(" ", "_").replace("-", "_")
                values[key] = _number(each)
                if name != PRIORS[0]:
                    gaps = np.subtract(each, by_prior[PRIORS[0]][quantity]).tolist()
                    values[f"{key}_gap"] = _number(gaps)
        values |= _convergence(kind, by_prior)
    by_seed = {
        kind: {
            name: {quantity: rounded(each) for quantity, each in by_seed.items()} for name, by_seed in by_prior.items()
        }
        for kind, by_prior in numbers.items()
    }
    return Stored(command, 0, values, more={"seeds": seeds, "by_seed": plain(by_seed)})


def _convergence(kind: str, by_prior: dict[str, dict[str, list[float]]]) -> dict[str, Number]:
    """The worst seeds, how many have not converged, and what the error's differences are without these."""
    values: dict[str, Number] = {}
    mixed = np.max([by_seed["largest R-hat"] for by_seed in by_prior.values()], axis=0) <= CONVERGED
    reference = by_prior[PRIORS[0]]["held-out error"]
    for name, by_seed in by_prior.items():
        worst, diverging = rounded([max(by_seed["largest R-hat"]), max(by_seed["diverging"])])
        values[f"{kind}_{name}_worst_r_hat"] = Number(worst)
        values[f"{kind}_{name}_worst_diverging"] = Number(diverging)
        values[f"{kind}_{name}_not_converged"] = Number(float(np.sum(np.array(by_seed["largest R-hat"]) > CONVERGED)))
        if name != PRIORS[0] and mixed.sum() > 1:
            gaps = np.subtract(by_seed["held-out error"], reference)[mixed]
            values[f"{kind}_{name}_held_out_error_gap_converged"] = _number(gaps.tolist())
    return values


def table(numbers: Numbers) -> list[str]:
    """Lines of text."""
    lines = []
    for kind, by_prior in numbers.items():
        lines.append(f"{kind}:")
        for name, by_seed in by_prior.items():
            for quantity, values in by_seed.items():
                mean, error = mean_and_error(values)
                line = f"  {quantity:<25} {name:<9} {mean:7.3f} ± {error:.3f}"
                if name != "horseshoe":
                    gap, gap_error = mean_and_error(np.subtract(values, by_prior["horseshoe"][quantity]).tolist())
                    line += f"   minus horseshoe {gap:+.3f} ± {gap_error:.3f}"
                lines.append(line)
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; keep the numbers of every seed where asked to."""
    parser = described(__doc__)
    parser.add_argument("--seeds", type=int, default=32, help="tasks of each kind, two at least")
    parser.add_argument("--only", nargs="+", choices=[*TASKS], default=[*TASKS], help="kinds of tasks")
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers of every seed")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 2:
        raise SystemExit(f"--seeds must be two at least, for an error bar, got {arguments.seeds}")
    given = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "-m", "sims.prior", *given])

    def keep(numbers: Numbers, seeds: int) -> None:
        if arguments.out is not None:
            stored(numbers, seeds, command).write(arguments.out)

    print("\n".join(table(study(arguments.seeds, arguments.only, keep=keep))))


if __name__ == "__main__":
    main()
