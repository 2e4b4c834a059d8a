"""A run's checks of itself: uniform p-values where nothing is wrong, and what each of them sees."""

import dataclasses

import numpy as np
import pytest
import scipy

from langevin_ib import RunConfig, run
from langevin_ib.runs import selfchecks
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.runs.selfchecks import SELF_LEVEL, alike, in_step, jackknife, memory, self_doubts
from langevin_ib.statistics.compare import histogram_of
from langevin_ib.statistics.weights import ratio

REPLICATES = 400


def means_of(chains, rng):
    """Skewed, so that only their ranks are anything known."""
    return rng.exponential(size=chains) ** 2


def traces_of(chains, rows, rng):
    """Autoregressive, with a common trend."""
    x = np.zeros((chains, rows))
    noise = rng.standard_normal((chains, rows))
    for t in range(1, rows):
        x[:, t] = 0.8 * x[:, t - 1] + noise[:, t]
    return x + np.linspace(0.0, 1.0, rows)


@pytest.mark.parametrize(
    ("size", "together"), [(2, True), (62, True), (256, False), (512, False)], ids=["pairs", "groups", "blocks", "rest"]
)
def test_alike_is_uniform_over_independent_chains(size, together):
    """A level of 5% and of 1%, and Kolmogorov's distance; each exceeded by a right test in 1e-3 of keys."""
    rng = np.random.default_rng(1)
    p = np.array([alike(means_of(1000, rng), size, together=together) for _ in range(REPLICATES)])
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3
    assert np.mean(p < 0.05) <= scipy.stats.binom.ppf(0.999, REPLICATES, 0.05) / REPLICATES
    assert np.mean(p < 0.01) <= scipy.stats.binom.ppf(0.999, REPLICATES, 0.01) / REPLICATES


def test_in_step_is_uniform_over_independent_chains_with_a_trend():
    """As above."""
    rng = np.random.default_rng(2)
    p = np.array([in_step(traces_of(64, 60, rng)) for _ in range(REPLICATES)])
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3
    assert np.mean(p < 0.05) <= scipy.stats.binom.ppf(0.999, REPLICATES, 0.05) / REPLICATES


def test_chains_that_share_their_noise_are_seen():
    rng = np.random.default_rng(3)
    block = means_of(250, rng)
    repeated = np.tile(block, 4) + 0.1 * rng.standard_normal(1000)
    assert alike(repeated, 250, together=False) < SELF_LEVEL
    assert alike(np.concatenate([block, block[:150]]), 250, together=False) < SELF_LEVEL  # the last block not whole
    assert alike(np.repeat(means_of(500, rng), 2) + 0.1 * rng.standard_normal(1000), 2, together=True) < SELF_LEVEL
    common = traces_of(1, 60, rng) + 2.0 * traces_of(64, 60, rng)
    assert in_step(common) < SELF_LEVEL
    assert in_step(np.tile(traces_of(1, 60, rng), (64, 1))) == 0.0


def test_there_is_no_p_value_of_few_chains():
    assert alike(np.arange(63.0), 2, together=True) is None
    assert alike(np.arange(100.0), 256, together=False) is None
    assert in_step(np.random.default_rng(4).standard_normal((8, 100))) is None


def test_the_jackknife_gives_the_error_of_chains_and_not_that_of_draws():
    rng = np.random.default_rng(5)
    shares = rng.dirichlet(np.full(8, 3.0), size=500)  # chains that stay longer here than there
    counts = np.stack([rng.multinomial(400, share) for share in shares])
    histogram, places = histogram_of(counts), np.linspace(-1.0, 1.0, 8)
    own = jackknife(counts @ places, counts.sum(axis=1))
    assert own == pytest.approx(float(places @ histogram.covariance @ places), rel=0.02)
    draws = (np.diag(histogram.mass) - np.outer(histogram.mass, histogram.mass)) / counts.sum()
    assert own > selfchecks.ERROR_FACTOR * float(places @ draws @ places)
    unequal = rng.integers(1, 800, size=500)
    part = unequal * rng.normal(1.0, 0.1, size=500)
    assert jackknife(part, unequal) == pytest.approx(ratio(part, unequal)[1], rel=0.05)


