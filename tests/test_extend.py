"""A finished run that goes on comes to what one longer run would have: to the last bit, or it says why not."""

import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stage_of

from langevin_ib import RunConfig, sim
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.checkpoint import Checkpoint, refusals
from langevin_ib.ensemble.records import Limit, Observer, Schedule, octaves
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.models import build_model
from langevin_ib.output.extension import finished, longer

CHAINS, BURN_IN, THIN = 70, 13, 7  # more than a block of SGD's; no whole numbers of a word of increments
KERNELS = {
    "langevin": lambda model, like: euler_maruyama(model.loss, like, temperature=0.1, step_size=1e-3),
    "sgd": lambda model, like: sgd(model, like, noise=Noise("label", label_noise=0.5), lr=1e-2, momentum=0.9),
}
SETTINGS = {"model": "uv", "chains": 64, "steps": 1300, "beta": 10.0, "reference": "none", "laws": ["slice"]}


def ensemble(kernel, records, checkpoint=None, *, rows=16, thin=THIN):
    """A short run; a trace of at most `rows` rows."""
    with jax.enable_x64(True):
        model = build_model("uv")
        keys = jax.random.split(jax.random.key(4), CHAINS)
        starts = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), jax.vmap(model.init)(keys))
        like = jax.tree.map(lambda leaf: leaf[0], starts)
        observer = Observer(
            lambda s: model.loss(s.position), accumulators.moments(), lambda x: {"loss": x, "twice": 2 * x}, 65, rows
        )
        return run_ensemble(
            KERNELS[kernel](model, like), starts, observer, key=jax.random.key(1), limit=Limit(1e-3),
            schedule=Schedule(BURN_IN, thin, records, octaves(records)), stage=stage_of("test", checkpoint=checkpoint),
        )  # fmt: skip


def same(first, second):
    """Every segment, the trace, means over steps, ends, how long chains stood."""
    pairs = zip(jax.tree.leaves(first[:-1]), jax.tree.leaves(second[:-1]), strict=True)
    return len(first.segments) == len(second.segments) and all(np.array_equal(x, y) for x, y in pairs)


# The shorter run ends at an octave, inside one, before the first, in the middle of a row of the longer one's trace.
@pytest.mark.parametrize(("kernel", "first", "second"), [
    ("langevin", 16, 40), ("langevin", 21, 40), ("langevin", 5, 9), ("langevin", 23, 150), ("sgd", 21, 40),
])  # fmt: skip
def test_a_longer_run_goes_on_to_the_last_bit(kernel, first, second, tmp_path):
    earlier, here = tmp_path / "earlier.npz", tmp_path / "here.npz"
    short = ensemble(kernel, first, Checkpoint(earlier, {"run": "one"}, kept=True))
    extended = ensemble(kernel, second, Checkpoint(here, {"run": "one"}, kept=True, earlier=earlier))
    whole = ensemble(kernel, second)
    assert same(extended, whole)
    assert not same(short, whole)
    assert refusals(tmp_path) == ()
    # It keeps where it ended, and can go on again.
    again = ensemble(kernel, second + 30, Checkpoint(tmp_path / "again.npz", {"run": "one"}, earlier=here))
    assert same(again, ensemble(kernel, second + 30))


def test_it_is_the_earlier_state_that_the_longer_run_goes_on_from(tmp_path):
    """A control: it does not take the first steps again."""
    earlier = tmp_path / "earlier.npz"
    ensemble("langevin", 16, Checkpoint(earlier, {"run": "one"}, kept=True))
    steps = []

    class Listening(Checkpoint):
        def say_resumed(self, saved, stage, step, total):
            steps.append((saved.path, step, total))

    ensemble("langevin", 40, Listening(tmp_path / "here.npz", {"run": "one"}, earlier=earlier))
    assert steps == [(earlier, BURN_IN + 16 * THIN, BURN_IN + 40 * THIN)]


@pytest.mark.parametrize(("changed", "why"), [
    ({"thin": 5}, "what it computes is no longer the same (an edited model, or other data)"),
    ({"rows": 8}, "its trace has every 2 records, this run's every 1"),
    ({"records": 12}, "its stretches end elsewhere"),
])  # fmt: skip
def test_a_state_that_does_not_fit_is_said_and_left_where_it_is(changed, why, tmp_path):
    earlier = tmp_path / "earlier.npz"
    ensemble("langevin", 16, Checkpoint(earlier, {"run": "one"}, kept=True), rows=changed.get("rows", 16))
    given = {"records": 16, "thin": THIN} | {name: value for name, value in changed.items() if name != "rows"}
    before = earlier.read_bytes()
    kept = Checkpoint(tmp_path / "here.npz", {"run": "one"}, earlier=earlier)
    assert same(ensemble("langevin", given["records"], kept, thin=given["thin"]),
                ensemble("langevin", given["records"], thin=given["thin"]))  # fmt: skip
    assert refusals(tmp_path) == (f"checkpoint {earlier} is not continued: {why}; these steps are taken anew",)
    assert earlier.read_bytes() == before


