"""A finished run that goes on: its folder, found by what was asked for, and the settings of a longer run like it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.errors import ConfigError
from langevin_ib.output.folders import CONFIG
from langevin_ib.plain import JsonObject
from langevin_ib.stages import ASKED, STATE

WANTED = "a finished run of these settings"


def longer(folder: Path, steps: int) -> RunConfig:
    """The configuration of the run in a folder, with `steps` more.

    What a rule had decided is as it was, burn-in and thinning included, so that its first steps are those of that run:
    `run(longer(folder, n), extends=folder)` comes to what `run(longer(folder, n))` does.

    Raises:
        ConfigError: the run keeps no state, or so few steps make no draw.
    """
    if not any((folder / STATE).glob("*.npz")):
        raise ConfigError("extend", "a run that keeps where its chains ended", f"{folder}, which has no {STATE}/")
    config = _config_of(folder)
    if config.stretch is not None:
        name = next(iter(config.schedules))
        wanted = f"a run whose {name}_schedule has ended before its draws"
        raise ConfigError("extend", wanted, f"{folder}, where longer means that others are judged, at other values")
    steps_now, thin = (int(getattr(config, name)) for name in ("steps", "thin"))
    if steps < thin:
        raise ConfigError("extend", f"at least thin = {thin}, for one more draw", steps)
    return config.replace(steps=steps_now + steps)


def finished(config: RunConfig, out: Path) -> Path:
    """The folder of the finished run that was asked for by these settings, or that they have become by rules.

    Raises:
        ConfigError: there is none, or more than one.
    """
    name = f"{config.run_name.rpartition('-')[0]}-*"
    asked = config.to_dict()
    folders = [file.parent for file in sorted(out.glob(f"{name}/{CONFIG}"))]
    fitting = [folder for folder in folders if (folder / STATE).exists() and asked in _settings_of(folder)]
    if not fitting:
        # A run that keeps no state does not say what it was asked for: it is refused by what it lacks.
        fitting = [folder for folder in folders if _is_stateless_run(folder) and may_be(config, folder)][:1]
    if not fitting:
        raise ConfigError("extend", f"{WANTED} in {out}", "none there (without --extend this command makes it)")
    if len(fitting) > 1:
        named = ", ".join(str(folder) for folder in fitting)
        raise ConfigError("extend", f"settings of one finished run (--config RUN/{CONFIG})", f"those of {named}")
    return fitting[0]


def may_be(config: RunConfig, folder: Path) -> bool:
    """Whether the run in a folder can be what rules make of these settings: it has all that are none of theirs."""
    try:
        has = _config_of(folder).to_dict()
    except ConfigError:  # of another version, or of a plug-in that is not here
        return False
    return all(value == AUTO or has.get(name) == value for name, value in config.to_dict().items())


def _is_stateless_run(folder: Path) -> bool:
    """Whether a run is here that keeps no state; draws of one's own that were judged, which have no steps, are none."""
    with contextlib.suppress(ConfigError):
        return not (folder / STATE).exists() and "steps" in read_settings(folder / CONFIG)
    return False


def _settings_of(folder: Path) -> list[JsonObject]:
    """Those that the run in a folder was asked for by, if it says, and those that rules made of them."""
    found = []
    with contextlib.suppress(OSError, ValueError):  # a run that keeps no state
        found.append(json.loads((folder / STATE / ASKED).read_bytes()))
    with contextlib.suppress(ConfigError):  # one of another version, or of a plug-in that is not here
        found.append(_config_of(folder).to_dict())
    return found


def _config_of(folder: Path) -> RunConfig:
    return RunConfig.from_dict(dict(read_settings(folder / CONFIG)))
