"""Settings of plug-ins, the JSON schema, and what follows from a declaration."""

import dataclasses
import json
import pickle
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import jsonschema
import numpy as np
import odd_settings
import pytest

from langevin_ib import ConfigError, RunConfig, sim
from langevin_ib.config import extensions
from langevin_ib.config.choices import BASES, flat_settings, reconciled
from langevin_ib.config.confinements import CONFINEMENTS, ConfinementSettings, NoneSettings, StiffSettings
from langevin_ib.config.kernels import KERNELS
from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.models import ONE_COORDINATE
from langevin_ib.config.noises import NOISES
from langevin_ib.config.processes import LangevinSettings
from langevin_ib.config.settings import read_settings, setting
from langevin_ib.studies.config import AttributionConfig, from_setup

CONFIGS = [
    {},
    {"sampler": "sgd", "noise": "minibatch", "options": {"samples": 8}},
    {"model": "relu", "confine": "weight-decay", "metric": [1, 2]},
    {"confine": "none", "slab": 0.1, "invariant": ["z"], "law_draws": 20_000},
    {"confine": "hard", "window": (0.3, 1.7), "laws": ["slice"], "step_check": "no"},
    {"confine": "odd_settings:RING", "radius": 2},
    {"sampler": "odd_settings:SLOW", "friction": 2.0},
]
RING = ["--confine", "odd_settings:RING"]


@pytest.mark.parametrize("case", CONFIGS)
def test_every_configuration_is_what_its_schema_describes_and_is_read_back_from_toml_and_json(case):
    config = RunConfig(**case)
    jsonschema.validate(config.to_dict(), RunConfig.json_schema(case))
    assert RunConfig.from_dict(tomllib.loads(config.to_toml())) == config
    assert RunConfig.from_dict(json.loads(config.to_json())) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": -1},
        {"kappa": "x"},
        {"radius": 2.0},
        {"laws": []},
        {"chains": 3},
        {"window": [1]},
        {"window": {"a": 1, "b": 2}},
    ],
)
def test_the_schema_refuses_what_the_configuration_refuses(wrong):
    checker = jsonschema.Draft202012Validator(RunConfig.json_schema())
    checker.check_schema(checker.schema)
    values = RunConfig().to_dict() | wrong
    assert not checker.is_valid(values)
    with pytest.raises(ConfigError):
        RunConfig.from_dict(values)


def test_an_attribution_is_what_its_schema_describes():
    for config in (AttributionConfig(), from_setup("figure-2")):
        jsonschema.validate(config.to_dict(), AttributionConfig.json_schema())
        assert AttributionConfig(**tomllib.loads(config.to_toml())) == config


def test_a_setting_belongs_to_the_record_of_what_was_chosen_and_to_no_other():
    config = RunConfig(kappa=3.0, beta=2.0)
    assert config.confinement == StiffSettings(kappa=3.0)
    assert config.process == LangevinSettings(beta=2.0, integrator="leimkuhler-matthews")
    assert config.settings_of("kernel").adjusted is False
    assert RunConfig(confine="none").confinement == NoneSettings()
    assert (config.beta, config.kappa, config.lr, config.slab) == (2.0, 3.0, None, None)
    with pytest.raises(LookupError, match="sampler langevin chooses no noise"):
        config.settings_of("noise")
    with pytest.raises(AttributeError, match="no setting kapa"):
        _ = config.kapa
    stored = {name for name, value in vars(config).items() if value is None}
    assert stored <= {"options", "metric", "invariant", "law_draws", "from_run", "from_cyclic"}


def test_what_a_name_means_is_asked_of_its_record():
    assert {name for name, record in CONFINEMENTS.items() if record.held} == {"hard", "hard-fixman"}
    assert {name for name, record in KERNELS.items() if record.held} == {"projected"}
    assert {name for name, record in NOISES.items() if record.batched} == {"minibatch", "fresh"}


