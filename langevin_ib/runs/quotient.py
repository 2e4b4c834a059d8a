"""Draws of a reduced law on a quotient of many coordinates: blackjax MALA in Z, NumPyro NUTS beside it.

Both sample exp(log p(x)) dx over the chart x of Θ/G, with log p from `Reduction.terms_at`, in coordinates in which the
law is bounded (`stretched`). The draws carry the terms of every other law, so that these follow by reweighting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.ensemble.tuning import tune_step_size
from langevin_ib.laws import Formula, Reduction
from langevin_ib.laws.draws import LawDraws
from langevin_ib.laws.family import ReducedTerms
from langevin_ib.laws.orbit import log_orbit_integral
from langevin_ib.laws.orbit_table import shared_orbit_integral
from langevin_ib.models.base import Params
from langevin_ib.runs.stretched import Stretches, into, log_jacobian, out_of, stretches
from langevin_ib.stages import doing

CHAINS = 512
TUNING = ((0.9, 750), (0.57, 750))
RECORDS = 1000
# Steps between records: two at first, then, if the draws are not worth ENOUGH independent ones, as many as they need by
# that count. What decides is how well the law's own chains mix, never what they are compared with.
FIRST_THIN, LAST_THIN = 2, 64
ENOUGH = 150_000
MANY = 64  # coordinates, beyond which a draw is dear: fewer of them, after a shorter tuning, and fewer steps between
FEWER_RECORDS, SHORTER_TUNING, FEWER_THIN = 125, ((0.9, 300), (0.57, 300)), 8
NUTS_CHAINS, NUTS_WARMUP, NUTS_DRAWS, LEAST_NUTS_DRAWS = 128, 200, 400, 40
# Leapfrog step in units of √2h, the noise of MALA's step h: acceptance 0.9. NumPyro would adapt a step to each chain,
# and one that meets the wall of a window while it does ends with a step so small that it never mixes.
NUTS_STEP = 0.5

Windows = dict[str, tuple[float, float]]
OrbitIntegral = Callable[[Params], Float[Array, ""]]


def records_of(reduction: Reduction) -> int:
    """Draws of each of the law's chains by default: an eighth of the usual ones on a quotient of many coordinates."""
    return RECORDS if reduction.chart.dim <= MANY else FEWER_RECORDS


def log_density(reduction: Reduction, formula: Formula, windows: Windows) -> Callable[[Float[Array, " k"]], Array]:
    """log p(x) of a law in the chart of the quotient; −∞ outside the windows of the scalars that are cut."""
    chart, cut = reduction.chart, reduction.model.cut

    def log_p(x):
        value = formula.log_density(reduction.terms_at(x))
        inside = jnp.isfinite(value)
        scalars = chart.scalars(x)
        for name in cut:
            low, high = windows[name]
            inside = inside & (scalars[name] > low) & (scalars[name] < high)
        return jnp.where(inside, value, -jnp.inf)

    return log_p


@dataclass(frozen=True)
class _Sampled:
    """A law within its windows, in the stretched coordinates y, in which it is bounded.

    Attributes:
        reduction, formula: the law.
        log_p: its density in the chart x, −∞ outside the windows.
        places: where x and y differ.
        center: a point in the windows.
    """

    reduction: Reduction
    formula: Formula
    log_p: Callable[[Float[Array, " k"]], Array]
    places: Stretches
    center: Float[np.ndarray, " k"]

    @classmethod
    def of(cls, reduction: Reduction, formula: Formula, windows: Windows, center: Float[np.ndarray, " k"]) -> _Sampled:
        """The law of a formula within windows."""
        log_p = log_density(reduction, formula, windows)
        return cls(reduction, formula, log_p, stretches(reduction, formula, windows), center)

    def potential(self, y: Float[Array, " k"]) -> Array:
        """−log p in the stretched coordinates."""
        if not self.places:
            return -self.log_p(y)
        return -(self.log_p(out_of(self.places, y)) + log_jacobian(self.places, y))

    def starts(self, key: Key[Array, ""], chains: int) -> Float[Array, "chain k"]:
        """The model's own starts; `center` where one lies outside a window."""

        def init(k):
            own = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), self.reduction.model.init(k))
            x = self.reduction.chart.of(own)
            return into(self.places, jnp.where(jnp.isfinite(self.log_p(x)), x, jnp.asarray(self.center)))

        return starting_points(init, key, chains, jnp.float64)

    def seen(self, x: Float[Array, " k"], integral: OrbitIntegral | None = None) -> dict[str, Array]:
        """Scalars at a point, and the terms of all laws; `log_orbit` where its integral is given."""
        chart, terms = self.reduction.chart, self.reduction.terms_at(x)
        scalars = chart.scalars(x)
        if integral is not None:
            terms = terms._replace(log_orbit=integral(chart.section(x)))
        return {"scalars": jnp.stack([scalars[name] for name in chart.scalar_names]), "terms": jnp.stack(terms)}

    def orbit_integral(self) -> OrbitIntegral:
        """θ ↦ log of the orbit integral, by the table where that applies."""
        reduction, chart = self.reduction, self.reduction.chart
        shared = shared_orbit_integral(reduction, jax.jit(chart.section)(jnp.asarray(self.center)))
        if shared is not None:
            return shared
        return lambda params: log_orbit_integral(chart, reduction.confinement, reduction.temperature, params)

    def drawn(
        self, sampler: str, seen: Mapping[str, np.ndarray], acceptance: float, step_size: float, ends: np.ndarray
    ) -> LawDraws:
        """What a sampler has drawn: what was seen of it, (chain, draw, ·), and where its chains ended in x."""
        scalars = {name: seen["scalars"][..., i] for i, name in enumerate(self.reduction.chart.scalar_names)}
        terms = ReducedTerms(*np.moveaxis(seen["terms"], -1, 0))
        return LawDraws(self.formula, f"{sampler} on Z", scalars, terms, acceptance, step_size, ends)


