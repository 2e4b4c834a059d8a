"""A finished run that goes on: its folder, found by what was asked for, and the settings of a longer run like it."""

from __future__ import annotations

from pathlib import Path

from langevin_ib.config.kinds import AUTO
from langevin_ib.config.run import RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.errors import ConfigError
from langevin_ib.output.folders import CONFIG
from langevin_ib.stages import STATE

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
    steps_now, thin = (int(getattr(config, name)) for name in ("steps", "thin"))
    if steps < thin:
        raise ConfigError("extend", f"at least thin = {thin}, for one more draw", steps)
    return config.replace(steps=steps_now + steps)


def finished(config: RunConfig, out: Path) -> Path:
    """The folder of the finished run that has these settings, whatever rules have made of those that they leave open.

    Raises:
        ConfigError: there is none, or more than one.
    """
    name = f"{config.run_name.rpartition('-')[0]}-*"
    fitting = [file.parent for file in sorted(out.glob(f"{name}/{CONFIG}")) if _fits(config, file.parent)]
    if not fitting:
        raise ConfigError("extend", f"{WANTED} in {out}", "none there (without --extend this command makes it)")
    if len(fitting) > 1:
        named = ", ".join(str(folder) for folder in fitting)
        raise ConfigError("extend", f"settings of one finished run (--config RUN/{CONFIG})", f"those of {named}")
    return fitting[0]


def _fits(config: RunConfig, folder: Path) -> bool:
    """Whether these settings, resolved, can be those of the run in a folder."""
    try:
        theirs = _config_of(folder).to_dict()
    except ConfigError:  # of another version, or of a plug-in that is not here
        return False
    ours = config.to_dict()
    return all(ours.get(name) in (AUTO, None) or ours[name] == value for name, value in theirs.items()) and (
        ours.keys() <= theirs.keys() | {name for name, value in ours.items() if value == AUTO}
    )


def _config_of(folder: Path) -> RunConfig:
    return RunConfig.from_dict(dict(read_settings(folder / CONFIG)))
