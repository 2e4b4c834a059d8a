"""What `draws.nc` says of a draw is what the model says of it: reduced loss, penalty, charge."""

import jax
import numpy as np
import pytest
from helpers import small_result

from langevin_ib import Result, RunConfig
from langevin_ib.dynamics.kernels.euler_maruyama import EulerMaruyamaState
from langevin_ib.ensemble.records import Schedule
from langevin_ib.output.store import draws
from langevin_ib.runs.observe import build_observer
from langevin_ib.runs.plan import Plan, build_reduction

SHAPE = (3, 7)
DECAY = {"confine": "weight-decay", "weight_decay": 0.1}
SGD = {"sampler": "sgd", "noise": "label", "lr": 0.01, "label_noise": 2.0}
CASES = {
    "stiff": {},
    "slab": {"confine": "none", "slab": 0.2},
    "weight decay": DECAY,
    "hard with Fixman's term": {"confine": "hard-fixman"},
    "SGD": SGD,
    "SGD with weight decay": {**SGD, **DECAY},
}


def traced(config: RunConfig, temperature: float) -> Result:
    """A run of some random points instead of chains."""
    reduction = build_reduction(config, temperature=temperature)
    edges = {"z": np.linspace(0.2, 2.0, 5)}
    observer = build_observer(reduction, edges, config.slab)
    points = jax.random.normal(jax.random.key(0), (*SHAPE, 2))
    states = EulerMaruyamaState(points)
    trace = jax.jit(jax.vmap(jax.vmap(lambda state: observer.traced(observer.observe(state)))))(states)
    plan = Plan(config, reduction, Schedule(0, 1, 1, (1,)), edges, (False, False))
    return small_result(plan=plan, trace=jax.tree.map(np.asarray, trace) | {"points": np.asarray(points)})


@pytest.mark.full(only=["stiff"])
@pytest.mark.parametrize("case", CASES)
def test_the_energy_of_a_draw_is_its_loss_and_the_potential_has_the_penalty_too(case, x64):
    """Up to rounding; under weight decay the two differ, so that neither can stand for the other."""
    config = RunConfig(**CASES[case])
    T = 1.0 if config.sampler == "sgd" else config.temperature
    result = traced(config, T)
    u, v = np.moveaxis(result.trace["points"], -1, 0)
    data = draws(result)["posterior"]
    loss = 0.5 * (u * v - 1.0) ** 2
    np.testing.assert_allclose(data["z"], u * v, atol=1e-12)
    np.testing.assert_allclose(data["charge"][..., 0], 0.5 * (u**2 - v**2), atol=1e-12)
    np.testing.assert_allclose(data["energy"], loss / T, atol=1e-12)
    penalty = (config.weight_decay or 0.0) * np.abs(u * v)  # λ|s|²/2, |s|² = 2|z|
    np.testing.assert_allclose(data["potential"], (loss + penalty) / T, atol=1e-12)
    for name in ("energy", "potential", "charge"):
        assert data[name].attrs["description"] == data.attrs[name]
        assert name == "charge" or ("over temperature" in data.attrs[name]) == (config.sampler == "langevin")
    assert "weight decay" not in data.attrs["energy"]
    assert ("weight decay" in data.attrs["potential"]) == (config.weight_decay is not None)
