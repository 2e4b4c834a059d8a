"""Judges that nobody here wrote: other people's tests on this package's draws, laws and paths, each seen to reject.

They are those of molecular simulation (`physical_validation`), of NumPyro's distributions, of time series
(`kramersmoyal`) and of MCMC (ArviZ). Each statistical test has a fixed key and is wrong with probability
`FALSE_POSITIVE` at most, its control with a probability that is negligible beside it.
"""

import functools

import arviz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stage_of
from kramersmoyal import km
from numpyro.distributions.gof import auto_goodness_of_fit, unif01_goodness_of_fit
from scipy import stats

from langevin_ib import RunConfig, law, run
from langevin_ib.config.processes import LAWS
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.records import Limit, Observer, Schedule
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.laws.sgd import Descent
from langevin_ib.models import uv

FALSE_POSITIVE = 1e-3


# ---- the ensemble, by molecular simulation's test: no law, no window, no measure ----

COLD, WARM = 0.1, 0.13
APART = {"rotation": 5.0, "stiff": 10.0, "weight decay": 5.0}  # in time, of two draws of a chain
STEP = {"rotation": 0.05, "stiff": 0.002, "weight decay": 0.02}
PROTOCOL = {
    "rotation": lambda T: {"model": "rotation", "confine": "none"},
    "stiff": lambda T: {"kappa": 1000.0 * T},
    "weight decay": lambda T: {"confine": "weight-decay", "weight_decay": T},
}


@functools.cache
def drawn(case, T, seed, wrong=1.0):
    """z or r, and ℓ, of draws at T with κ/T and λ/T fixed; of noise of variance 2hT × `wrong`, at the κ or λ of T."""
    thin, burn_in = round(APART[case] / STEP[case]), round(20.0 / STEP[case])
    config = RunConfig(
        beta=1.0 / (T * wrong), chains=256, seed=seed, step_size=STEP[case], thin=thin, burn_in=burn_in,
        steps=burn_in + 512 * thin, reference="none", step_check=False, laws=("exact",), **PROTOCOL[case](T),
    )  # fmt: skip
    trace = run(config).trace
    values, energy = np.float64(trace["value"][..., 0]), np.float64(trace["energy"])
    away = energy - energy.mean()
    assert np.mean(away[:, 1:] * away[:, :-1]) < 0.05 * away.var()  # so that draws count as independent
    # Of the branch that chains start on: they go to the other too seldom to have found its share.
    return values[values > 0], energy[values > 0] * config.temperature


def ensemble_sigmas(one, two):
    """How many standard errors log p₂(ℓ)/p₁(ℓ) is off the slope 1/T₁ − 1/T₂, T₁ and T₂ being as claimed."""
    with jax.enable_x64(True):  # pymbar, which it imports, looks for float64, and warns where there is none
        from physical_validation import ensemble  # noqa: PLC0415
        from physical_validation.data import EnsembleData, ObservableData, SimulationData, UnitData  # noqa: PLC0415

    converted = ("energy", "length", "volume", "temperature", "pressure", "time")
    units = UnitData(kb=1.0, energy_str="1", **{f"{name}_conversion": 1.0 for name in converted})

    def simulation(energy, T):
        state = EnsembleData(ensemble="NVT", natoms=1, volume=1.0, temperature=T)  # only T is looked at
        return SimulationData(units=units, ensemble=state, observables=ObservableData(potential_energy=energy))

    both = simulation(one, COLD), simulation(two, WARM)
    (sigmas,) = ensemble.check(*both, verbosity=0, data_is_uncorrelated=True)
    return sigmas


@pytest.mark.full
@pytest.mark.parametrize("case", PROTOCOL)
def test_two_temperatures_have_the_ensembles_ratio(case):
    """The maximum-likelihood slope of Shirts (2013) is normal; a T that is 3% wrong in one of the runs is seen."""
    limit = stats.norm.isf(FALSE_POSITIVE / 2)
    _, warm = drawn(case, WARM, seed=1)
    assert ensemble_sigmas(drawn(case, COLD, seed=0)[1], warm) < limit
    assert ensemble_sigmas(drawn(case, COLD, seed=0, wrong=1.03)[1], warm) > limit


