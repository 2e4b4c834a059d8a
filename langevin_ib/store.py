"""The run folder: written under a temporary name and renamed, so a killed run leaves the old state or the new."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from langevin_ib.errors import ConfigError
from langevin_ib.findings import RunResult, run_name
from langevin_ib.plotting import figure
from langevin_ib.report import html_page

CHECKPOINTS = ".checkpoints"  # in the output folder, until the run they belong to is complete


def tidy(out: str | Path) -> None:
    """Remove the folder of checkpoints if no unfinished run has any."""
    with contextlib.suppress(OSError):
        (Path(out) / CHECKPOINTS).rmdir()


def run_folder(result: RunResult, out: str | Path) -> Path:
    """`<out>/<model>-<hash>`, the hash being that of the resolved configuration."""
    return Path(out) / f"{run_name(result.plan.config)}-{result.plan.config.digest()}"


def check_writable(out: str | Path) -> None:
    """Fail before any work if `out` cannot take a folder; leaves nothing behind.

    Raises:
        ConfigError: `out`, or the nearest folder above it that exists, is not a folder one can write into.
    """
    nearest = Path(out).absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryDirectory(dir=nearest):
            pass
    except OSError as error:
        raise ConfigError("out", "a folder that can be written", f"{out} ({error.strerror})") from None


def save(result: RunResult, out: str | Path) -> Path:
    """Write `config.toml`, `summary.json`, `draws.nc`, `histogram.png` and `report.html`; returns the folder.

    Raises:
        OSError: the folder cannot be written; what stood there before is untouched.
    """

    def fill(fresh: Path) -> None:
        (fresh / "config.toml").write_text(result.plan.config.to_toml(), encoding="utf-8")
        (fresh / "summary.json").write_text(summary_json(result.summary), encoding="utf-8")
        draws(result).to_netcdf(fresh / "draws.nc", engine="h5netcdf")
        picture = figure(result.summary)
        picture.savefig(fresh / "histogram.png", dpi=200)
        plt.close(picture)
        (fresh / "report.html").write_text(html_page(result.summary, fresh / "histogram.png"), encoding="utf-8")

    return write_folder(run_folder(result, out), fill)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Make a folder under a temporary name, have it filled, and rename it; returns it.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)
        fill(fresh)
        _replace(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def summary_json(summary: dict[str, Any]) -> str:
    """The summary as strict JSON text; a number that is not finite becomes null."""
    return json.dumps(_strict(summary), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def draws(result: RunResult) -> xr.DataTree:
    """The thinned trace with a `posterior` group, as ArviZ 0.23 and 1.x both read it."""
    config, trace = result.plan.config, result.trace
    over = " over temperature" if config.sampler == "langevin" else ""
    penalty = ", plus weight decay at the balanced point," if config.weight_decay is not None else ""
    meaning = {
        "charge": "moment map chi; the slice is chi = 0",
        "energy": f"reduced loss{over}",
        "potential": f"reduced loss{penalty}{over}: what the laws weigh",
    }
    each = ("chain", "draw")
    scalars = {name: (each, trace["value"][..., i]) for i, name in enumerate(result.plan.scalars)}
    variables = scalars | {
        "charge": ((*each, "generator"), trace["charge"], {"description": meaning["charge"]}),
        "energy": (each, trace["energy"], {"description": meaning["energy"]}),
        "potential": (each, trace["potential"], {"description": meaning["potential"]}),
    }
    chains, count = trace["energy"].shape
    posterior = xr.Dataset(
        variables,
        coords={"chain": np.arange(chains), "draw": np.arange(count)},
        attrs={
            "sampler": config.integrator or config.sampler,
            "draws": "thinned, whether or not they lie in the windows and on the slab",
            **meaning,
        },
    )
    return xr.DataTree.from_dict({"posterior": posterior})


def _replace(fresh: Path, folder: Path) -> None:
    """A rename cannot replace a folder that has content, so the old one steps aside first."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent)) / "run"
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(old.parent, ignore_errors=True)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