def test_a_plug_in_brings_its_settings():
    config = RunConfig(confine="odd_settings:RING", radius=2)
    assert config.confinement.radius == config.radius == 2.0
    assert config.to_dict()["radius"] == 2.0
    assert RunConfig(confine="odd_settings:RING").radius == 1.5
    assert config.digest() != config.replace(radius=3.0).digest()
    held = RunConfig(confine="odd_settings:HELD")
    assert (held.integrator, held.iterations) == ("odd_settings:SHAKE", 3)
    assert RunConfig(sampler="sgd", noise="odd_settings:SIGNS").label_noise == 0.0
    under = RunConfig(sampler="odd_settings:UNDERDAMPED", sigma=2.0, confine="hard")
    assert (under.temperature, under.friction, under.integrator) == (0.4, 0.5, "projected")
    slow = RunConfig(sampler="odd_settings:SLOW", beta=3.0)
    assert (slow.process.beta, slow.friction, slow.sigma, slow.confine) == (3.0, 0.5, None, "stiff")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"radius": 2.0}, "config must be made of known settings"),
        ({"confine": "odd_settings:RING", "radius": -1}, "radius must be a positive number, got -1"),
        ({"confine": "odd_settings:RING", "kappa": 4.0}, "kappa must be left out unless confine is stiff, got 4"),
        (
            {"confine": "odd_settings:CLASH"},
            "kappa must be a setting of StiffSettings alone, got another of ClashSettings",
        ),
        ({"confine": "odd_settings:NONE"}, "confine must be a confinement whose `settings` is a class derived from"),
        (
            {"sampler": "odd_settings:SIGNS"},
            "sampler must be a process whose `settings` is a class derived from ProcessSettings, got odd_",
        ),
        (
            {"confine": "odd_settings:SHAKE"},
            "confine must be a confinement whose `settings` is a class derived from ConfinementSettings, got odd",
        ),
        (
            {"sampler": "sgd", "noise": "odd_settings:SHAKE"},
            "noise must be a noise whose `settings` is a class derived from NoiseSettings, got odd_settings:SHAKE",
        ),
        (
            {"integrator": "odd_settings:RING"},
            "integrator must be a kernel whose `settings` is a class derived from KernelSettings, got odd_",
        ),
        (
            {"sampler": "odd_settings:DRIFTING", "confine": "stiff"},
            "confine must be none or weight-decay with sampler odd_settings:DRIFTING, got stiff",
        ),
        (
            {"sampler": "odd_settings:DRIFTING", "slab": 0.1},
            "slab must be left out with sampler odd_settings:DRIFTING, got 0.1",
        ),
        (
            {"sampler": "sgd", "confine": "odd_settings:HELD"},
            "confine must be none or weight-decay with sampler sgd, got odd_settings:HELD",
        ),
        ({"confine": "odd_settings:BARE"}, "confine must be a confinement whose `settings` is a frozen dataclass"),
        ({"confine": "odd_settings:TAKEN"}, "out must be the name of no setting, got one of TakenSettings"),
        ({"confine": "odd_settings:NOTHING"}, "confine must be an attribute of module odd_settings"),
        ({"integrator": "nowhere:KERNEL"}, "integrator must be in a module that can be imported"),
        ({"integrator": "odd_settings:SHAKE"}, "integrator must be another than odd_settings:SHAKE when confine is st"),
        ({"laws": ["exact", "nowhere:LAW"]}, "laws must be in a module that can be imported"),
        (
            {"sampler": "odd_settings:SLOW", "sigma": 2.0},
            "sigma must be left out with sampler odd_settings:SLOW, got 2",
        ),
        (
            {"sampler": "sgd", "noise": "odd_settings:SIGNS", "label_noise": 1.0},
            "label_noise must be left out with noi",
        ),
    ],
)
def test_a_fault_of_or_with_a_plug_in_is_one_line(case, message):
    with pytest.raises(ConfigError) as caught:
        RunConfig(**case)
    assert str(caught.value).startswith(message)


