"""Recorded runs: a path is that of its chain alone, the times are those that are said, and runaways are all counted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import trajectories
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.records import Stage
from langevin_ib.ensemble.runner import starting_points
from langevin_ib.ensemble.trajectories import BLOCK, record, record_steps, schedule_of
from langevin_ib.errors import DivergenceError
from langevin_ib.models import build_model, stack_tasks

CHAINS, STEPS = 40, 23
CASES = {
    "matrix": ({"observed": 0.6, "rank": 2}, Noise("bernoulli")),
    "uv": ({"samples": 4}, Noise("minibatch", 3, 0.1)),
}


class Runs:
    """Chains that differ by start and task, any number of them, from one key."""

    def __init__(self, name: str, dtype):
        options, noise = CASES[name]
        self.model = build_model(name, options)
        draw = self.model.training.draw_task
        self.tasks = stack_tasks([draw(np.random.default_rng([0, i])) for i in range(CHAINS)])
        self.starts = starting_points(self.model.init, jax.random.key(1), CHAINS, dtype)
        self.key, self.noise = jax.random.key(2), noise

    @property
    def kernel(self) -> Kernel:
        like, task_like = jax.tree.map(lambda leaf: leaf[0], (self.starts, self.tasks))
        return sgd(self.model, like, noise=self.noise, lr=0.02, task_like=task_like)

    def run(self, chains: int = BLOCK, rows: int = 200, **options):
        starts, tasks = jax.tree.map(lambda leaf: leaf[:chains], (self.starts, self.tasks))
        return record(
            self.kernel,
            starts,
            key=self.key,
            steps=STEPS,
            stage=Stage("test", **options),
            step_size=0.02,
            tasks=tasks,
            rows=rows,
        )


@pytest.mark.full
def test_a_path_depends_neither_on_the_number_of_chains_nor_on_that_of_rows(x64):
    """To the last bit, also where the last block is not full; with another key it is another."""
    runs = Runs("matrix", jnp.float32)
    few, one, two, three = (runs.run(chains) for chains in (5, 16, 24, 40))
    assert [found.shape[:2] for found in (few, one, two, three)] == [(n, STEPS + 1) for n in (5, 16, 24, 40)]
    for found in (few, one, two):
        np.testing.assert_array_equal(three[: len(found)], found)
    np.testing.assert_array_equal(runs.run(rows=5), one[:, record_steps(STEPS, 5)])
    runs.key = jax.random.key(3)
    other = runs.run(5)
    np.testing.assert_array_equal(other[:, 0], few[:, 0])  # starts are given
    assert np.abs(other[:, 1] - few[:, 1]).max(axis=-1).min() > 1e-3


def test_seeds_side_by_side_do_not_change_each_other(x64):
    """As above, of minibatches with label noise, whose numbers are laid out by the number of chains."""
    runs = Runs("uv", jnp.float64)
    few, many = runs.run(5), runs.run(16)
    np.testing.assert_array_equal(few, many[:5])
    assert np.abs(few[0, 1:] - many[5, 1:]).max() > 1e-3
    runs.key = jax.random.key(3)
    assert np.abs(runs.run(5)[:, -1] - few[:, -1]).max() > 1e-3


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_noise_drawn_ahead_gives_the_same_path(name, x64, monkeypatch):
    """The draws are the same, to the bit; with them rounding alone may differ. Those of the step before are others."""
    runs = Runs(name, jnp.float64)
    monkeypatch.setattr(trajectories, "AHEAD", 10**9)
    plain = runs.run()
    monkeypatch.setattr(trajectories, "AHEAD", -1)
    np.testing.assert_allclose(runs.run(), plain, rtol=0, atol=1e-12)
    assert np.abs(plain[:, 1:] - plain[:, :-1]).max() > 1e-3


@pytest.mark.full
def test_what_is_recorded_is_a_loop_of_the_kernel(x64):
    """Block b draws from fold_in(key, b), step n from fold_in of that and n; chain i has row i of its block."""
    runs, chains, rows = Runs("matrix", jnp.float64), 18, 5
    found, times = runs.run(chains, rows), record_steps(STEPS, rows)
    assert times == [0, 8, 13, 18, 23]
    for i in (0, 17):
        kernel, key = runs.kernel, jax.random.fold_in(runs.key, i // BLOCK)
        step = jax.jit(kernel.step)

        @jax.threefry_partitionable(False)
        def draw(key, chains, kernel=kernel):
            return kernel.draw(key, chains)

        start, task = jax.tree.map(lambda leaf, i=i: leaf[i], (runs.starts, runs.tasks))
        state, path = kernel.init(start, task), []
        for n in range(STEPS + 1):
            path.append(np.asarray(ravel_pytree(state.position)[0]))
            drawn = draw(jax.random.fold_in(key, n), BLOCK)  # of the second block too, which is filled up
            state, _ = step(jax.tree.map(lambda leaf, i=i: leaf[i % BLOCK], drawn), state, task)
        np.testing.assert_allclose(found[i], np.stack(path)[times], rtol=0, atol=1e-12)
        assert np.abs(found[i][1:] - np.stack(path)[times[:-1]]).max() > 1e-3  # a time that is off would show


@pytest.mark.full
def test_an_interrupted_run_goes_on_from_where_its_blocks_stood(x64, tmp_path):
    """Interrupted at half of its steps; another fingerprint is the control, of a run that begins anew."""
    runs, chains = Runs("matrix", jnp.float32), 24
    seen: list[int] = []

    def kept(run="same"):
        return Checkpoint(tmp_path / "state.npz", {"run": run}, every_s=0.0)

    def interrupt(done, total):
        if 2 * done > total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.run(chains, checkpoint=kept(), progress=interrupt, chunk_records=1)
    resumed = runs.run(chains, checkpoint=kept(), progress=lambda done, total: seen.append(done))
    np.testing.assert_array_equal(resumed, runs.run(chains))
    assert min(seen) > STEPS // 2
    seen.clear()
    other = kept("another")
    runs.run(chains, checkpoint=other, progress=lambda done, total: seen.append(done), chunk_records=1)
    assert min(seen) < STEPS // 2


def test_an_interrupt_stops_every_block(x64):
    """Of eight, at the first that has taken a step, none goes on beyond a second."""
    runs = Runs("matrix", jnp.float32)
    steps: list[int] = []

    def interrupt(done, total):
        steps.append(done)
        raise KeyboardInterrupt

    starts, tasks = jax.tree.map(lambda leaf: jnp.concatenate([leaf[:BLOCK]] * 8), (runs.starts, runs.tasks))
    with pytest.raises(KeyboardInterrupt):
        record(
            runs.kernel, starts, key=runs.key, steps=STEPS, stage=Stage("test", interrupt, 1), step_size=0.02,
            tasks=tasks,
        )  # fmt: skip
    assert len(steps) == 1
    assert steps[0] <= 1


@pytest.mark.parametrize(("steps", "rows"), [(20, 200), (200, 200), (201, 200), (1_000_003, 200), (40, 20), (7, 1)])
def test_times_end_after_all_steps_and_are_equally_spaced_but_the_first(steps, rows):
    times, plan = record_steps(steps, rows), schedule_of(steps, rows)
    assert (times[0], times[-1], plan.steps) == (0, steps, steps)
    assert 1 <= len(times) - 1 == plan.records <= rows
    assert set(np.diff(times[1:])) <= {plan.thin}
    assert plan.thin <= times[1] < 2 * plan.thin + plan.records


class State(NamedTuple):
    position: Any


class Nothing(NamedTuple):
    pass


def begin(params, task) -> State:
    del task
    return State(params)


def growth() -> Kernel:
    """θ' = 10 θ."""

    def step(noise, state: State, task):
        del noise, task
        return State(10.0 * state.position), Nothing()

    return Kernel(draw=lambda key, chains: jnp.zeros(chains), init=begin, step=step)


