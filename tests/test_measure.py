"""Runs that measure only: models of a loss, a start and scalars; `--laws none`; windows by a pilot; both samplers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bare_network, finished, small_result
from jsonschema import Draft202012Validator

import langevin_ib
from langevin_ib import RunConfig, sim
from langevin_ib.dynamics.kernel import kernel_kind
from langevin_ib.errors import ConfigError, DivergenceError, ModelError
from langevin_ib.geometry.measured import check_measured, stiffness
from langevin_ib.models import Chart, measure_only, uv
from langevin_ib.output.answer import answer
from langevin_ib.output.folders import summary_json
from langevin_ib.output.report import findings, run_report
from langevin_ib.runs import measure
from langevin_ib.runs.descent_chains import default_share
from langevin_ib.runs.measure import settle_step, without_laws
from langevin_ib.runs.measured import MeasuredDetails, MeasuredPlan
from langevin_ib.runs.pilot import Pilot, windows_of
from langevin_ib.runs.plan import Plan, build_reduction, build_schedule
from langevin_ib.runs.run import process_of
from langevin_ib.runs.schema import summary_schema
from langevin_ib.session import Session
from langevin_ib.statistics.learning import LearningCoefficient, Measured
from langevin_ib.statistics.records import Absent, Doubt

MANY = """
import jax
import jax.numpy as jnp
from langevin_ib.models import measure_only

def many(q: int = 5000):
    return measure_only(
        "many",
        loss=lambda p: 0.5 * jnp.sum(p**2),
        init=lambda key: jax.random.normal(key, (q,)),
        scalars=lambda p: {"first": p[0], "size": jnp.sqrt(jnp.sum(p**2))},
    )
