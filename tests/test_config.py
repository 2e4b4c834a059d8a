"""Settings: validated once, saved and read back without loss."""

import tomllib

import pytest

from langevin_ib.config.run import RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.errors import ConfigError
from langevin_ib.runs.plan import resolve

VARIANTS = [
    {},
    {"confine": "weight-decay", "weight_decay": 0.7},
    {"confine": "none", "slab": 0.2, "steps": 4000},
    {"integrator": "mala"},
    {"integrator": "euler-maruyama", "depth": 3, "target": -2},
    {"window": (0.3, 1.7), "laws": ("slice", "exact"), "precision": 64, "step_check": False},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_toml_round_trip_keeps_everything(changes):
    config = RunConfig(**changes)
    assert RunConfig.from_dict(tomllib.loads(config.to_toml())) == config


@pytest.mark.full(but=["changes3"])
@pytest.mark.parametrize("changes", VARIANTS)
def test_a_resolved_configuration_resolves_to_itself_through_toml(changes):
    resolved = resolve(RunConfig(**changes)).config
    again = resolve(RunConfig.from_dict(tomllib.loads(resolved.to_toml()))).config
    assert again == resolved
    assert again.digest() == resolved.digest()


def test_every_setting_changes_the_digest():
    base = RunConfig()
    changes = {"beta": 11.0, "seed": 1, "bins": 41, "kappa": 99.0, "window": (0.3, 2.0), "margin": 0.02}
    digests = {base.replace(**{name: value}).digest() for name, value in changes.items()}
    assert len(digests | {base.digest()}) == len(changes) + 1


def test_integers_are_taken_where_a_real_number_is_wanted():
    assert RunConfig(beta=10) == RunConfig(beta=10.0)
    assert isinstance(RunConfig(beta=10).beta, float)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"beta": 0.0}, "beta must be a positive number, got 0.0"),
        ({"beta": "ten"}, "beta must be a positive number, got ten"),
        ({"beta": "10"}, "beta must be a positive number, got '10'"),
        ({"steps": "100"}, "steps must be a whole number from 10 to 2147483647 (or auto), got '100'"),
        ({"temperature": 0.1}, "config must be made of known settings, got 'temperature'; T is sigma²/beta: give beta"),
        ({"bta": 3.0}, "config must be made of known settings, got 'bta'; the nearest is beta; the settings are "),
        ({"chains": 3.5}, "chains must be a whole number from 16"),
        ({"kappa": 4.0, "confine": "none"}, "kappa must be left out unless confine is stiff, got 4"),
        ({"window": (2.0, 1.0)}, "window must be two finite numbers LO < HI (or auto), got 2.0 1.0"),
        (
            {"window": {"low": 0, "high": 1}},
            "window must be two finite numbers LO < HI (or auto), got {'low': 0, 'high': 1}",
        ),
        ({"laws": {"exact": 1}}, "laws must be a list of laws, got {'exact': 1}"),
        ({"invariant": {"z": 1}}, "invariant must be a list of names, got {'z': 1}"),
        ({"metric": {1: 2}}, "metric must be positive numbers, one for each parameter, got {1: 2}"),
        ({"beta": 1e-9}, "beta must be such that T"),
        ({"burn_in": 200, "steps": 200}, "burn_in must be below steps (200), got 200"),
    ],
)
def test_a_bad_value_names_the_option_what_was_wanted_and_what_came(changes, wanted):
    with pytest.raises(ConfigError) as caught:
        RunConfig(**changes)
    assert str(caught.value).startswith(wanted)


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="config must be a readable TOML file"):
        read_settings(tmp_path / "none.toml")
