"""From a configuration to a verdict: small runs, right and wrong laws judged by the same code."""

import json
import math

import arviz
import numpy as np
import pytest
import xarray as xr

import langevin_ib
from langevin_ib import Result, RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.output.folders import summary_json
from langevin_ib.output.store import save

SMALL = {"chains": 1024, "steps": 30_000, "reference": "none", "step_check": False, "margin": 0.02}
TIMES = ("wall_s", "total_wall_s", "chain_steps_per_s")


def numbers(result: Result) -> dict:
    summary = json.loads(summary_json(result.summary))
    return {**summary, "run": {k: v for k, v in summary["run"].items() if k not in TIMES}}


@pytest.fixture(scope="module")
def stiff() -> Result:
    return langevin_ib.run(RunConfig(**SMALL, kappa=20.0))


@pytest.fixture(scope="module")
def unconfined() -> Result:
    return langevin_ib.run(RunConfig(**SMALL, confine="none", slab=0.1))


def test_stiff_confinement_obeys_the_exact_law_and_no_other(stiff):
    """p > 1e-4 for the true law fails in 1e-4 of keys; the wrong laws are the negative control."""
    laws = stiff.summary["invariants"]["z"]["laws"]
    assert laws["exact"]["p_value"] > 1e-4
    assert laws["exact"]["verdict"] == "agrees"
    for name in ("hard", "pushforward", "printed", "naive"):
        assert laws[name]["p_value"] < 1e-6
        assert laws[name]["verdict"] == "differs"


def test_c_is_the_one_that_the_exact_law_has_in_this_window(stiff):
    invariant = stiff.summary["invariants"]["z"]
    c = invariant["correction"]
    assert abs(c["c"] - invariant["laws"]["exact"]["c"]) < 4 * c["se"]  # a true law fails this in 6e-5 of keys
    assert c["se"] < 0.05
    assert [invariant["laws"][name]["c"] for name in ("slice", "hard", "pushforward")] == pytest.approx([1, 0, -1])


@pytest.mark.full
def test_weight_decay_obeys_the_bessel_law_and_not_the_slice_law():
    result = langevin_ib.run(RunConfig(**SMALL, confine="weight-decay", weight_decay=0.3))
    laws = result.summary["invariants"]["z"]["laws"]
    assert laws["exact"]["p_value"] > 1e-4
    assert laws["exact"]["verdict"] == "agrees"
    assert laws["slice"]["p_value"] < 1e-6
    assert laws["naive"]["verdict"] == "differs"


@pytest.mark.full
def test_unconfined_the_slab_obeys_the_slice_law_and_the_marginal_drifts(unconfined):
    summary = unconfined.summary
    laws, c = summary["invariants"]["z"]["laws"], summary["invariants"]["z"]["correction"]
    assert laws["exact"]["p_value"] > 1e-4
    assert laws["printed"]["p_value"] < 1e-6
    assert abs(c["c"] - laws["exact"]["c"]) < 4 * c["se"]
    assert summary["drift"]["stationary"] is False
    assert summary["protocol"]["stationary"] is False
    stretches = summary["drift"]["stretches"]
    first, last = stretches[0], stretches[-1]
    fall = first["correction"]["c"] - last["correction"]["c"]
    assert fall > 4 * math.hypot(first["correction"]["se"], last["correction"]["se"])
    assert last["charge_rms"] > 2 * first["charge_rms"]
    assert summary["reference"] is None


@pytest.mark.full
def test_the_same_seed_gives_the_same_numbers_for_any_chunk():
    config = RunConfig(chains=64, steps=4000, burn_in=500, step_check=False)
    first, again, chunked = (langevin_ib.run(config, chunk_records=n) for n in (None, None, 3))
    assert numbers(first) == numbers(again) == numbers(chunked)
    other = langevin_ib.run(config.replace(seed=1))
    assert numbers(other)["invariants"] != numbers(first)["invariants"]


def test_the_saved_folder_is_complete_readable_and_reruns(stiff, tmp_path):
    folder = save(stiff, tmp_path / "new" / "place")
    names = {"config.toml", "summary.json", "draws.nc", "histogram.png", "report.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert RunConfig.from_dict(read_settings(folder / "config.toml")) == stiff.plan.config
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["schema_version"] == 5
    assert sum(summary["invariants"]["z"]["empirical"]) == pytest.approx(1)
    with xr.open_datatree(folder / "draws.nc", engine="h5netcdf") as tree:
        z = tree["posterior"]["z"]
        assert z.dims == ("chain", "draw")
        np.testing.assert_array_equal(z, stiff.trace["value"][..., 0])
    assert "c = " in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.full
def test_arviz_reads_the_draws(stiff, tmp_path):
    folder = save(stiff, tmp_path)
    data = arviz.from_netcdf(folder / "draws.nc")
    assert (
        float(arviz.rhat(data.posterior.to_dataset() if hasattr(data.posterior, "to_dataset") else data.posterior)["z"])
        < 1.2
    )


@pytest.mark.full
def test_saving_again_replaces_the_run_and_a_failure_leaves_it(stiff, tmp_path, monkeypatch):
    folder = save(stiff, tmp_path)
    (folder / "marker").touch()
    assert save(stiff, tmp_path) == folder
    assert not (folder / "marker").exists()
    before = sorted(path.name for path in folder.iterdir())

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr("langevin_ib.output.store.page", broken)
    with pytest.raises(OSError, match="disk full"):
        save(stiff, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.full
def test_a_step_that_is_too_large_withholds_every_verdict():
    result = langevin_ib.run(
        RunConfig(chains=2048, steps=20_000, kappa=20.0, integrator="euler-maruyama", step_size=0.018,
                  step_check=True, reference="none")
    )  # fmt: skip
    assert result.summary["diagnostics"]["step_check"]["verdict"] == "differs"
    assert {law["verdict"] for law in result.summary["invariants"]["z"]["laws"].values()} == {"undecided"}
    assert "smaller step_size" in result.summary["doubts"][0]


@pytest.mark.full
def test_draws_that_contradict_the_reference_get_no_verdict():
    """A step that is given, too large and not checked at h/2: MALA is there to say so."""
    result = langevin_ib.run(
        RunConfig(chains=1024, steps=20_000, kappa=20.0, integrator="euler-maruyama", step_size=0.018, step_check=False)
    )  # fmt: skip
    assert result.summary["reference"]["verdict"] == "differs"
    assert {law["verdict"] for law in result.summary["invariants"]["z"]["laws"].values()} == {"undecided"}
    assert any("MALA differ" in doubt for doubt in result.summary["doubts"])


@pytest.mark.full
def test_mala_is_a_sampler_like_the_others():
    result = langevin_ib.run(RunConfig(chains=512, steps=12_000, integrator="mala", reference="none", kappa=20.0))
    laws = result.summary["invariants"]["z"]["laws"]
    assert laws["exact"]["p_value"] > 1e-4
    assert laws["printed"]["p_value"] < 1e-6
    assert result.summary["diagnostics"]["acceptance"] == pytest.approx(0.57, abs=0.03)
