"""The folder of a run: settings, summary, draws, picture, page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from langevin_ib.output.folders import discard, png, summary_json, write, write_folder
from langevin_ib.output.histogram import figure
from langevin_ib.output.report import html_page
from langevin_ib.runs.result import Result


def run_folder(result: Result, out: str | Path) -> Path:
    """`<out>/<model>-<hash>`, the hash being that of the resolved configuration."""
    return Path(out) / result.plan.config.run_name


def save(result: Result, out: str | Path) -> Path:
    """Write `config.toml`, `summary.json`, `draws.nc`, `histogram.png` and `report.html`; returns the folder.

    The checkpoints of the run, if it kept some, are removed once the folder stands.

    Raises:
        OSError: the folder cannot be written; what stood there before is untouched, and so are the checkpoints.
    """

    def fill(fresh: Path) -> None:
        write(fresh / "config.toml", result.plan.config.to_toml())
        write(fresh / "summary.json", summary_json(result.summary))
        write(fresh / "draws.nc", draws(result).to_netcdf(engine="h5netcdf"))
        write(fresh / "histogram.png", png(figure(result)))
        write(fresh / "report.html", html_page(result, fresh / "histogram.png"))

    folder = write_folder(run_folder(result, out), fill)
    discard(result.checkpoints)
    return folder


def draws(result: Result) -> xr.DataTree:
    """The thinned trace with a `posterior` group, as ArviZ 0.23 and 1.x both read it."""
    config, trace = result.plan.config, result.trace
    over = " over temperature" if config.process.gibbs else ""
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