def test_an_attribution_takes_the_settings_of_a_noise_of_ones_own():
    config = AttributionConfig(noise="odd_settings:FLIPS", flip_rate=np.float64(0.3))
    assert (config.own.flip_rate, config.own.lanes, config.own) == (0.3, 1, odd_settings.FlipSettings(0.3, 1))
    assert AttributionConfig(model="relu", noise="odd_settings:FLIPS").own == odd_settings.FlipSettings(0.1, 8)
    assert config.to_toml().endswith("flip_rate = 0.3\nlanes = 1\n")
    assert AttributionConfig(**tomllib.loads(config.to_toml())) == config
    assert dataclasses.replace(config, steps=40).own == config.own
    assert pickle.loads(pickle.dumps(config)) == config
    others = {config.digest(), AttributionConfig(noise="odd_settings:FLIPS").digest()}
    assert len(others | {AttributionConfig(noise="odd_settings:SIGNS").digest()}) == 3
    jsonschema.validate(config.to_dict(), AttributionConfig.json_schema({"noise": "odd_settings:FLIPS"}))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config.to_dict(), AttributionConfig.json_schema())
    assert from_setup("figure-3", noise="odd_settings:FLIPS", flip_rate=0.3).own.flip_rate == 0.3


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"flip_rate": 0.3}, "config must be made of known settings"),
        ({"noise": "minibatch", "flip_rate": 0.3}, "config must be made of known settings"),
        ({"noise": "odd_settings:FLIPS", "flip": 0.3}, "config must be made of known settings"),
        ({"noise": "odd_settings:FLIPS", "flip_rate": 1}, "flip_rate must be a number from 0 to below 1, got 1"),
        ({"noise": "odd_settings:SEEDS"}, "seeds must be the name of no setting, got one of SeedsSettings"),
        ({"noise": "odd_settings:SHAKE"}, "noise must be a noise whose `settings` is a class derived from NoiseS"),
        ({"noise": "odd_settings:NOTHING"}, "noise must be an attribute of module odd_settings"),
    ],
)
def test_a_fault_of_or_with_the_noise_of_an_attribution_is_one_line(case, message):
    with pytest.raises(ConfigError) as caught:
        AttributionConfig(**case)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("noise", [None, "minibatch", "bernoulli", "odd_settings:SIGNS"])
def test_an_attribution_is_its_own_settings_unless_its_noise_has_some(noise):
    """So that TOML and digests are those of its fields alone."""
    config = AttributionConfig(noise=noise, seeds=16)
    assert config.own is None
    assert config.to_dict().keys() <= AttributionConfig.declared().keys()
    others = AttributionConfig(noise="odd_settings:FLIPS", seeds=16).to_dict()
    assert others.keys() - AttributionConfig.declared().keys() == {"flip_rate", "lanes"}


TAKEN = {
    name
    for owner in (RunConfig, ConfinementSettings)
    for name in (*dir(owner), *vars(RunConfig())["records"], "records", "_given")
    if name not in flat_settings() and not name.startswith("__")
}


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_no_setting_of_a_plug_in_is_called_as_an_attribute(name, monkeypatch):
    body = {name: setting(1.0, "taken", POSITIVE), "__annotations__": {name: float}}
    record = dataclass(frozen=True)(type("TakenSettings", (ConfinementSettings,), body))
    monkeypatch.setattr(odd_settings, "TAKEN", SimpleNamespace(settings=record))
    with pytest.raises(ConfigError) as caught:
        RunConfig(confine="odd_settings:TAKEN")
    assert str(caught.value) == f"{name} must be the name of no setting, got one of TakenSettings"


def test_what_samples_a_gibbs_measure_can_use_what_langevin_can():
    class GibbsSettings(LangevinSettings):
        """By any name."""

    class OtherSettings(LangevinSettings):
        """By any name, and of no Gibbs measure."""

        gibbs: ClassVar[bool] = False

    assert BASES["process"].gibbs  # by default
    for confinement in CONFINEMENTS.values():
        assert GibbsSettings.can_use(confinement)
        assert OtherSettings.can_use(confinement) is not confinement.gibbs_only
    assert {name for name, record in CONFINEMENTS.items() if not record.gibbs_only} == {"weight-decay", "none"}