# ---- laws as distributions, by NumPyro's tests ----


def fits(p):
    """Whether a p-value of NumPyro's is neither too small nor too near 1.

    Its χ² distribution is a series of a hundred terms, so that from a χ² of about 200 to 2000 it returns up to 1.0 for
    what should be 0: draws that are far off would pass a one-sided limit.
    """
    return FALSE_POSITIVE / 2 < p < 1.0 - FALSE_POSITIVE / 2


@pytest.mark.full(but=["slice"])
@pytest.mark.parametrize("name", LAWS)
def test_draws_of_a_law_have_its_density(name, x64):
    """Gaps between neighbours against the density; the control's c is off by two: p/det G, det G ∝ z.

    The test is a weak one: of 2¹⁸ draws it sees a density by the square of the relative variance of its error.
    """
    one = law(name, beta=10.0)
    draws = np.asarray(one.sample(jax.random.key(1), (1 << 18,)))
    density, factor = np.exp(np.asarray(one.log_prob(draws))), 1.0 / draws
    assert fits(auto_goodness_of_fit(draws, density))
    assert not fits(auto_goodness_of_fit(draws, density * factor / factor.mean()))


@pytest.mark.full
def test_draws_of_a_run_have_the_law_of_their_protocol(x64):
    """Uniform after the exact law's distribution function; the control's c is ½, where that of the protocol is 1."""
    draws, _ = drawn("stiff", COLD, seed=0)
    exact, half = (law(name, beta=1.0 / COLD) for name in ("exact", "extra_kinds:HALF"))
    low, high = exact.window
    draws = draws[(draws > low) & (draws < high)]
    assert fits(unif01_goodness_of_fit(np.asarray(exact.cdf(draws))))
    assert not fits(unif01_goodness_of_fit(np.asarray(half.cdf(draws))))


# ---- drift and diffusion of SGD, from its paths alone ----

CLAIMED = 0.01  # η
EDGES = np.linspace(0.5, 1.6, 56)  # of z, over all but the tails of (S)
BANDWIDTH = 0.03
FIRST_ORDER = 0.01  # of drift and diffusion: a and b² are those of leading order in η


def paths(lr):
    """z after every step of 16 chains of SGD on uv with label noise."""
    model, chains, steps, start = uv(), 16, 1 << 17, jnp.ones(2)
    observer = Observer(
        lambda state: state.position[0] * state.position[1], count(), lambda z: {"z": z}, chains, trace_rows=steps
    )
    return run_ensemble(
        sgd(model, start, noise=Noise("label", None, 2.0), lr=lr),
        jnp.tile(start, (chains, 1)),
        observer,
        key=jax.random.key(1),
        schedule=Schedule(0, 1, steps, (steps,)),
        limit=Limit(0.0),
        stage=stage_of("test", width=chains),
    ).trace["z"]


def claimed():
    """ηa and ηb² of law (S), at the middles of the bins."""
    descent = Descent(uv(), unconfined(), Noise("label", None, 2.0), CLAIMED)
    centres = jnp.asarray(0.5 * (EDGES[1:] + EDGES[:-1]))
    process = jax.jit(jax.vmap(descent.process))(centres[:, None])
    return CLAIMED * np.asarray(process.drift)[:, 0], CLAIMED * np.asarray(process.diffusion)[:, 0, 0]


def to_the_claim(path, drift, diffusion):
    """Drift and diffusion of a path over those: least squares, and a ratio of means."""
    (weight, first, second), _ = km(path, bins=[EDGES], powers=[0, 1, 2], bw=BANDWIDTH)
    spread = 2.0 * second - first**2  # the package divides a moment of order k by k!
    of_drift = np.sum(weight * first * drift) / np.sum(weight * drift**2)
    return of_drift, np.sum(weight * spread) / np.sum(weight * diffusion)


