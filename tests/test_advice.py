"""What an error advises is not what was given already."""

import numpy as np
import pytest

from langevin_ib import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.wells import Minimum
from langevin_ib.runs.windows import cut_windows


@pytest.mark.full
@pytest.mark.parametrize("given", [True, False])
def test_weight_decay_is_advised_only_to_whom_has_none(given, x64):
    """A minimum from which no window follows, and where that is."""
    confine = {"confine": "weight-decay"} if given else {}
    config = RunConfig(model="matrix", options={"group": "gl", "rows": 2, "cols": 2}, **confine)
    flat = Minimum(np.array([1.0, 0.0, 0.0, 0.25]), 0.0, np.diag([0.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ConfigError, match=r"at sigma_2 = 0\.25, so no window follows") as caught:
        cut_windows(config, build_reduction(config), flat)
    assert ("or confine weight-decay" in str(caught.value)) != given
