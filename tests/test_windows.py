"""Windows by rule: the quadratic rule of many coordinates is that of one, and what it cannot decide is refused."""

import numpy as np
import pytest
import scipy.signal

from langevin_ib.config.run import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.wells import _dips, minimum
from langevin_ib.runs.windows import cut_windows, quantile_window, scalar_window

pytestmark = pytest.mark.usefixtures("x64")


def windows_of(**settings):
    config = RunConfig(model="hadamard", **settings)
    reduction = build_reduction(config)
    return cut_windows(config, reduction, minimum(reduction))


@pytest.mark.full
def test_each_coordinate_of_a_separable_quadratic_loss_has_the_window_of_uv_with_its_target():
    config = RunConfig(model="hadamard")
    reduction = build_reduction(config)
    lowest = minimum(reduction)
    found = cut_windows(config, reduction, lowest)
    for name, target in zip(found, lowest.x, strict=True):
        uv = RunConfig(target=float(target))
        assert found[name] == pytest.approx(scalar_window(uv, build_reduction(uv))[1], rel=2e-3)


def test_a_given_window_is_taken_for_the_scalar_that_is_named_and_no_other():
    found, rule = windows_of(invariant=("z_2",), window=(0.5, 1.5)), windows_of()
    assert found["z_2"] == (0.5, 1.5)
    assert found["z_1"] == rule["z_1"]


@pytest.mark.full
def test_a_window_without_the_minimum_and_a_flat_loss_are_refused():
    with pytest.raises(ConfigError, match="window must be around the minimum of the reduced loss, z_2 = "):
        windows_of(invariant=("z_2",), window=(2.5, 3.0))
    with pytest.raises(ConfigError, match="it is flat there"):
        windows_of(options={"dim": 3, "rows": 2, "operator": "random"})


def test_the_quantile_window_reaches_as_far_as_the_furthest_law():
    values = np.linspace(0.0, 10.0, 10_001)
    low, high = np.where(values < 2, 1.0, 0.0), np.where(values > 8, 1.0, 0.0)
    assert quantile_window(values, [low, high], (0.0, np.inf)) == pytest.approx((0.01, 9.99), abs=2e-3)
    assert quantile_window(values, [high], (0.0, np.inf))[0] > 8.0


@pytest.mark.parametrize("depth", [0.01, 0.5, 2.0])
def test_minima_of_a_loss_on_a_grid_are_scipys_peaks_of_its_negative_between_walls(depth):
    random = np.random.default_rng(0)
    found = 0
    for round_to in (0, 12):  # with stretches of equal numbers, and without
        for length in (*range(1, 8), *random.integers(8, 60, size=200)):
            energies = np.round(3.0 * random.normal(size=length), round_to)
            energies[random.random(length) < 0.1] = np.inf
            walled = np.minimum(np.concatenate([[np.inf], energies, [np.inf]]), 1e300)
            wanted = scipy.signal.find_peaks(-walled, prominence=depth)[0] - 1
            assert _dips(energies, depth).tolist() == wanted.tolist()
            found += len(wanted)
    assert found > 1000