def test_paths_of_sgd_have_the_drift_and_the_diffusion_of_law_s(x64):
    """A t-test over chains, of either; paths at an η that is 10% larger have 1.1 of the one and 1.21 of the other."""
    limit, claim = stats.t.isf(FALSE_POSITIVE / 2, 15), claimed()
    for lr, wanted in ((CLAIMED, True), (1.1 * CLAIMED, False)):
        ratios = np.array([to_the_claim(path, *claim) for path in paths(lr)])
        off = np.abs(ratios.mean(axis=0) - 1.0)
        reach = limit * ratios.std(axis=0, ddof=1) / 4.0 + FIRST_ORDER
        assert reach.max() < 0.06
        assert ((off < reach) == wanted).all()


# ---- what a run says of its mixing, by ArviZ from its file ----

STILL = {"beta": 40.0, "steps": 40_000}  # of one well: at β = 10 chains stay near 0 for long
RUNS = {
    "Euler and Maruyama": {"integrator": "euler-maruyama", "kappa": 20.0, **STILL | {"steps": 400_000}},
    "MALA": {"integrator": "mala", **STILL},
    "SGD": {"sampler": "sgd", "noise": "label", "lr": 0.01, "label_noise": 2.0},
    "hard": {"confine": "hard"},
    "hard with Fixman's term": {"confine": "hard-fixman", **STILL},
    "rotation": {"model": "rotation", "confine": "none"},
    "slab": {"confine": "none", "slab": 0.1},
    "stiff": STILL,
    "weight decay": {"confine": "weight-decay", "weight_decay": 0.1},
}
GIBBS = {"reference": "none", "step_check": False, "laws": ("exact",)}


def read(result, folder):
    """The posterior group of `draws.nc`, as a user reads it with either ArviZ."""
    draws = arviz.from_netcdf(result.save(folder) / "draws.nc")["posterior"]
    draws = draws.to_dataset() if hasattr(draws, "to_dataset") else draws
    return draws[list(result.plan.scalars)].astype(float)


def small_run(settings):
    gibbs = {} if settings.get("sampler") == "sgd" else GIBBS
    return run(RunConfig(**{"chains": 64, "steps": 20_000} | gibbs | settings))


@pytest.mark.full(but=["rotation"])
@pytest.mark.parametrize("kind", RUNS)
def test_arviz_finds_the_runs_own_numbers_in_its_file(kind, tmp_path):
    """R-hat and bulk ESS are the run's; its standard error of the mean, from 64 chains, is ArviZ's MCSE.

    The chains' scatter knows it to 9%, autocorrelations to less; where a trace has fewer draws its error is larger.
    """
    result = small_run(RUNS[kind])
    draws = read(result, tmp_path)
    (name,) = result.plan.scalars
    found = {of: float(made(draws)[name]) for of, made in (("r_hat", arviz.rhat), ("ess", arviz.ess))}
    assert found["r_hat"] == pytest.approx(result.mixing.r_hat, rel=1e-6)
    assert found["ess"] == pytest.approx(result.mixing.ess_traced, rel=1e-6)
    assert found["r_hat"] < 1.05
    assert not {"r_hat", "drift"} & {doubt.about for doubt in result.doubts}
    moments, mcse = result.invariants[name].moments, float(arviz.mcse(draws, method="mean")[name])
    scatter = float(draws[name].mean("draw").std("chain", ddof=1)) / 8.0
    assert abs(np.log(mcse / scatter)) < 0.4
    assert moments.mean_se < 1.5 * mcse
    assert abs(float(draws[name].mean()) - moments.mean) < 4.0 * mcse
    independent = float(draws[name].std()) / np.sqrt(draws[name].size)
    if found["ess"] < draws[name].size / 4:  # the control: an error bar of draws in place of chains
        assert np.log(mcse / independent) > 0.4


@pytest.mark.full
def test_arviz_and_the_run_say_of_chains_that_have_not_mixed_that_they_have_not(tmp_path):
    result = small_run({"beta": 10.0})
    draws = read(result, tmp_path)
    assert float(arviz.rhat(draws)["z"]) > 1.1
    assert "r_hat" in {doubt.about for doubt in result.doubts}
