"""A model without a symmetry, the control: one law, exp(−ℓ/T) dθ, and nothing that needs an orbit."""

import dataclasses

import pytest

from langevin_ib import RunConfig, sim
from langevin_ib.errors import ConfigError
from langevin_ib.laws import bin_masses
from langevin_ib.laws.named.exact import exact
from langevin_ib.runs import quotient as reduced
from langevin_ib.runs.judge import held_against
from langevin_ib.runs.processes.langevin import without_symmetry
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.statistics.compare import against_law
from langevin_ib.statistics.records import Absent

OWN = """
import jax
import jax.numpy as jnp
from langevin_ib.models import Model

def cube():
    \"\"\"A quartic in one parameter, seen in the coordinate z = θ + θ³/3, so that dz is not dθ.\"\"\"
    def section(z):
        root = jnp.cbrt(1.5 * z["z"] + jnp.sqrt(1.0 + 2.25 * z["z"] ** 2))
        return (root - 1.0 / root)[None]

    return Model(
        name="cube", group="none", group_dim=0,
        loss=lambda p: 0.5 * (p[0] - 1.0) ** 2 + 0.25 * (p[0] - 1.0) ** 4,
        act=lambda t, p: p, moment_map=lambda p: jnp.zeros(0, p.dtype),
        invariants=lambda p: {"z": p[0] + p[0] ** 3 / 3.0}, section=section,
        init=lambda key: jax.random.normal(key, (1,)),
    )

def two():
    return Model(
        name="two", group="none", group_dim=0,
        loss=lambda p: 0.5 * (p[0] - 1.0) ** 2 + 0.5 * p[1] ** 2 + 0.25 * (p[0] * p[1]) ** 2,
        act=lambda t, p: p, moment_map=lambda p: jnp.zeros(0, p.dtype),
        invariants=lambda p: {"x": p[0], "y": p[1]}, section=lambda z: jnp.stack([z["x"], z["y"]]),
        init=lambda key: jax.random.normal(key, (2,)),
    )
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "bare_models.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.full
def test_draws_of_one_parameter_obey_the_gibbs_law_and_not_that_of_another_temperature(own, x64):
    config = RunConfig(model="bare_models:cube", chains=256, steps=4000, step_check=False, reference="none")
    prepared, draws, doubts = prepare_and_draw(config)
    plan, sample = prepared.plan, draws.main
    assert plan.config.confine == "none"
    (law,) = prepared.candidates
    assert law.about.name == "exact"
    assert not doubts
    histogram = sample.histogram("z")
    # One test at the fixed key, of level 0.1%; TV below 0.02 is what a sample of this size can show.
    found = held_against(histogram, law.masses()["z"], plan.config.margin, 0.95)
    assert found.p_value > 1e-3
    assert found.tv_upper95 < 0.02
    warm = dataclasses.replace(plan.reduction, temperature=1.2 * plan.reduction.temperature)
    wrong = against_law(histogram, bin_masses(exact(warm), plan.edges["z"]), plan.config.margin)
    assert wrong.verdict == "differs"
    assert wrong.p_value < 1e-6
    coefficient = prepared.coefficient(sample.statistic)
    assert isinstance(coefficient, Absent)
    assert "log det G is constant" in coefficient.why


@pytest.mark.full
def test_two_parameters_run_from_the_command_line(own, tmp_path, capsys, monkeypatch):
    # As few draws of the law as will do: what is looked at is that everything runs.
    small = {"CHAINS": 64, "TUNING": ((0.57, 100),), "RECORDS": 100, "ENOUGH": 100}
    for name, value in (small | {"NUTS_CHAINS": 16, "NUTS_WARMUP": 20, "NUTS_DRAWS": 50}).items():
        monkeypatch.setattr(reduced, name, value)
    quick = ["--chains", "64", "--steps", "2000", "--step-check", "no", "--step-size", "0.05"]
    assert sim.main(["--model", "bare_models:two", "--confine", "none", *quick]) == 0
    text = capsys.readouterr().out
    assert "exact" in text
    assert "slice" not in text
    assert "the law exact" in text
    assert "nan" not in text
    assert len(list((tmp_path / "runs").glob("*/draws.nc"))) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"confine": "hard"}, "confine must be none or weight-decay for a model without a symmetry, got hard"),
        ({"confine": "none", "slab": 0.1}, "slab must be left out for a model without a symmetry, got 0.1"),
        ({"laws": ("slice", "naive")}, "laws must be exact for a model without a symmetry"),
    ],
)
def test_settings_that_are_about_orbits_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        without_symmetry(RunConfig(model="bare_models:two", **settings))


def test_weight_decay_is_a_term_of_the_law():
    config = without_symmetry(RunConfig(model="bare_models:two", confine="weight-decay", weight_decay=0.5))
    assert (config.confine, config.weight_decay, config.laws) == ("weight-decay", 0.5, ("exact",))