@pytest.mark.parametrize(
    ("file", "typed", "dropped"),
    [
        # The resolved confinement is the same: what the file sets of it stays.
        ({"kappa": 50.0, "integrator": "mala"}, {"confine": "stiff"}, set()),
        ({"kappa": 50.0, "integrator": "mala"}, {"confine": "auto"}, set()),
        ({"kappa": 50.0, "integrator": "mala", "confine": "stiff"}, {"confine": "auto"}, set()),
        ({"kappa": 50.0, "integrator": "mala", "confine": "auto"}, {"confine": "stiff", "sampler": "langevin"}, set()),
        ({"sampler": "sgd", "lr": 0.1}, {"confine": "none"}, set()),
        ({"kappa": 50.0}, {"sampler": "odd_settings:UNDERDAMPED"}, set()),
        ({"kappa": 50.0}, {"beta": 3.0}, set()),
        # It is another: it goes.
        ({"kappa": 50.0, "integrator": "mala", "beta": 3.0}, {"confine": "none"}, {"kappa", "integrator"}),
        ({"confine": "none", "slab": 0.1, "integrator": "mala"}, {"confine": "auto"}, {"slab", "integrator"}),
        ({"confine": "odd_settings:RING", "radius": 2.0}, {"confine": "stiff"}, {"radius"}),
        ({"sampler": "sgd", "integrator": "mala"}, {"confine": "weight-decay"}, {"integrator"}),
        # A process, a model, and what follows from either.
        (
            {"kappa": 50.0, "integrator": "mala", "beta": 3.0, "steps": 100, "chains": 64},
            {"sampler": "sgd"},
            {"kappa", "integrator", "beta", "steps"},
        ),
        ({"confine": "none", "slab": 0.1}, {"sampler": "sgd"}, {"confine", "slab"}),
        ({"kappa": 50.0, "integrator": "mala"}, {"sampler": "odd_settings:DRIFTING"}, {"kappa", "integrator"}),
        ({"depth": 3, "metric": [1.0, 2.0], "beta": 3.0}, {"model": "relu"}, {"depth", "metric"}),
        ({"depth": 3}, {"model": "uv"}, set()),
        # What is gone has no settings, and need not be there.
        ({"confine": "gone:C", "beta": 3.0}, {"sampler": "sgd"}, {"confine", "beta"}),
        ({"sampler": "gone:P", "steps": 100}, {"sampler": "langevin"}, {"steps"}),
        ({"confine": 3, "integrator": "gone:K"}, {"confine": "stiff"}, {"integrator"}),
    ],
)
def test_what_a_file_sets_of_a_choice_stays_with_it(file, typed, dropped):
    assert file.keys() - reconciled(file, typed).keys() - typed.keys() == dropped - typed.keys()
    assert reconciled(file, typed).items() <= file.items()
    RunConfig(**(reconciled(file, typed) | typed))


def test_a_law_of_another_package_follows_those_of_this_one():
    assert RunConfig(laws=["odd_settings:BARE", "slice", "exact"]).laws == ("exact", "slice", "odd_settings:BARE")