def sample_mala(
    reduction: Reduction,
    formula: Formula,
    windows: Windows,
    center: Float[np.ndarray, " k"],
    *,
    key: Key[Array, ""],
    with_orbit: bool,
    stage: Callable[[str], Stage],
    count_of_draws: int | None = None,
) -> LawDraws:
    """MALA in Z: 512 chains from the model's own starts (from `center` where a start lies outside a window).

    `stage` is what is given to a stage of this name. Of `count_of_draws` each chain makes its share, worth as much of
    the whole in independent ones as 512 000 are to be.
    """
    records = records_of(reduction) if count_of_draws is None else math.ceil(count_of_draws / CHAINS)
    enough = ENOUGH * records / RECORDS
    key_start, key_tune, key_run = jax.random.split(key, 3)
    law = _Sampled.of(reduction, formula, windows, center)

    def build(step_size):
        return mala(law.potential, temperature=1.0, step_size=step_size)

    starts = law.starts(key_start, CHAINS)
    integral = law.orbit_integral() if with_orbit else None
    many = reduction.chart.dim > MANY
    stages, last_thin = (SHORTER_TUNING, FEWER_THIN) if many else (TUNING, LAST_THIN)
    doing("tuning the law's kernel")
    step_size, starts = tune_step_size(build, starts, key=key_tune, initial=1e-3, stages=stages)

    def observe(state):
        return law.seen(out_of(law.places, state.position), integral)

    def draw(thin: int, starts) -> tuple[LawDraws, Any]:
        result = run_ensemble(
            build(step_size),
            starts,
            Observer(observe, count(), lambda seen: seen, trace_chains=CHAINS, trace_rows=records),
            key=jax.random.fold_in(key_run, thin),
            schedule=Schedule(min(records, RECORDS) * thin // 4, thin, records, (records,)),
            limit=Limit(step_size),
            stage=stage(f"law, every {thin} steps"),
        )
        acceptance = float(np.mean(result.info["acceptance_rate"]))
        ends = np.asarray(jax.vmap(lambda y: out_of(law.places, y))(result.position))
        return law.drawn("blackjax.mala", result.trace, acceptance, step_size, ends), jnp.asarray(result.position)

    drawn, ends = draw(FIRST_THIN, starts)
    if drawn.ess >= enough:
        return drawn
    wanted = FIRST_THIN * 2.0 * enough / max(drawn.ess, 1.0) if math.isfinite(drawn.ess) else last_thin
    return draw(min(last_thin, math.ceil(wanted)), ends)[0]


def sample_nuts(
    reduction: Reduction,
    formula: Formula,
    windows: Windows,
    center: Float[np.ndarray, " k"],
    *,
    mala_step: float,
    key: Key[Array, ""],
    count_of_draws: int | None = None,
) -> LawDraws:
    """NumPyro's NUTS on the same density: a second sampler, of another kind, against which MALA is checked.

    From starts of its own; of MALA it takes nothing but the scale of the step. One draw for ten of MALA's.
    """
    from numpyro.infer import MCMC, NUTS  # noqa: PLC0415  # slow to import, and only these models need it

    law = _Sampled.of(reduction, formula, windows, center)
    if count_of_draws is None:
        draws = NUTS_DRAWS * records_of(reduction) // RECORDS
    else:
        draws = max(LEAST_NUTS_DRAWS, count_of_draws // (10 * NUTS_CHAINS))
    step_size = NUTS_STEP * math.sqrt(2.0 * mala_step)
    kernel = NUTS(
        potential_fn=jax.jit(law.potential),  # NumPyro's start is not compiled as a whole
        step_size=step_size,
        adapt_step_size=False,
        adapt_mass_matrix=False,
        max_tree_depth=6,
    )
    key_start, key_run = jax.random.split(key)
    mcmc = MCMC(
        kernel,
        num_warmup=NUTS_WARMUP,
        num_samples=draws,
        num_chains=NUTS_CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(key_run, init_params=law.starts(key_start, NUTS_CHAINS), extra_fields=("accept_prob",))
    x = jax.vmap(jax.vmap(lambda y: out_of(law.places, y)))(mcmc.get_samples(group_by_chain=True))
    seen = jax.jit(lambda xs: jax.lax.map(lambda chain: jax.lax.map(law.seen, chain, batch_size=draws), xs))(x)
    accepted: Any = mcmc.get_extra_fields()["accept_prob"]
    acceptance = float(np.mean(np.asarray(accepted)))
    return law.drawn("numpyro.NUTS", jax.tree.map(np.asarray, seen), acceptance, step_size, np.asarray(x[:, -1]))
