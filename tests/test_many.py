"""Models of many coordinates, from a configuration to a verdict; several invariants in the output."""

import io
import json

import arviz
import numpy as np
import pytest
from rich.console import Console

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.output.histogram import figure
from langevin_ib.output.law_table import law_rows
from langevin_ib.output.report import findings, run_report
from langevin_ib.output.store import save
from langevin_ib.output.terminal import show

SMALL = {"chains": 256, "steps": 20_000, "reference": "none", "step_check": False, "margin": 0.03}


@pytest.fixture(scope="module")
def stiff():
    return langevin_ib.run(RunConfig(model="hadamard", options={"dim": 2}, **SMALL))


@pytest.mark.full
def test_stiff_confinement_obeys_slice_and_exact_in_every_coordinate_and_no_other_law(stiff):
    """p > 1e-4 for the true law fails in 2e-4 of keys over both coordinates; the wrong laws are the control."""
    assert set(stiff.summary["invariants"]) == {"z_1", "z_2"}
    for invariant in stiff.summary["invariants"].values():
        assert invariant["laws"]["exact"]["p_value"] > 1e-4
        assert invariant["laws"]["hard"]["p_value"] < 1e-6
    verdicts = stiff.summary["verdicts"]
    assert [verdicts[law] for law in ("exact", "hard", "pushforward", "printed", "naive")] == ["agrees"] + 4 * [
        "differs"
    ]
    assert stiff.summary["joint"]["p_value"] > 0.001


@pytest.mark.full
def test_c_by_reweighting_is_that_of_the_exact_law(stiff):
    c = next(iter(stiff.summary["invariants"].values()))["correction"]
    exact = stiff.summary["invariants"]["z_1"]["laws"]["exact"]["c"]
    assert abs(c["c"] - exact) < 4 * c["se"]  # a true law fails this in 6e-5 of keys
    assert c["se"] < 0.1


@pytest.mark.full
def test_the_two_samplers_of_the_law_agree_and_are_named(stiff):
    reference = stiff.summary["law_reference"]
    assert set(reference["samplers"]) == {"blackjax.mala on Z", "numpyro.NUTS on Z"}
    assert all(one["r_hat"] < 1.1 for one in reference["samplers"].values())
    assert all(one["verdict"] != "differs" for one in reference["between"].values())


@pytest.mark.full
def test_under_the_hard_constraint_the_law_is_c_0_and_with_fixman_c_1():
    for confine, c in (("hard", 0.0), ("hard-fixman", 1.0)):
        result = langevin_ib.run(RunConfig(confine=confine, beta=40, **SMALL | {"chains": 1024, "steps": 10_000}))
        found = result.summary["invariants"]["z"]["correction"]
        # Ten margins of a step whose bias is below one hundredth in total variation, and four standard errors.
        assert abs(found["c"] - c) < min(4 * found["se"] + 0.1, 0.45)  # nearer to its own law than to the other
        assert found["se"] < 0.12
        assert result.summary["diagnostics"]["rejected"] < 0.01


@pytest.mark.full
def test_rotation_is_proper_without_confinement_and_has_c_minus_one():
    """The slice law, of the other sign, is rejected by the same code."""
    result = langevin_ib.run(RunConfig(model="rotation", confine="none", **SMALL))
    invariant = result.summary["invariants"]["r"]
    c = invariant["correction"]
    assert abs(c["c"] + 1.0) < 4 * c["se"]
    assert c["se"] < 0.1
    assert invariant["laws"]["exact"]["p_value"] > 1e-4
    assert invariant["laws"]["slice"]["p_value"] < 1e-6
    assert result.summary["protocol"]["stationary"]
    assert result.summary["drift"] is None


@pytest.mark.full
def test_a_metric_changes_the_dynamics_and_not_the_slice_law():
    plain = langevin_ib.run(RunConfig(**SMALL))
    warped = langevin_ib.run(RunConfig(metric=(1.0, 3.0), **SMALL))
    laws = warped.summary["invariants"]["z"]["laws"]
    assert warped.plan.config.step_size != plain.plan.config.step_size
    assert laws["exact"]["p_value"] > 1e-4
    assert laws["hard"]["p_value"] < 1e-6
    assert warped.summary["protocol"]["slice"]["canonical_gap"] > 0.1
    assert any("not canonical" in line for line, _ in findings(warped))


@pytest.mark.full
def test_all_invariants_are_in_the_folder_the_table_and_the_picture(stiff, tmp_path):
    folder = save(stiff, tmp_path)
    saved = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(saved["invariants"]) == {"z_1", "z_2"}
    draws = arviz.from_netcdf(folder / "draws.nc")["posterior"]
    assert {"z_1", "z_2", "charge", "energy"} <= set(draws.data_vars)
    assert [len(rows) for rows in law_rows(stiff)] == [6, 6]
    assert len(figure(stiff).axes) == 4
    again = RunConfig.from_dict(read_settings(folder / "config.toml"))
    assert again == stiff.plan.config


@pytest.mark.full
@pytest.mark.parametrize("width", [80, 120])
def test_no_number_of_the_table_is_cut_on_a_narrow_terminal(stiff, width):
    screen = Console(width=width, record=True, file=io.StringIO())
    show(run_report(stiff), screen)
    table = "\n".join(line for line in screen.export_text().splitlines() if line.startswith(("┃", "│")))
    assert "…" not in table
    for invariant in stiff.summary["invariants"].values():
        for law in invariant["laws"].values():  # a distance is never without its error bar and its measure
            assert f"{law['tv']:.4f}" in table
            assert f"{law['tv_lower95']:.4f}–{law['tv_upper95']:.4f}" in table
            assert law["measure"] in table


@pytest.mark.full
def test_invariant_narrows_what_is_shown_and_not_what_the_law_is_conditioned_on(stiff):
    narrow = langevin_ib.run(RunConfig(model="hadamard", options={"dim": 2}, invariant=("z_2",), **SMALL))
    assert set(narrow.summary["invariants"]) == {"z_2"}
    assert narrow.summary["protocol"]["cut"] == stiff.summary["protocol"]["cut"]
    np.testing.assert_array_equal(
        narrow.summary["invariants"]["z_2"]["empirical"], stiff.summary["invariants"]["z_2"]["empirical"]
    )


@pytest.mark.full
def test_fixmans_chains_that_fall_into_the_singular_point_fail_the_run_with_the_reason():
    with pytest.raises(langevin_ib.DivergenceError, match="with Fixman's term chains fall for good"):
        langevin_ib.run(RunConfig(confine="hard-fixman", beta=2, **SMALL | {"chains": 2048, "steps": 200_000}))