def command(out, *options):
    """The command of a small run; its exit code."""
    given = ["--model", "uv", "--chains", "64", "--laws", "slice", "--reference", "none", "--quiet"]
    return sim.main([*given, "--out", str(out), *options])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a finished run, and one with the same and its longer one."""
    alone = tmp_path_factory.mktemp("alone")
    assert command(alone, "--steps", "1300") == 0
    both = tmp_path_factory.mktemp("both") / "runs"
    shutil.copytree(alone, both)
    assert command(both, "--steps", "1300", "--extend", "700") == 0
    return alone, both


def test_the_command_goes_on_with_a_finished_run(runs, tmp_path):
    alone, both = runs
    (first,) = alone.iterdir()
    (extended,) = (folder for folder in both.iterdir() if folder.name != first.name)
    assert command(tmp_path, "--config", str(extended / "config.toml")) == 0
    (whole,) = tmp_path.iterdir()
    assert whole.name == extended.name
    assert (whole / "draws.nc").read_bytes() == (extended / "draws.nc").read_bytes()
    told, once = (json.loads((folder / "summary.json").read_text()) for folder in (extended, whole))
    assert told["config"]["steps"] == 2000
    assert {key: told[key] for key in told.keys() - {"run"}} == {key: once[key] for key in once.keys() - {"run"}}
    assert sorted((one["stage"], one["step"], one["steps"]) for one in told["run"]["resumed"]) == [
        ("check at h/2", 2600, 4000), ("sampling", 1300, 2000),
    ]  # fmt: skip
    assert (first / "summary.json").read_bytes() == (both / first.name / "summary.json").read_bytes()


def test_what_rules_had_decided_stays(runs):
    (first,) = runs[0].iterdir()
    short = RunConfig.from_dict(json.loads((first / "summary.json").read_text())["config"])
    changed = {name: (short.to_dict()[name], value) for name, value in longer(first, 700).to_dict().items()
               if short.to_dict()[name] != value}  # fmt: skip
    assert changed == {"steps": (1300, 2000)}


@pytest.mark.parametrize(("options", "said"), [
    (["--extend", "0"], "--extend must be a whole number from 1, got 0"),
    (["--extend", "1"], "--extend must be at least thin = "),
    (["--extend", "700", "--fresh"], "--extend must be left out with --fresh, which begins anew, got 700"),
    (["--steps", "1300", "--beta", "11", "--extend", "700"], "--extend must be a finished run of these settings in "),
])  # fmt: skip
def test_what_cannot_be_extended_is_said_in_one_line(options, said, runs, capsys):
    alone = runs[0]
    before = sorted(alone.rglob("*"))
    assert command(alone, *(options if "--steps" in options else ["--steps", "1300", *options])) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert sorted(alone.rglob("*")) == before


def test_of_two_that_fit_one_has_to_be_named(runs, tmp_path, capsys):
    """Two runs that were asked for alike: rules have come to another thinning, as a later version's may."""
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    (chosen,) = folder.iterdir()
    assert command(folder, "--steps", "1300", "--thin", "3") == 0
    other = next(path for path in folder.iterdir() if path.name not in (chosen.name, ".checkpoints"))
    shutil.copyfile(chosen / "state" / "asked.json", other / "state" / "asked.json")
    assert command(folder, "--steps", "1300", "--extend", "700") == 2
    error = capsys.readouterr().err
    assert "--extend must be settings of one finished run (--config RUN/config.toml), got those of " in error
    shutil.rmtree(chosen / "state")
    assert command(folder, "--config", str(chosen / "config.toml"), "--extend", "700") == 2
    assert "--extend must be a run that keeps where its chains ended" in capsys.readouterr().err


def test_settings_that_were_not_asked_for_are_those_of_another_run(runs, tmp_path, capsys):
    """What a rule or a default leaves open is not what somebody has set."""
    (theirs,) = runs[0].iterdir()
    folder = tmp_path / "runs"
    assert command(folder, "--steps", "1300", "--thin", "3", "--metric", "4", "1") == 0
    assert command(folder, "--steps", "1300", "--extend", "700") == 2
    assert "--extend must be a finished run of these settings in" in capsys.readouterr().err
    assert finished(RunConfig.from_dict(json.loads((theirs / "state" / "asked.json").read_text())), runs[0]) == theirs
    assert finished(RunConfig.from_dict(longer(theirs, 700).to_dict() | {"steps": 1300}), runs[0]) == theirs


def test_of_a_run_without_a_state_that_is_said_and_not_that_there_is_none(runs, tmp_path, capsys):
    """As `result.save()` writes it; typed settings find it, and others do not."""
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    (chosen,) = folder.iterdir()
    shutil.rmtree(chosen / "state")
    assert command(folder, "--steps", "1300", "--extend", "700") == 2
    said = f"--extend must be a run that keeps where its chains ended, got {chosen}, which has no state/"
    assert said in capsys.readouterr().err
    assert command(folder, "--steps", "1300", "--kappa", "3", "--extend", "700") == 2
    assert "--extend must be a finished run of these settings in" in capsys.readouterr().err


def test_draws_that_were_judged_are_no_candidates(runs, tmp_path, capsys):
    """They have the settings of a run and no steps: they hide no run, and are none."""
    folder = tmp_path / "runs"
    shutil.copytree(runs[0], folder)
    (chosen,) = folder.iterdir()
    judged = [folder / f"uv-{name * 8}" for name in "abc"]
    config = (chosen / "config.toml").read_text()
    for each in judged:
        each.mkdir()
        (each / "config.toml").write_text(re.sub(r"(?m)^(steps|burn_in|thin|step_size) = .*\n", "", config))
    asked = RunConfig.from_dict(json.loads((chosen / "state" / "asked.json").read_text()))
    assert finished(asked, folder) == chosen
    shutil.rmtree(chosen)
    assert command(folder, "--steps", "1300", "--extend", "700") == 2
    assert f"--extend must be a finished run of these settings in {folder}, got none there" in capsys.readouterr().err


def test_a_state_that_is_gone_is_said(tmp_path):
    earlier = tmp_path / "earlier.npz"
    ensemble("langevin", 16, Checkpoint(tmp_path / "here.npz", {"run": "one"}, earlier=earlier))
    assert refusals(tmp_path) == (
        f"checkpoint {earlier} is not continued: it is not there; these steps are taken anew",
    )