def test_help_shows_the_options_of_a_plug_in_that_is_named_and_lists_what_can_be_chosen(capsys):
    with pytest.raises(SystemExit):
        sim.main([*RING, "--help-all"])
    text = capsys.readouterr().out
    assert "settings of --confine odd_settings:RING:" in text
    assert "radius of the ring [1.5]" in text
    with pytest.raises(SystemExit):
        sim.main(["--help-all", "--confine", "nowhere:RING"])
    text = capsys.readouterr().out
    assert "radius" not in text
    assert "    hadamard                    The Hadamard product" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--window", "1", "2", "--window", "2", "1"],
            "--window must be two finite numbers LO < HI (or auto), got 2 1",
        ),
        (["--set", "a=1", "--set", "depth=3"], "--set must be without depth"),
        (["--config", "nowhere.toml", "--confine", "stiff", "--beta", "-1"], "--beta must be a positive number"),
        ([*RING, "--radius", "-1"], "--radius must be a positive number, got -1"),
        ([*RING, "--radius", "2", "--beta", "-1"], "--beta must be a positive number, got -1"),
        (["--radius", "2"], "unrecognized arguments: --radius 2"),
        (["--config", "ring.toml", "--beta", "-1"], "--beta must be a positive number, got -1"),
        (["--config", "ring.toml", "--radius", "0"], "--radius must be a positive number, got 0"),
        (["--config", "bad.toml"], "--radius must be a positive number, got -2 (from bad.toml)"),
        (["--config", "ring.toml", "--confine", "stiff", "--beta", "-1"], "--beta must be a positive number, got -1"),
        (["--config", "nowhere.toml"], "--confine must be in a module that can be imported, got nowhere:RING"),
        (
            ["--config", "gone.toml", "--sampler", "sgd", "--lr", "-1"],
            "--lr must be a positive number (or auto), got -1",
        ),
        (["--config", "gone.toml"], "gone:C: ModuleNotFoundError: No module named 'gone' (from gone.toml)"),
        (["--config", "rate.toml", "--noise", "label"], ", got 'rate'; the settings are "),
        (["--config", "stiff.toml", "--confine", "auto", "--beta", "-1"], "--beta must be a positive number, got -1"),
        (["--config", "flawed.json"], "--config must be valid JSON, got flawed.json"),
    ],
)
def test_options_and_files_take_the_settings_of_a_plug_in(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ring.toml").write_text("confine = 'odd_settings:RING'\nradius = 2\n")
    (tmp_path / "bad.toml").write_text("confine = 'odd_settings:RING'\nradius = -2\n")
    (tmp_path / "nowhere.toml").write_text("confine = 'nowhere:RING'\n")
    (tmp_path / "flawed.json").write_text("{")
    (tmp_path / "gone.toml").write_text("confine = 'gone:C'\nbeta = 3\n")
    (tmp_path / "rate.toml").write_text("sampler = 'sgd'\nnoise = 'gone.mod:N'\nrate = 0.1\n")
    (tmp_path / "stiff.toml").write_text("kappa = 50\n")
    assert sim.main(options) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert message in line


def test_help_says_what_is_allowed(capsys):
    with pytest.raises(SystemExit):
        sim.main(["--help-all"])
    text = " ".join(capsys.readouterr().out.split())
    assert "yes, but for mala: yes, no, auto [auto]" in text
    assert f"[4096; 1024 except {', '.join(ONE_COORDINATE)}]" in text
    assert ONE_COORDINATE == ("uv", "rotation")
    says = flat_settings()["noise"].help
    assert [part.split(": ")[0] for part in says.split("; ")] == list(NOISES)


@pytest.mark.parametrize("content", ['# coding: latin-1\n"""Gr\u00f6\u00dfe."""\n'.encode("latin-1"), b"\xff\xfe\x00"])
def test_a_summary_is_read_of_any_file(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin_one.py").write_bytes(content)
    assert extensions.summary("noise", "latin_one:N") in ("Gr\ufffd\ufffde.", "")


def test_a_compiled_module_has_no_summary(tmp_path, monkeypatch):
    from importlib.machinery import EXTENSION_SUFFIXES  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    (tmp_path / f"compiled_one{EXTENSION_SUFFIXES[0]}").write_bytes(b"\x7fELF\xff\xfe")
    assert extensions.summary("noise", "compiled_one:N") == ""


@pytest.mark.parametrize(
    ("options", "absent"),
    [(["--help"], {"jax", "numpy"}), (["--beta", "-1"], {"jax", "numpy", "importlib.metadata"})],
)
def test_an_answer_waits_for_no_import_that_it_does_not_need(options, absent):
    code = (
        "import contextlib, io, sys\nfrom langevin_ib.sim import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n    main(sys.argv[1:])\n"
        f"print(*({absent!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_a_file_of_json_is_read(tmp_path):
    (tmp_path / "run.json").write_text(RunConfig(beta=3.0).to_json())
    assert RunConfig.from_dict(read_settings(tmp_path / "run.json")) == RunConfig(beta=3.0)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ConfigError, match="config must be a table of settings"):
        read_settings(tmp_path / "list.json")


def test_checks_that_are_asked_not_to_be_made_are_taken_with_every_sampler():
    """They are what happens anyway: the settings, and their digest, are those without them. Asked for, they are not."""
    quick = RunConfig(sampler="sgd", step_check=False, reference="none")
    assert quick == RunConfig(sampler="sgd")
    assert quick.digest() == RunConfig(sampler="sgd").digest()
    for asked in ({"step_check": True}, {"reference": "mala"}, {"integrator": "mala"}):
        with pytest.raises(ConfigError, match=f"{next(iter(asked))} must be left out with sampler sgd"):
            RunConfig(sampler="sgd", **asked)
