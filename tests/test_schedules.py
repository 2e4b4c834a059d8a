"""Values that change along a run: what they are at a step, what kernels make of them, which draws are judged."""

import dataclasses
import json
import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from helpers import advance, finished

import langevin_ib
from langevin_ib import RunConfig, sim
from langevin_ib.config.choices import reconciled
from langevin_ib.config.grid import grid
from langevin_ib.config.value_schedules import read_schedule
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Target, kernel_kind
from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.schedules import scheduled_kernel, sum_of, value_of
from langevin_ib.ensemble.drivers import driver_of
from langevin_ib.ensemble.records import Schedule
from langevin_ib.errors import ConfigError
from langevin_ib.models import build_model
from langevin_ib.output.extension import longer
from langevin_ib.runs import scheduled
from langevin_ib.runs.ends import ends_of
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.protocol import ScheduleInfo
from langevin_ib.runs.run import process_of
from langevin_ib.session import Session

FORMS = [
    "linear 1 100 20", "cosine 3 0.5 20", "inverse 0.05 0.01 20", "inverse 1 4 20", "inverse 2 7",
    "steps 1 4 2 9 0.5", "restarts 3 1 6 3",
]  # fmt: skip
UNCHECKED = {"step_check": False, "reference": "none"}


# ---- values ----


@pytest.mark.parametrize("text", FORMS)
def test_optax_and_the_formula_give_one_value(text):
    schedule = read_schedule(text)
    with jax.enable_x64(True):
        value, slow = (value_of(schedule, jnp.float64, slowed=slowed) for slowed in (1, 2))
        for n in range(40):
            assert float(value(jnp.int32(n))) == pytest.approx(schedule.at(n), rel=1e-6)
            assert float(slow(jnp.int32(n))) == pytest.approx(schedule.at(n / 2), rel=1e-6)
    if schedule.length is not None:
        assert schedule.at(schedule.length) == schedule.values[-1]
    assert schedule.at(0) == schedule.values[0]
    assert str(read_schedule(str(schedule))) == str(schedule)
    for first, last in [(0, 40), (3, 8), (5, 6), (11, 13)]:
        seen = [schedule.at(n) for n in range(first, last + 1)]
        assert schedule.range(first, last) == pytest.approx((min(seen), max(seen)))


@pytest.mark.parametrize("text", [*FORMS, "inverse 0.05 300", "restarts 0.3 0.01 700 20"])
def test_the_sum_of_a_schedule_is_that_of_each_of_its_steps(text):
    """To rounding; the mean at evenly spaced steps, the control, is not."""
    schedule = read_schedule(text)
    for steps in (1, 13, 20_011):
        every = math.fsum(map(schedule.at, range(steps)))
        assert sum_of(schedule, steps) == pytest.approx(every, rel=1e-12)
    some = np.linspace(0, steps - 1, 2001).round()
    assert steps * np.mean([schedule.at(n) for n in some]) != pytest.approx(every, rel=1e-12)


@pytest.mark.parametrize(("text", "wanted"), [
    ("", "one of linear"), ("exponential 1 2 3", "one of linear"), ("linear 1 2", "linear START"),
    ("linear 1 -2 5", "positive"), ("linear 1 2 0", "whole numbers"), ("cosine 1 2 1.5", "whole numbers"),
    ("steps 1 5 2", None), ("steps 1 5", "steps V1"), ("steps 1 5 2 3 4", "increase"), ("inverse 1 0", "positive TAU"),
    ("linear one 2 3", "linear START"), ("linear 1 nan 3", "linear START"), ("linear 1 2 2e9", "at most"),
    ("restarts 1 2 5", "restarts START"),
])  # fmt: skip
def test_what_is_no_schedule_is_refused_in_a_line(text, wanted):
    if wanted is None:
        assert read_schedule(text).at(5) == 2.0
        return
    with pytest.raises(ConfigError, match=wanted) as error:
        RunConfig(beta_schedule=text)
    assert str(error.value).startswith("beta_schedule must be")
    assert "\n" not in str(error.value)