def test_memory_is_the_correlation_of_a_draw_and_the_next():
    """0.8, within four standard errors: wrong in 6e-5 of keys."""
    trace = traces_of(256, 400, np.random.default_rng(6)) - np.linspace(0.0, 1.0, 400)
    value, se = memory(trace[:, 50:])
    assert abs(value - 0.8) < 4.0 * se
    assert 0.0 < se < 0.01


SMALL = {"beta": 10.0, "chains": 128, "steps": 6000, "thin": 20, "step_check": False, "reference": "none"}


@pytest.fixture(scope="module")
def healthy():
    """A small run before it is judged; the trace has all of its draws."""
    prepared, draws, _ = prepare_and_draw(RunConfig(**SMALL))
    return prepared, draws


def abouts(healthy, **changes):
    """What a run says of itself with another sample."""
    prepared, draws = healthy
    main = dataclasses.replace(draws.main, **changes)
    return {doubt.about for doubt in self_doubts(prepared, dataclasses.replace(draws, main=main))}


def test_each_part_of_a_sample_is_held_against_another(healthy):
    main = healthy[1].main
    engine, counted = main.engine, main.whole.counted
    window, energy = counted.windows["z"], counted.energy
    assert abouts(healthy) == set()
    assert abouts(healthy, stretches=main.stretches[:-1]) == {"counts"}
    assert abouts(healthy, engine=dataclasses.replace(engine, steps=(5900, 6000))) == {"counts"}
    assert abouts(healthy, engine=dataclasses.replace(engine, spread=False)) == {"starts"}
    rolled = counted._replace(windows={"z": window._replace(counts=np.roll(window.counts, 1, axis=1))})
    assert "trace" in abouts(healthy, whole=dataclasses.replace(main.whole, counted=rolled))
    rounded = counted._replace(energy=energy._replace(total=energy.total * (1.0 + 1e-7)))
    assert abouts(healthy, whole=dataclasses.replace(main.whole, counted=rounded)) == {"trace"}
    moved = main.whole.value._replace(mean=main.whole.value.mean + 1e-6)
    assert abouts(healthy, whole=dataclasses.replace(main.whole, value=moved)) == {"trace"}


def test_settings_are_read_once_more(healthy):
    prepared, draws = healthy
    warmer = dataclasses.replace(prepared.plan.reduction, temperature=0.101)
    plan = dataclasses.replace(prepared.plan, reduction=warmer)
    (doubt,) = self_doubts(dataclasses.replace(prepared, plan=plan), draws)
    assert str(doubt) == "the temperature is 0.101, and σ²/β is 0.1"


def test_a_run_that_counts_as_it_planned_has_nothing_against_itself():
    own = {"settings", "counts", "starts", "trace", "independence", "errors", "clock", "law"}
    for changes in ({"confine": "none"}, {"sampler": "sgd", "step_check": None, "reference": None, "beta": None}):
        given = {name: value for name, value in (SMALL | changes).items() if value is not None}
        doubts = run(RunConfig(**given)).doubts
        assert not own & {doubt.about for doubt in doubts}


def test_a_law_of_the_family_is_held_against_the_c_that_it_stands_for(healthy):
    prepared, draws = healthy
    candidates = tuple(
        dataclasses.replace(law, about=law.about._replace(c=1.01)) if law.about.name == "slice" else law
        for law in prepared.candidates
    )
    (doubt,) = self_doubts(dataclasses.replace(prepared, candidates=candidates), draws)
    assert str(doubt) == "law slice stands for c = 1.01, and its own density has c = 1.000"