@pytest.mark.parametrize(
    ("starts", "diverged", "step"),
    [
        ([0.0] * 18 + [1.0, 0.0], 1, 5),  # 2 × 10⁴ is the bound; the second block alone
        ([1.0] * 3 + [0.0] * 15 + [1e-2, 1e-9], 4, 5),  # the fourth by step 7
        ([0.0] * 19 + [np.nan], 1, 1),
    ],
)
def test_runaways_of_all_blocks_are_counted_with_stage_and_first_step(starts, diverged, step, x64):
    with pytest.raises(DivergenceError) as caught:
        record(
            growth(),
            jnp.asarray(starts, jnp.float32),
            key=jax.random.key(0),
            steps=10,
            stage=Stage("leaving"),
            step_size=0.5,
        )
    error = caught.value
    assert (error.stage, error.diverged, error.chains, error.step, error.step_size) == (
        "leaving", diverged, 20, step, 0.5,
    )  # fmt: skip
    assert str(error).endswith("use a smaller lr")


def kicked() -> Kernel:
    """θ' = θ + 10⁶ in chains whose row of the block is 7 or more."""

    def step(noise, state: State, task):
        del task
        return State(state.position + noise), Nothing()

    def draw(key, chains):
        del key
        return jnp.where(jnp.arange(chains) < 7, 0.0, 1e6)

    return Kernel(draw=draw, init=begin, step=step)