# ---- settings ----


def test_laws_go_by_the_values_that_are_judged():
    ended = RunConfig(beta_schedule="linear 1 100 20000", kappa_schedule="cosine 10 50 400")
    assert (ended.beta, ended.kappa, ended.temperature, ended.stretch) == (100.0, 50.0, 0.01, None)
    assert ended.steps == 420_000
    going = ended.replace(steps=10_000)
    assert going.stretch == (9000, 10_000)
    assert going.beta == pytest.approx(read_schedule("linear 1 100 20000").at(9500))
    assert going.kappa == 50.0
    early = RunConfig(beta_schedule="linear 1 100 20000", burn_in=19_999, steps=40_000)
    assert early.stretch == (36_000, 40_000)
    assert early.beta == 100.0
    assert RunConfig(beta_schedule="linear 1 100 20000", burn_in=20_000, steps=40_000).stretch is None
    assert RunConfig(beta_schedule="inverse 1 200", steps=1000).beta == pytest.approx(1 / (1 + 950 / 200))


def test_settings_round_trip_and_a_value_gives_way_to_its_schedule():
    config = RunConfig(beta_schedule="linear 1  1e2 20000", seed=3)
    assert config.beta_schedule == "linear 1 100 20000"
    assert "beta" not in config.to_dict()
    again = RunConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert again.digest() == config.digest()
    assert again.beta == 100.0
    assert RunConfig().digest() == "875671bf"  # of runs that were made before there were schedules
    swept = grid({"beta_schedule": ["linear 1 2 9", "cosine 1 2 9"], "chains": 64})
    assert [member.config.beta_schedule for member in swept.members] == ["linear 1 2 9", "cosine 1 2 9"]
    assert reconciled({"beta": 3.0, "seed": 1}, {"beta_schedule": "linear 1 2 3"}) == {"seed": 1}
    assert reconciled({"beta_schedule": "linear 1 2 3"}, {"beta": 3.0}) == {}


