"""What a run of Langevin dynamics predicts beside its draws, against them: c of the exact law, its share of the window.

Each is 3.9 standard errors off in 1e-4 of keys, chains being the unit; there are eight. The control is the same
comparison with the laws of a temperature a fifth too high, and rejects. (SGD's numbers: `test_predicted_numbers`.)
"""

import jax
import pytest
from scipy import stats

from langevin_ib import RunConfig
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.statistics.compare import p_value_of_difference, p_value_of_share
from langevin_ib.statistics.records import Absent

LEVEL = 1e-4
PROTOCOLS = {
    "stiff": {"kappa": 20.0},
    "weight decay": {"confine": "weight-decay", "weight_decay": 0.5},
    "hard": {"confine": "hard"},
    "compact": {"model": "rotation", "confine": "none"},
}


@pytest.fixture(scope="module", params=PROTOCOLS)
def drawn(request):
    config = RunConfig(chains=1024, steps=20_000, **PROTOCOLS[request.param])
    with jax.enable_x64(True):
        prepared, draws, doubts = prepare_and_draw(config)
        assert doubts == []
        hot = prepared.plan.config.replace(beta=10.0 / 1.2)
        return prepared, draws.main, prepare_and_draw(hot.replace(steps=400, chains=16, burn_in=100, thin=10))[0]


def distances(predictions, sample, name):
    """How many standard errors c and the share in the window are off."""
    c, share = predictions.coefficient(sample.statistic), predictions.share(name)
    assert not isinstance(c, Absent), c.why
    assert not isinstance(share, Absent), share.why
    window = sample.window(name)
    p = (
        p_value_of_difference(c.c - predictions.law_coefficient("exact"), c.se),
        p_value_of_share(window.counts.sum(axis=1), window.total, share),
    )
    return [float(stats.norm.isf(x / 2)) for x in p]


@pytest.mark.full
def test_c_and_the_share_in_the_window_are_those_of_the_exact_law(drawn):
    prepared, sample, hot = drawn
    (name,) = prepared.plan.scalars
    limit = stats.norm.isf(LEVEL / 2)
    assert max(distances(prepared.own, sample, name)) < limit
    assert max(distances(hot.own, sample, name)) > limit