def test_what_fills_a_block_up_may_run_away(x64):
    """Its random numbers are its own, and its end is nobody's; one chain more is a chain that diverged."""
    common = {"key": jax.random.key(0), "steps": 4, "stage": Stage("filled"), "step_size": 0.5}
    found = record(kicked(), jnp.zeros(7), **common)
    np.testing.assert_array_equal(found, 0.0)
    with pytest.raises(DivergenceError) as caught:
        record(kicked(), jnp.zeros(8), **common)
    assert (caught.value.diverged, caught.value.chains) == (1, 8)


def test_growth_within_bounds_is_no_divergence_and_progress_is_told(x64):
    told = []
    starts = jnp.full(17, 1.0, jnp.float32)
    found = record(
        growth(), starts, key=jax.random.key(0), steps=4,
        step_size=0.5,
        stage=Stage("staying", lambda done, total: told.append((done, total)), 1),
    )  # fmt: skip
    np.testing.assert_array_equal(found[:, :, 0], np.tile(10.0 ** np.arange(5.0), (17, 1)))
    assert told == sorted(told)  # of two blocks
    assert set(told) <= {(n, 4) for n in range(5)}
    assert told[-1] == (4, 4)


def walk() -> Kernel:
    """θ' = θ + ξ, ξ ~ N(0, 1)."""

    def step(noise, state: State, task):
        del task
        return State(state.position + noise), Nothing()

    return Kernel(draw=lambda key, chains: jax.random.normal(key, (chains,)), init=begin, step=step)


def test_chains_of_one_start_differ_by_their_draws_also_across_blocks(x64):
    """200 steps of 20 chains: |z| < 5 for 380 correlations, of pairs and their neighbours, in all but 3e-4 of keys."""
    found = record(walk(), jnp.zeros(20), key=jax.random.key(1), steps=200, stage=Stage("walk"), step_size=1.0)[:, :, 0]
    steps = np.diff(found, axis=1)
    for lag in (0, 1):
        z = steps[:, lag:] @ steps[:, : 200 - lag].T / np.sqrt(200 - lag)
        assert np.abs(z[np.triu_indices(20, 1)]).max() < 5
    assert np.diagonal(steps @ steps.T / np.sqrt(200)).min() > 5  # a chain with itself