@pytest.mark.parametrize(("settings", "line"), [
    ({"beta": 3.0, "beta_schedule": "linear 1 2 9"}, "beta must be left out with beta_schedule"),
    ({"beta_schedule": "linear 1 2 9", "integrator": "mala"}, "beta_schedule must be left out with integrator mala"),
    ({"beta_schedule": "linear 1 2 9", "confine": "hard"}, "beta_schedule must be left out with integrator projected"),
    ({"beta_schedule": "linear 1 1e9 9"}, "beta_schedule must be such that T"),
    ({"kappa_schedule": "linear 1 2 9", "confine": "none"}, "kappa_schedule must be left out unless"),
    ({"lr_schedule": "linear 1 2 9"}, "lr_schedule must be left out with sampler langevin"),
    ({"sampler": "sgd", "lr_schedule": "inverse 1 9"}, "steps must be given with a lr_schedule"),
    ({"sampler": "sgd", "lr_schedule": "linear 1 2 9", "noise": "isotropic"}, "lr_schedule must be left out"),
    ({"from_cyclic": True}, "from_cyclic must be left out without from_run"),
    ({"from_run": "x", "integrator": "mala"}, "from_run must be left out with integrator mala"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused(settings, line):
    with pytest.raises(ConfigError) as error:
        RunConfig(**settings)
    assert str(error.value).startswith(line)


# ---- steps ----


def by_hand(integrator, betas, kappas, noise, theta, h):
    """Chains of uv at step n with T = 1/β(n), κ(n): NumPy, with the gradient written out."""
    last = np.zeros_like(theta)
    for beta, kappa, kick in zip(betas, kappas, noise, strict=True):
        u, v = theta.T
        charge = 0.5 * (u**2 - v**2)
        slope = np.stack([(u * v - 1) * v + kappa * charge * u, (u * v - 1) * u - kappa * charge * v], axis=1)
        if integrator == "euler-maruyama":
            theta = theta - h * slope + np.sqrt(2 * h / beta) * kick
        else:
            theta = theta - h * slope + np.sqrt(h / (2 * beta)) * (last + kick)
        last = kick
    return theta


@pytest.mark.parametrize("integrator", ["leimkuhler-matthews", "euler-maruyama"])
def test_a_step_is_that_of_the_values_at_its_number(integrator):
    config = RunConfig(beta_schedule="linear 1 9 6", kappa_schedule="steps 4 3 8", integrator=integrator)
    h, steps = 1e-3, 10
    with jax.enable_x64(True):
        reduction, like = build_reduction(config), jnp.array([1.2, 0.7])
        target = scheduled.target_at(config, reduction, like, 1)
        kernel = scheduled_kernel(kernel_kind(integrator), config.settings_of("kernel"), target, h)
        noise = np.random.default_rng(0).normal(size=(steps, 1, 2))
        state = kernel.init(like, None)
        for kick in noise[:, 0]:
            state, _ = kernel.step(jnp.asarray(kick), state, None)
    betas, kappas = ([read_schedule(text).at(n) for n in range(steps)] for text in ("linear 1 9 6", "steps 4 3 8"))
    wanted = by_hand(integrator, betas, kappas, noise, np.asarray(like)[None], h)
    assert np.abs(np.asarray(state.position) - wanted[0]).max() < 1e-6
    wrong = by_hand(integrator, [*betas[1:], 9.0], kappas, noise, np.asarray(like)[None], h)
    assert np.abs(np.asarray(state.position) - wrong[0]).max() > 1e-4
    assert int(state.n) == steps


@pytest.mark.full(but=["four-point"])
@pytest.mark.parametrize("source", ["batch", "normal", "four-point"])
def test_a_schedule_that_stays_is_no_schedule_and_its_steps_are_scalar_arithmetic(source):
    config = RunConfig(beta_schedule="linear 10 10 5")
    with jax.enable_x64(True):
        model, reduction = build_model("uv"), build_reduction(config)
        begin = jnp.tile(jnp.array([1.0, 0.8]), (8, 1))
        kind, settings = kernel_kind("leimkuhler-matthews"), config.settings_of("kernel")
        potential = reduction.confinement.potential(model)
        plain = kind.build(settings, Target(potential, 0.1, begin[0], model.moment_map), 1e-3)
        changing = scheduled_kernel(kind, settings, scheduled.target_at(config, reduction, begin[0], 1), 1e-3)
        first, second = (advance(model, kernel.on(source), begin, 23) for kernel in (plain, changing))
        assert np.abs(np.asarray(first.position) - np.asarray(second.position)).max() < 1e-12
        driver = driver_of(changing.on("four-point"), None, (begin[0], None), False)
        assert driver._unrolled is not None
        assert driver._handed_on  # ζ of the last step is read off the words, not carried


def test_the_energy_of_a_strength_has_to_be_linear_in_it(monkeypatch):
    config = RunConfig(kappa_schedule="linear 5 9 6")
    with jax.enable_x64(True):
        reduction = build_reduction(config)
        assert scheduled.strength_of(config, reduction.model, reduction) == "kappa"
        kind = scheduled.confinement_kind("stiff")

        def squared(settings, temperature):
            made = kind.build(settings, temperature)
            energy = lambda model, params: settings.kappa * made.energy(model, params)  # noqa: E731
            return dataclasses.replace(made, energy=energy)

        monkeypatch.setattr(scheduled, "confinement_kind", lambda name: dataclasses.replace(kind, build=squared))
        with pytest.raises(ConfigError, match="not linear in kappa"):
            scheduled.strength_of(config, reduction.model, reduction)


def test_sgd_takes_the_rate_and_the_decay_of_its_step():
    model = build_model("uv")
    with jax.enable_x64(True):
        rate, decay = (value_of(read_schedule(text), jnp.float64) for text in ("inverse 0.05 0.01 4", "linear 1 2 3"))
        begin = jnp.array([1.3, 0.4])
        kernel = sgd(model, begin, noise=Noise("none"), lr=rate, weight_decay=decay, momentum=0.5)
        state, velocity, place = kernel.init(begin, None), np.zeros(2), np.array([1.3, 0.4])
        draw = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(0), 1))
        for n in range(7):
            state, _ = kernel.step(draw, state, None)
            lam = read_schedule("linear 1 2 3").at(n)
            velocity = 0.5 * velocity + (place.prod() - 1) * place[::-1] + lam * place
            place = place - read_schedule("inverse 0.05 0.01 4").at(n) * velocity
    assert np.abs(np.asarray(state.position) - place).max() < 1e-6


# ---- what is judged ----


def info(**changes):
    return dataclasses.replace(
        ScheduleInfo({}, (900, 1000), False, 10.0, lag=1e-4, change=0.001, shift=1e-4), **changes
    )


@pytest.mark.parametrize(("changes", "count"), [
    ({}, 0), ({"shift": 0.0051}, 1), ({"shift": None}, 0), ({"shift": None, "change": 0.006}, 1), ({"lag": 0.011}, 1),
    ({"ended": True, "waited": 4.9}, 1), ({"ended": True, "waited": 5.1}, 0), ({"lag": 2.0, "shift": 0.1}, 2),
])  # fmt: skip
def test_what_speaks_against_it_is_known_before_a_draw(changes, count):
    doubts = scheduled.schedule_doubts(info(**changes), 0.01)
    assert [doubt.about for doubt in doubts] == ["schedule"] * count


def test_stretches_that_are_shown_end_where_the_one_that_is_judged_begins():
    config = RunConfig(beta_schedule="inverse 1 200", steps=1000, burn_in=0, thin=2)
    made = scheduled.recorded(config, Schedule(0, 2, 500, (500,)))
    assert made.shown == 450
    assert made.segments[:9] == tuple(range(50, 451, 50))
    assert sum(made.judged) == 50
    assert all(first < last for first, last in pairwise(made.segments))
    with pytest.raises(ConfigError, match="steps must be enough for 10 draws"):
        scheduled.recorded(config.replace(thin=20), Schedule(0, 20, 50, (50,)))
    with pytest.raises(ValueError, match="shown"):
        Schedule(0, 1, 9, (3, 9), shown=4)


def test_chains_relax_along_the_orbit_too_where_they_spread_along_it(x64):
    """uv at z = 1 − λ: 2(1 − λ) across the orbits, 2λ along them, and κ-fold with the stiff confinement."""
    weak = build_reduction(RunConfig(confine="weight-decay", weight_decay=0.02))
    assert scheduled.slowest_rate(weak, np.array([0.98])) == pytest.approx(0.04, rel=1e-6)
    stiff = build_reduction(RunConfig(kappa=100.0))
    assert scheduled.slowest_rate(stiff, np.array([1.0])) == pytest.approx(2.0, rel=1e-6)
    free = build_reduction(RunConfig(confine="none"))
    assert scheduled.slowest_rate(free, np.array([1.0])) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(("jump", "seen"), [(17_990, True), (17_600, True), (17_400, False), (18_500, True)])
def test_a_jump_before_the_stretch_counts_until_chains_have_forgotten_it(jump, seen):
    changes = {"beta_schedule": "inverse 10 1e12", "weight_decay_schedule": f"steps 1 {jump} 0.02"}
    config = RunConfig(confine="weight-decay", steps=20_000, burn_in=0, thin=10, **changes)
    made = scheduled.recorded(config, Schedule(0, 10, 2000, (2000,)))
    judged = scheduled.described(config, made, 100.0, lambda first, last: 0.0)
    assert (judged.lag > 1.0) == seen
    assert bool(scheduled.schedule_doubts(judged, 0.01)) == seen


def test_what_changes_evenly_lags_by_its_slope():
    config = RunConfig(beta_schedule="linear 1 100 20000", steps=10_000, burn_in=0, thin=10)
    made = scheduled.recorded(config, Schedule(0, 10, 1000, (1000,)))
    for relaxation in (7.0, 950.0, 1e5):
        lag = scheduled.described(config, made, relaxation, lambda first, last: 0.0).lag
        assert lag == pytest.approx(99 / 20_000 * relaxation / config.beta, rel=0.2)


# ---- runs ----

ANNEALED = {"chains": 512, "seed": 5, "laws": ("exact", "naive")} | UNCHECKED


def quadrature(beta, kappa, edges):
    """Bin masses of z = uv under exp(−β((z − 1)²/2 + κχ²/2)) du dv, from du dv = dz dχ/2√(z² + χ²).

    ∫ exp(−aχ²)/√(z² + χ²) dχ = e^x K₀(x), x = az²/2, a = βκ/2.
    """

    def density(z):
        return np.exp(-0.5 * beta * (z - 1.0) ** 2) * scipy.special.k0e(0.25 * beta * kappa * z**2)

    mass = np.array([scipy.integrate.quad(density, *ends, epsabs=1e-12)[0] for ends in pairwise(edges)])
    return mass / mass.sum()


def distance(first, second):
    return 0.5 * np.abs(np.asarray(first) - np.asarray(second)).sum()


@pytest.mark.full
def test_annealing_that_ends_is_judged_at_its_end():
    """p of the draws against the quadrature at β = 100: a right run fails with probability 1e-3 at a key; it is one."""
    result = langevin_ib.run(RunConfig(beta_schedule="linear 1 100 20000", steps=150_000, **ANNEALED))
    z, wanted = result.invariants["z"], quadrature(100.0, 100.0, result.invariants["z"].edges)
    assert result.doubts == ()
    assert result.schedule.ended
    assert result.schedule.steps[0] == 46_000
    assert distance(z.laws["exact"].mass, wanted) < 1e-8
    assert z.laws["exact"].comparison.p_value > 1e-3
    assert distance(z.mass, wanted) < 0.01
    assert distance(z.mass, quadrature(1.0, 100.0, z.edges)) > 0.2  # the law at the first value
    assert result.verdicts["naive"] == "differs"
    assert {one.name for one in result.identities} == {"virial", "Ward", "spread"}
    assert max(abs(one.errors) for one in result.identities) < 4.5
    assert json.loads(json.dumps(result.to_dict()["schedule"]))["values"]["beta"]["judged"] == 100.0


@pytest.mark.full
def test_annealing_that_is_stopped_half_way_is_not_judged():
    result = langevin_ib.run(RunConfig(beta_schedule="linear 1 100 40000", steps=20_000, **ANNEALED))
    assert result.doubts[0].about == "schedule"
    assert set(result.verdicts.values()) == {"undecided"}
    assert result.identities[0].why.startswith("values change")
    assert result.schedule.shift > 0.005
    moves = result.schedule.moves
    assert len(moves) == 10
    assert moves[0].tv["z"] > 0.5 > moves[-2].tv["z"] > moves[-1].tv["z"] == 0.0
    assert moves[-1].values["beta"] == pytest.approx(result.plan.config.beta, rel=1e-3)
    assert result.to_xarray()["posterior"]["z"].sizes["draw"] < 512 / 8


@pytest.mark.full
def test_draws_that_begin_as_the_annealing_ends_are_not_judged_and_slow_change_is():
    settings = ANNEALED | {"margin": 0.05}
    hasty = RunConfig(beta_schedule="linear 1 100 4000", burn_in=4000, steps=30_000, **settings)
    result = langevin_ib.run(hasty)
    assert result.doubts[0].about == "schedule"
    assert "relaxation times" in result.doubts[0].text
    assert set(result.verdicts.values()) == {"undecided"}
    slow = langevin_ib.run(RunConfig(beta_schedule="linear 90 100 200000", steps=180_000, **settings))
    assert slow.doubts == ()
    assert not slow.schedule.ended
    assert slow.verdicts["exact"] == "agrees"
    z = slow.invariants["z"]
    assert distance(z.laws["exact"].mass, quadrature(98.55, 100.0, z.edges)) < 1e-6


@pytest.mark.full
def test_a_rate_that_decays_like_one_over_t_is_judged_at_its_end():
    """uv under label noise: Gamma of shape y/(ηs²) − ½ and scale ηs², (S), at the last η and not at the first."""
    config = RunConfig(sampler="sgd", lr_schedule="inverse 0.05 0.01 5000", label_noise=2.0, chains=512, seed=5)
    result = langevin_ib.run(config)
    z = result.invariants["z"]
    assert result.doubts == ()
    assert result.plan.config.lr == 0.01
    gammas = [scipy.stats.gamma(1.0 / (4.0 * lr) - 0.5, scale=4.0 * lr) for lr in (0.01, 0.05)]
    last, first = (np.diff(law.cdf(z.edges)) / np.diff(law.cdf(z.edges[[0, -1]])) for law in gammas)
    assert distance(z.laws["sgd"].mass, last) < 1e-6
    assert result.verdicts["map"] == "agrees"
    assert distance(z.mass, last) < 0.01
    assert distance(z.mass, first) > 0.2


@pytest.mark.full
def test_a_rate_that_decays_for_ever_is_not_judged():
    config = RunConfig(sampler="sgd", lr_schedule="inverse 0.05 1000", steps=9000, label_noise=2.0, chains=64)
    with Session().open() as session:
        prepared = process_of(config).prepare(config, session)
    assert prepared.doubts[0].about == "schedule"
    assert not prepared.schedule.ended
    assert prepared.plan.config.lr == pytest.approx(0.05 / (1 + 8550 / 1000))
    assert prepared.plan.schedule.shown > 0


# ---- from another run ----

SMALL = ["--chains", "64", "--steps", "1300", "--reference", "none", "--step-check", "no", "--laws", "exact", "--quiet"]


def folders(out):
    return {path.parent for path in out.glob("*/config.toml")}


def test_where_chains_of_a_run_ended_is_read_from_its_folder(tmp_path, capsys):
    """Those of all blocks, without what fills the last one up; other models and numbers are refused in a line."""
    run = tmp_path / "uv-run"
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(64, 2)).astype(np.float32) for _ in range(2)]
    finished(run, RunConfig(chains=100, beta_schedule="linear 5 20 200"), blocks)
    config, model = RunConfig(from_run=str(run), chains=100), build_model("uv")
    ends = ends_of(config, model)
    assert np.array_equal(ends.positions, np.concatenate(blocks)[:100])
    key = jax.random.key(0)
    assert not np.array_equal(jax.random.key_data(ends.key(key)), jax.random.key_data(key))
    again = ends_of(config.replace(chains=160, from_cyclic=True), model).positions
    assert np.array_equal(again[100:], ends.positions[:60])

    refused = {
        "--chains must be 100, as many as": ["--chains", "32"],
        "or --from-cyclic yes": ["--chains", "128"],
        "--from must be a run of model rotation": ["--model", "rotation", "--confine", "none"],
        "--from must be a run of a model with depth = 3": ["--depth", "3"],
        "which has no config.toml": ["--from", str(tmp_path)],
    }
    for line, more in refused.items():
        assert sim.main(["--quiet", "--from", str(run), *more, "--out", str(tmp_path / "out")]) == 2
        assert line in (error := capsys.readouterr().err)
        assert error.count("\n") == 1
    (run / "state" / "sampling.npz").write_bytes(b"no state")
    with pytest.raises(ConfigError, match="from_run must be a run whose state can be read"):
        ends_of(config, model)
    (run / "state" / "sampling.npz").unlink()
    with pytest.raises(ConfigError, match="from_run must be a run that keeps where its chains ended"):
        ends_of(config, model)
    assert not (tmp_path / "out").exists()


