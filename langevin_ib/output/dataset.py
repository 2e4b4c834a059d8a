"""A run's thinned draws in the shape that ArviZ reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from langevin_ib.runs.result import Result

if TYPE_CHECKING:
    import xarray as xr


def draws(result: Result) -> xr.DataTree:
    """The thinned trace with a `posterior` group, as ArviZ 0.23 and 1.x both read it."""
    import xarray as xr  # noqa: PLC0415 - a page needs none

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
            "sampler": config.to_dict().get("integrator", config.sampler),
            "draws": "thinned, whether or not they lie in the windows and on the slab",
            **meaning,
        },
    )
    return xr.DataTree.from_dict({"posterior": posterior})