"""


def measured(**more):
    """A result of a run that measures only, that nothing was sampled for."""
    details = MeasuredDetails(
        MeasuredPlan("", (32, 1500), ("z",)), Measured(0.05, 1e-3), Measured(0.5, 0.01), Measured(1.0, 0.02),
        (Measured(0.0, 0.1),),
    )  # fmt: skip
    absent = Absent("c", "no law is asked for")
    result = small_result(details=details, verdicts={}, coefficient=absent, missing=(), **more)
    for invariant in result.invariants.values():
        invariant.laws.clear()
    return result


def test_the_first_sentence_says_that_it_is_no_law():
    assert answer(measured()) == "Measured, and held against no law: E[ℓ]/T = 0.5 ± 0.01, λ̂ = 0.51 ± 0.02."
    doubtful = measured(doubts=(Doubt("r_hat", "the chains have not mixed: R-hat 2 > 1.1; run more steps"),))
    assert answer(doubtful) == (
        "Measured, and held against no law: E[ℓ]/T = 0.5 ± 0.01, λ̂ = 0.51 ± 0.02, in doubt: the chains have not mixed: "
        "R-hat 2 > 1.1."
    )
    assert "in doubt: the chains have not mixed: R-hat 2 > 1.1; run more steps" in [
        line.text for line in findings(doubtful)
    ]


def test_the_report_has_moments_and_no_verdict():
    report = run_report(measured())
    table = report.blocks[1]
    assert table.sections == ((("z", "1", "0.01", "0.1", "0.002", "[0.3, 2]", "98.0%"),),)
    lines = [line.text for line in findings(measured())]
    assert lines[0] == "measured, held against no law: moments and histograms are those of the draws"
    assert lines[1] == "E[ℓ]/T = 0.5 ± 0.01; E ℓ = 0.05 ± 0.001, E |θ|²/2 = 1 ± 0.02, E χ = 0 ± 0.1"
    assert "a pilot of 32 chains and 1500 steps" in lines[2]
    assert not [line for line in lines if "agrees" in line or "c not estimated" in line]


def test_its_summary_obeys_the_schema():
    summary = json.loads(summary_json(measured().to_dict()))
    assert not list(Draft202012Validator(summary_schema()).iter_errors(summary))
    assert summary["measured"]["energy"] == {"value": 0.5, "se": 0.01}


@pytest.mark.full
def test_thousands_of_parameters_on_the_command_line(tmp_path, monkeypatch, capsys):
    """E ℓ/T = q/2 within four standard errors (1 in 16 000), which at a temperature 3% wrong it is not."""
    (tmp_path / "own_many.py").write_text(MANY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    formed = []
    monkeypatch.setattr(np, "eye", lambda n, *rest, **more: formed.append(n))  # nothing q × q is asked for
    assert sim.main(["--model", "own_many:many", "--chains", "64", "--steps", "600", "--step-check", "no"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "no law: many has no coordinates of its quotient" in text
    assert formed == []
    (folder,) = (tmp_path / "runs").glob("own_many-many-*")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert not list(Draft202012Validator(summary_schema()).iter_errors(summary))
    assert summary["config"]["laws"] == ["none"]
    assert summary["verdicts"] == {}
    energy, learning = summary["measured"]["energy"], summary["learning_coefficient"]
    assert abs(energy["value"] - 2500.0) < 4 * energy["se"]
    assert abs(1.03 * energy["value"] - 2500.0) > 20 * energy["se"]
    assert learning["regular"] == 2500.0
    assert summary["invariants"]["first"]["in_window"] > 0.98


@pytest.mark.full
@pytest.mark.parametrize("sampler", ["langevin", "sgd"])
def test_a_built_in_model_without_laws(sampler):
    more = {"sampler": "sgd", "lr": 0.01, "label_noise": 2.0} if sampler == "sgd" else {"step_check": False}
    result = langevin_ib.run(RunConfig(laws="none", chains=64, steps=20_000, **more))
    assert isinstance(result.details, MeasuredDetails)
    assert (result.verdicts, result.protocol.slice) == ({}, None)
    moments = result.invariants["z"].moments
    # κ|χ|²/2 leaves z ≈ 1 − T at y = 1; (S) has the mean y − ηs²/2, see THEORY of the package's book.
    assert abs(moments.mean - (0.98 if sampler == "sgd" else 0.9)) < 5 * moments.mean_se + 0.02
    assert (result.learning is None) == (sampler == "sgd")
    assert len(result.details.charge) == 1
    again = result.plan.config
    assert again.replace().digest() == again.digest()
    assert result.plan.config.window == tuple(result.plan.edges["z"][[0, -1]])


def test_settings_that_do_not_fit_are_refused_in_one_line(x64):
    model = bare_network()
    with pytest.raises(ConfigError, match="laws must be none or left out: bare network has no coordinates"):
        without_laws(RunConfig(model=bare_network, laws=("exact",)), model)
    with pytest.raises(ConfigError, match="laws must be laws, or none alone, got none exact"):
        RunConfig(laws=("none", "exact"))
    with pytest.raises(ConfigError, match="laws must be left out with sampler sgd, which has its own, or none"):
        RunConfig(sampler="sgd", laws=("exact",))
    with pytest.raises(ConfigError, match="confine must be none or weight-decay for a model without a symmetry"):
        without_laws(RunConfig(model=bare_network, confine="hard"), model)
    with pytest.raises(ConfigError, match="law_draws must be left out where no law is asked for"):
        build_reduction(RunConfig(model=bare_network, law_draws=20_000))
    assert RunConfig(laws="none").laws == ("none",)
    config, why = without_laws(RunConfig(model=bare_network), model)
    assert (config.laws, config.reference, config.confine) == (("none",), "none", "none")
    assert why


def test_what_a_model_without_a_chart_has_to_be():
    check_measured(bare_network(), jax.random.key(0))
    loss, init = (lambda p: jnp.sum(p**2)), (lambda key: jax.random.normal(key, (2,)))
    vector = measure_only("vector", loss=loss, init=init, scalars=lambda p: {"p": p})
    with pytest.raises(ModelError, match=r"scalars must return a number for p, shape \(\), got shape \(2,\)"):
        check_measured(vector, jax.random.key(0))
    infinite = measure_only("infinite", loss=lambda p: jnp.sum(p / 0.0), init=init, scalars=lambda p: {"p": p[0]})
    with pytest.raises(ModelError, match="its loss is not finite at a start"):
        check_measured(infinite, jax.random.key(0))
    with pytest.raises(ModelError, match="symmetry must have a dimension of 1 at least"):
        measure_only(
            "charged", loss=loss, init=init, scalars=lambda p: {"p": p[0]}, moment_map=lambda p: p[:1] ** 2,
            symmetry=("R", 0),
        )  # fmt: skip


def test_charges_and_the_dimension_of_the_symmetry():
    model = measure_only(
        "pair", loss=lambda p: 0.5 * (p[0] * p[1] - 1.0) ** 2, init=lambda key: 1.0 + jax.random.uniform(key, (2,)),
        scalars=lambda p: {"z": p[0] * p[1]}, moment_map=lambda p: 0.5 * (p[:1] ** 2 - p[1:] ** 2),
    )  # fmt: skip
    assert (model.group, model.group_dim, model.compact_dim) == ("unnamed", 1, 0)
    assert Chart(model).scalar_names == ("z",)
    reduction = build_reduction(RunConfig(model=model))
    assert reduction.measured
    assert reduction.proper  # by the stiff confinement, which takes the charge
    assert not build_reduction(RunConfig(model=model, confine="none")).proper
    with pytest.raises(ModelError, match="pair has no section"):
        model.section({})


def test_curvature_by_products_is_that_of_the_matrix():
    curvatures = np.linspace(1.0, 7.0, 200)
    points = [jnp.ones(200)]
    assert stiffness(lambda p: 0.5 * jnp.sum(curvatures * p**2), points)[0] == pytest.approx(7.0, rel=0.02)
    assert stiffness(uv().loss, [jnp.array([1.0, 1.0])])[0] == pytest.approx(2.0)


def test_the_step_is_that_of_the_pilot_whose_ends_ask_for_no_smaller_one():
    tried = []

    def pilot(ends):
        return Pilot(np.zeros((2, 3, 1)), jnp.full((2, 1), ends), 10)

    def at(step):
        tried.append(step)
        if step > 0.5:
            raise DivergenceError("pilot", 1, 2, 3, step)
        return pilot(step)

    # A rule that asks for less wherever the last pilot had more than 0.1.
    step, found = settle_step(lambda points: 1.0 if not points else min(1.0, 0.1 * 0.1 / float(points[0][0])), at)
    assert tried == pytest.approx([1.0, 0.25, 0.04])
    assert (step, found.chains) == (pytest.approx(0.04), 2)


def test_the_step_is_safe_where_a_schedule_makes_the_run_stiffest(monkeypatch, x64):
    monkeypatch.setattr(measure, "settle_step", lambda rule, pilot: (rule([]), pilot(rule([]))))
    monkeypatch.setattr(measure, "_pilot", lambda *given: Pilot(np.zeros((2, 3, 1)), None, 10))
    steps = {}
    for name, given in {"changes": {"weight_decay_schedule": "linear 50 1 100"}, "50": {"weight_decay": 50.0},
                        "1": {"weight_decay": 1.0}}.items():  # fmt: skip
        config = RunConfig(laws="none", confine="weight-decay", burn_in=200, step_check=False, **given)
        reduction, where = build_reduction(config), jnp.array([1.0, 1.0])
        kernel = kernel_kind(str(config.integrator))
        settled, _ = measure._with_step(config, reduction, kernel, where, Session())
        steps[name] = settled.step_size
    assert steps["changes"] == steps["50"] < steps["1"]


@pytest.mark.parametrize(("schedule", "count"), [("inverse 20 4e6", 0), ("inverse 20 4000", 1)])
def test_values_that_go_on_are_said_and_doubted_without_a_law(schedule, count, x64):
    """uv on the slice, 1/(2h) steps to relax; with τ = 4e6 β changes by 0.05% over the judged tenth, else by 9%."""
    given = {"kappa": 20.0, "steps": 20_000, "burn_in": 0, "thin": 10, "step_size": 0.01}
    config = RunConfig(laws="none", beta_schedule=schedule, **given)
    plan = Plan(config, build_reduction(config), build_schedule(config), {"z": np.linspace(0, 2, 41)}, (False, False))
    info, doubts = measure.changing_of(plan, 0.01)
    assert info.steps == (18_000, 20_000)
    assert info.relaxation == pytest.approx(50.0, rel=1e-3)
    assert info.shift is None
    assert [doubt.about for doubt in doubts] == ["schedule"] * count
    text = measured(schedule=info, doubts=tuple(doubts))
    assert any(line.text.startswith("what changes: beta 20/(1 + n/") for line in findings(text))
    assert ("in doubt: values change by a share of" in answer(text)) == bool(count)


def test_the_burn_in_lies_behind_the_last_change():
    for text, wanted in {None: 200, "linear 1 20 500": 600, "inverse 1 9": 0}.items():
        config = RunConfig(laws="none", steps=1000, beta_schedule=text)
        assert measure.settle_burn_in(config).burn_in == wanted
    going = measure.settle_burn_in(RunConfig(laws="none", steps=1000, beta_schedule="inverse 1 9"))
    assert measure.pilot_burn_in(going) == 200


@pytest.mark.parametrize("sampler", ["langevin", "sgd"])
def test_a_run_to_go_on_from_is_looked_for_before_a_pilot(sampler, tmp_path):
    config = RunConfig(laws="none", sampler=sampler, from_run=str(tmp_path), steps=2000)
    with Session().open() as session, pytest.raises(ConfigError, match="from_run must be the folder of a finished run"):
        process_of(config).prepare(config, session)


@pytest.mark.full
def test_sgd_takes_the_same_steps_with_laws_and_without(tmp_path):
    """Same keys, starts and values: the draws of both are one; of a run at constant values they are not."""
    finished(tmp_path, RunConfig(chains=32), [np.random.default_rng(0).uniform(0.6, 1.4, (32, 2)).astype(np.float32)])
    common = {
        "sampler": "sgd", "label_noise": 2.0, "chains": 64, "steps": 1000, "thin": 5, "burn_in": 0,
        "confine": "weight-decay", "from_run": str(tmp_path), "from_cyclic": True,
    }  # fmt: skip
    changing = {"lr_schedule": "inverse 0.05 300", "weight_decay_schedule": "steps 0.5 400 0.01"}
    constant = {"lr": 0.05, "weight_decay": 0.01, "laws": "none"}
    with_laws, without, other = (
        langevin_ib.run(RunConfig(**common, **more)) for more in (changing, changing | {"laws": "none"}, constant)
    )
    mean, own, apart = (result.invariants["z"].moments.mean for result in (with_laws, without, other))
    assert own == pytest.approx(mean, rel=1e-6)
    assert abs(apart - mean) > 1e-3
    assert [round(move.mean["z"], 5) for move in without.schedule.moves] == [
        round(move.mean["z"], 5) for move in with_laws.schedule.moves
    ]
    assert all("starts" in {doubt.about for doubt in result.doubts} for result in (with_laws, without, other))


def test_windows_come_from_quantiles_or_as_given(x64):
    draws = np.random.default_rng(0).normal(size=(64, 64, 2))
    config = RunConfig(model=bare_network)
    reduction = build_reduction(config)
    windows = windows_of(config, reduction, Pilot(draws, jnp.zeros(1), 10))
    for low, high in windows.values():  # ±2.576, a twentieth of the width more
        assert (low, high) == (pytest.approx(-2.83, abs=0.2), pytest.approx(2.83, abs=0.2))
    given = RunConfig(model=bare_network, invariant=("f",), window=(0.0, 1.0))
    assert windows_of(given, reduction, Pilot(draws, jnp.zeros(1), 10)) == {"f": (0.0, 1.0)}
    ends = jax.vmap(reduction.model.init)(jax.random.split(jax.random.key(0), 64))
    still = windows_of(config, reduction, Pilot(0 * draws + 3.0, ends, 10))
    assert still["f"] == (pytest.approx(2.997), pytest.approx(3.003))
    with pytest.raises(ConfigError, match="precision must be 64 here: a bin of norm"):
        windows_of(config, reduction, Pilot(1e-7 * draws + 3.0, jnp.zeros(1), 10))


@pytest.mark.full
def test_a_measured_run_is_the_same_from_its_own_settings():
    config = RunConfig(model=bare_network, chains=64, steps=2000, step_check=False)
    first = langevin_ib.run(config)
    again = langevin_ib.run(first.plan.config)
    assert again.run.step_size == first.run.step_size
    assert all(np.array_equal(again.invariants[name].mass, first.invariants[name].mass) for name in first.invariants)
    assert isinstance(first.learning, LearningCoefficient)


def descent_prepared(**settings):
    """The lr of a run of SGD that measures only, resolved."""
    config = RunConfig(sampler="sgd", laws="none", chains=32, steps=500, label_noise=1.0, **settings)
    with Session().open() as session:
        return float(process_of(config).prepare(config, session).plan.config.lr)


def test_the_default_step_of_a_scaled_noise_is_smaller_by_its_square():
    """With laws and without, so that ηm² stays; a weaker noise, the control, leaves the step."""
    shares = [default_share(RunConfig(sampler="sgd", noise_scale=m, momentum=0.9)) for m in (None, 0.5, 4.0)]
    assert shares == pytest.approx([1e-3, 1e-3, 1e-3 / 16.0])


@pytest.mark.full
def test_the_default_step_without_laws_is_by_that_rule():
    """Up to where the pilot's chains end, in whose curvature the rules see some noise."""
    plain, strong, weak = (descent_prepared(noise_scale=m) for m in (None, 4.0, 0.5))
    assert 0.5 < 16.0 * strong / plain < 1.5
    assert 0.5 < weak / plain < 1.5


def test_a_step_whose_noise_float32_loses_is_refused_without_laws_too():
    with pytest.raises(ConfigError, match=r"precision must be 64 here: a step.s noise, .*, is lost in float32"):
        descent_prepared(lr=3e-8, noise_scale=4.0)
    assert descent_prepared(lr=3e-8, noise_scale=4.0, precision=64) == 3e-8


def test_langevin_steps_that_float32_loses_are_refused_without_laws_too():
    config = RunConfig(laws="none", chains=32, steps=500, step_size=1e-14)
    with Session().open() as session, pytest.raises(ConfigError, match="precision must be 64 here: a step's noise"):
        process_of(config).prepare(config, session)


def test_a_scalar_that_is_constant_is_refused_before_the_run(capsys, tmp_path, monkeypatch):
    constant = MANY.replace('"first": p[0]', '"first": jnp.full((), 3.0, p.dtype)').replace("5000", "4")
    (tmp_path / "constant.py").write_text(constant)
    monkeypatch.chdir(tmp_path)
    assert sim.main(["--model", "constant:many", "--chains", "32", "--steps", "500", "--quiet"]) == 2
    assert "model many: scalar first is constant, 3 at every draw of the pilot; leave it" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("many-*"))