def test_chains_that_begin_at_one_point_have_to_forget_it(tmp_path):
    finished(tmp_path, RunConfig(chains=100), [np.ones((100, 2), np.float32)])
    cyclic = RunConfig(from_run=str(tmp_path), from_cyclic=True, chains=160)
    (doubt,) = scheduled.cyclic_doubts(cyclic, Schedule(0, 1, 9, (9,)), 100.0)
    assert doubt.about == "starts"
    assert "0 relaxation times (100 steps each)" in doubt.text
    assert "raise burn_in" in doubt.text
    assert scheduled.cyclic_doubts(cyclic, Schedule(499, 1, 9, (9,)), 100.0)
    assert scheduled.cyclic_doubts(cyclic, Schedule(500, 1, 9, (9,)), 100.0) == []
    assert scheduled.cyclic_doubts(cyclic.replace(chains=100), Schedule(0, 1, 9, (9,)), 100.0) == []  # each has its own


@pytest.mark.full
def test_without_a_burn_in_such_a_run_gives_no_verdict(tmp_path):
    """Under weight decay 0.2 the orbit takes 1/(2λh), some hundred steps."""
    finished(tmp_path, RunConfig(chains=64), [np.ones((64, 2), np.float32)])
    given = {"confine": "weight-decay", "weight_decay": 0.2, "chains": 128, "steps": 4000} | UNCHECKED
    for burn_in, count in {0: 1, 2500: 0}.items():
        config = RunConfig(from_run=str(tmp_path), from_cyclic=True, burn_in=burn_in, **given)
        with Session().open() as session:
            prepared = process_of(config).prepare(config, session)
        assert [doubt.about for doubt in prepared.doubts].count("starts") == count


