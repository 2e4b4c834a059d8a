"""Bins against the roundings of the chains' numbers: refused where these would show in a histogram."""

import dataclasses

import numpy as np
import pytest

from langevin_ib import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.laws import Reduction
from langevin_ib.models import uv
from langevin_ib.runs.plan import build_reduction, resolve
from langevin_ib.runs.processes import sgd
from langevin_ib.runs.steps import check_spacing

FAR = {"target": 30_000.0, "beta": 100.0, "kappa": 1.0, "window": (29_999.6, 30_000.4)}
POINT = np.array([[1.0]])


@pytest.mark.full
def test_bins_of_a_few_roundings_ask_for_64_bits_with_both_numbers(x64):
    with pytest.raises(ConfigError) as caught:
        resolve(RunConfig(**FAR))
    assert caught.value.option == "precision"
    assert "a bin of z is 0.02 wide, 10 roundings of 0.002 in float32" in str(caught.value)
    assert resolve(RunConfig(**FAR, precision=64)).config.precision == 64
    narrow = {"z": 30_000.0 + np.linspace(-1e-9, 1e-9, 5)}
    with pytest.raises(ConfigError, match="window must be wider, or in fewer bins: a bin of z is"):
        check_spacing(RunConfig(precision=64), build_reduction(RunConfig(**FAR)), np.array([[30_000.0]]), narrow)


@pytest.mark.parametrize("margin", [0.01, 0.002])
def test_the_bound_is_a_tenth_of_the_margin(margin, x64):
    """Values on a lattice of spacing δ, in bins of every width above the bound, are off by less than margin/10."""
    config, spacing = RunConfig(margin=margin), float(np.spacing(np.float32(1.0)))
    reduction, bins = build_reduction(config), 8
    for widths in (0.98, 1.02):  # of the bound, on either side
        width = widths * 0.5 / (0.1 * margin) * spacing
        edges = {"z": 1.0 + width * (np.arange(bins + 1) - bins / 2)}
        if widths < 1.0:
            with pytest.raises(ConfigError, match="precision must be 64 here"):
                check_spacing(config, reduction, POINT, edges)
            continue
        check_spacing(config, reduction, POINT, edges)
        check_spacing(config.replace(precision=64), reduction, POINT, edges)
        for offset in np.linspace(0.0, 1.0, 11):
            lattice = (np.arange(np.floor(-bins * width / spacing), bins * width / spacing) + offset) * spacing
            counts = np.histogram(1.0 + lattice, edges["z"])[0]
            assert 0.5 * np.abs(counts / counts.sum() - 1.0 / bins).sum() < 0.1 * margin


def test_each_of_several_scalars_has_its_own_spacing(x64):
    config, bins = RunConfig(model="hadamard"), np.linspace(-0.01, 0.01, 41)
    reduction = build_reduction(config)
    point = np.full((1, reduction.chart.dim), 500.0)
    point[0, 0] = 1.0
    check_spacing(config, reduction, point, {"z_1": 1.0 + bins})
    with pytest.raises(ConfigError, match="a bin of z_2 is"):
        check_spacing(config, reduction, point, {"z_1": 1.0 + bins, "z_2": 500.0 + bins})


def test_the_parameters_roundings_count_too(x64):
    """z = uv − 10⁴ is small, and no finer for that: u and v are of size 100."""
    config, plain, shift = RunConfig(), uv(), 1e4
    shifted = dataclasses.replace(
        plain,
        invariants=lambda params: {"z": plain.invariants(params)["z"] - shift},
        section=lambda found: plain.section({"z": found["z"] + shift}),
    )
    edges, confinement = {"z": np.linspace(-1.0, 1.0, 41)}, build_reduction(config).confinement
    check_spacing(config, Reduction(plain, confinement, 0.1), np.array([[0.5]]), edges)
    with pytest.raises(ConfigError, match=r"precision must be 64 here: a bin of z is 0\.05 wide, 51 roundings of"):
        check_spacing(config, Reduction(shifted, confinement, 0.1), np.array([[0.5]]), edges)


@pytest.mark.full
def test_sgd_is_asked_too(x64):
    settings = {"sampler": "sgd", "noise": "label", "label_noise": 3.0, "lr": 1e-6, "target": 3000.0, "steps": 20_000}
    with pytest.raises(ConfigError, match=r"precision must be 64 here: a bin of z is 0\.005 wide"):
        sgd.resolve_descent(RunConfig(**settings, window=(2999.9, 3000.1)), lambda name: {})