def test_a_run_whose_draws_are_judged_in_its_last_stretch_is_not_extended(tmp_path):
    """It would be judged elsewhere, at other values; one whose schedule has ended is the same, longer."""
    blocks, given = [np.zeros((64, 2), np.float32)], {"chains": 64, "steps": 2000, "burn_in": 400, "thin": 10}
    for name, length in {"ended": 400, "going": 4000}.items():
        finished(tmp_path / name, RunConfig(beta_schedule=f"linear 5 20 {length}", **given), blocks)
    assert longer(tmp_path / "ended", 500).steps == 2500
    with pytest.raises(ConfigError, match="extend must be a run whose beta_schedule has ended before its draws"):
        longer(tmp_path / "going", 500)


@pytest.mark.full
def test_a_run_goes_on_from_another_and_extends_as_any(tmp_path):
    out = ["--out", str(tmp_path)]
    first = ["--beta-schedule", "cosine 5 20 200", *SMALL, *out]
    assert sim.main(first) == 0
    (run,) = folders(tmp_path)
    ends = ends_of(RunConfig(from_run=str(run), chains=64), build_model("uv")).positions
    assert len(np.unique(ends[:, 0])) == 64
    assert sim.main([*SMALL, "--from", str(run), *out]) == 0
    (second,) = folders(tmp_path) - {run}
    assert not np.array_equal(ends_of(RunConfig(from_run=str(second), chains=64), build_model("uv")).positions, ends)
    assert sim.main([*first, "--extend", "500"]) == 0
    more = next(path for path in folders(tmp_path) if "steps = 1800" in (path / "config.toml").read_text())
    begun = json.loads((more / "summary.json").read_text())
    assert [stage["step"] for stage in begun["run"]["resumed"]] == [1300]
