"""The runner: paths, chunks and devices; divergence; what is kept."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stage_of

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble.accumulators import moments
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.errors import DivergenceError
from langevin_ib.models import uv


class Walker(NamedTuple):
    """A chain, and the way that it has come."""

    position: jax.Array
    travelled: jax.Array


class Nothing(NamedTuple):
    """A step has nothing to report."""


MODEL = uv()
POTENTIAL = stiff(10.0).potential(MODEL)


@pytest.fixture(autouse=True)
def _x64(x64):
    """The runner's accumulators are 64-bit."""


def observer():
    part = moments()
    return Observer(lambda state: MODEL.invariants(state.position)["z"], part, lambda z: {"z": z})


def sample(kernel, chains=64, schedule=None, dtype=jnp.float32, tasks=None, **options):
    starts = starting_points(MODEL.init, jax.random.key(1), chains, dtype)
    return run_ensemble(
        kernel, starts, observer(), key=jax.random.key(2), schedule=schedule or Schedule(30, 3, 40, (20, 40)),
        limit=Limit(0.005, lambda p: POTENTIAL(p) > 1e6), stage=stage_of("sampling", **options), tasks=tasks,
    )  # fmt: skip


def langevin(h=0.005, build=leimkuhler_matthews):
    return build(POTENTIAL, jnp.zeros(2, jnp.float32), temperature=0.1, step_size=h)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.full
@pytest.mark.parametrize("kernel", [langevin(), mala(POTENTIAL, temperature=0.1, step_size=0.01)])
def test_numbers_do_not_depend_on_the_chunk(kernel):
    whole, pieces = sample(kernel, chunk_records=40), sample(kernel, chunk_records=7)
    assert_same(whole.segments, pieces.segments)
    assert_same(whole.trace, pieces.trace)
    assert_same(whole.info, pieces.info)


@pytest.mark.full
def test_segments_are_disjoint_and_complete():
    result = sample(langevin())
    assert [int(segment.n[0]) for segment in result.segments] == [20, 20]
    means = np.mean([segment.mean for segment in result.segments], axis=0)
    np.testing.assert_allclose(means, result.trace["z"].mean(axis=1), rtol=1e-5)


@pytest.mark.full(but=["634"])
@pytest.mark.parametrize("records", [40, 513, 634, 1300])
def test_the_trace_is_capped_has_no_empty_row_and_the_statistics_are_not_capped(records):
    result = sample(langevin(), schedule=Schedule(0, 1, records, (records,)))
    rows = result.trace["z"].shape[1]
    assert 256 < rows <= 512 or rows == records
    assert np.all(result.trace["z"] != 0)
    assert int(result.segments[0].n[0]) == records


def test_a_diverging_step_names_the_step_and_the_number_of_chains():
    with pytest.raises(
        DivergenceError, match=r"sampling: \d+ of 64 chains diverged, .* by step \d+ \(chain \d+, block 0\)"
    ) as caught:
        sample(langevin(h=0.3))
    assert 0 < caught.value.diverged <= 64
    assert 0 < caught.value.step <= 30  # already in the burn-in, not at the end


def test_one_bad_chain_among_many_fails_the_run():
    def poisoned(params):
        return POTENTIAL(params) + jnp.where(params[0] > 1.99, jnp.inf, 0.0)

    kernel = euler_maruyama(poisoned, jnp.zeros(2, jnp.float32), temperature=0.1, step_size=0.005)
    starts = jnp.tile(jnp.array([1.0, 1.0], jnp.float32), (64, 1)).at[7].set(jnp.nan)
    with pytest.raises(DivergenceError) as caught:
        run_ensemble(
            kernel, starts, observer(), key=jax.random.key(2), schedule=Schedule(0, 3, 40, (40,)),
            limit=Limit(0.005), stage=Stage("sampling"),
        )  # fmt: skip
    assert (caught.value.diverged, caught.value.step) == (1, 3)


@pytest.mark.full
def test_one_bad_chain_among_copies_is_counted_once():
    kernel = langevin()
    starts = jnp.tile(jnp.array([1.0, 1.0], jnp.float32), (17, 1)).at[0].set(jnp.nan)
    with pytest.raises(DivergenceError) as caught:
        run_ensemble(
            kernel, starts, observer(), key=jax.random.key(2), schedule=Schedule(0, 3, 40, (40,)),
            limit=Limit(0.005), stage=Stage("sampling"),
        )  # fmt: skip
    assert (caught.value.diverged, caught.value.chains) == (1, 17)


def test_a_schedule_that_does_not_end_where_it_says_is_refused():
    with pytest.raises(ValueError, match="segments"):
        Schedule(0, 1, 10, (5, 9))


def pulled(noise, state, task):
    """θ' = θ + (task − θ)/10 + ξ/100; a chain remembers how far it has come in all."""
    move = 0.1 * (task - state.position) + 0.01 * noise
    return Walker(state.position + move, state.travelled + jnp.sum(jnp.abs(move))), Nothing()


PULLED = Kernel(
    draw=lambda key, chains: jax.random.normal(key, (chains, 2), jnp.float32),
    init=lambda params, task: Walker(params, jnp.zeros((), params.dtype)),
    step=pulled,
)


def walk(tasks, **options):
    """Chains of one start that are pulled to their tasks, and the way that they have come."""
    return run_ensemble(
        PULLED, jnp.zeros((len(tasks), 2), jnp.float32),
        Observer(lambda state: state.travelled, moments(), lambda travelled: {"travelled": travelled}),
        key=jax.random.key(2), schedule=Schedule(0, 3, 20, (20,)),
        limit=Limit(0.1), stage=stage_of("walk", **options), tasks=tasks,
    )  # fmt: skip


def targets(chains):
    return np.random.default_rng(0).normal(size=(chains, 2)).astype(np.float32)


@pytest.mark.full
@pytest.mark.parametrize("ahead", [False, True])
def test_a_path_depends_on_its_own_task_only(ahead):
    """Two tasks exchanged change the paths of these two chains and no bit of any other's."""
    tasks = targets(8)
    swapped = tasks.copy()
    swapped[[2, 5]] = tasks[[5, 2]]
    before, after = (walk(x, ahead=ahead) for x in (tasks, swapped))
    same = np.all(before.trace["travelled"] == after.trace["travelled"], axis=1)
    assert np.flatnonzero(~same).tolist() == [2, 5]
    assert np.abs(before.position - after.position)[[2, 5]].max() > 0.1
    assert np.abs(before.position - tasks).max() < 0.2  # each has come to its own


@pytest.mark.full
def test_chains_with_tasks_are_the_same_in_any_number_of_threads():
    """Statistics, trace and state to the last bit. The control: tasks moved on by one chain."""
    tasks = targets(17)
    single, three = (walk(tasks, threads=n, width=4) for n in (1, 3))
    assert (single.engine.threads, three.engine.threads) == (1, 3)
    for first, second in zip(single[:-1], three[:-1], strict=True):
        assert_same(first, second)
    assert three.position.shape == (17, 2)
    shifted = walk(np.roll(tasks, 1, axis=0), width=4)
    assert np.all(np.any(shifted.trace["travelled"] != three.trace["travelled"], axis=1))


def test_an_observer_sees_what_a_kernel_remembers():
    """The way is that of all steps, also of those between two records, and longer than the distance."""
    result = walk(targets(4))
    assert np.all(np.diff(result.trace["travelled"], axis=1) > 0)
    assert np.all(result.trace["travelled"][:, -1] > np.abs(result.position).sum(axis=1))


@pytest.mark.full
def test_a_checkpoint_of_other_tasks_is_not_used(tmp_path):
    """It is where they are the same."""
    tasks, seen = targets(4), {}
    for name, later in {"same": tasks, "other": 2.0 * tasks}.items():
        checkpoint = Checkpoint(tmp_path / f"{name}.npz", {}, every_s=0.0)
        with pytest.raises(StoppedError):
            walk(tasks, chunk_records=4, checkpoint=checkpoint, progress=interrupt_at(36))
        steps = []
        resumed = walk(
            later, chunk_records=4, checkpoint=checkpoint, progress=lambda done, _, steps=steps: steps.append(done)
        )
        assert_same(resumed.segments, walk(later).segments)
        seen[name] = steps[0]
    assert seen["same"] > 12 == seen["other"]


@pytest.mark.parametrize("kernel", [langevin(), mala(POTENTIAL, temperature=0.1, step_size=0.01)])
def test_a_kernel_of_one_potential_takes_no_tasks(kernel):
    with pytest.raises(ValueError, match="takes no tasks"):
        sample(kernel, chains=4, tasks=targets(4))


def interrupt_at(step):
    def interrupt(done, total):
        if done >= step:
            raise StoppedError

    return interrupt


class StoppedError(Exception):
    """Stands for a kill between two chunks."""


@pytest.mark.full
@pytest.mark.parametrize("kernel", [langevin(), mala(POTENTIAL, temperature=0.1, step_size=0.01)])
@pytest.mark.parametrize(("stop_at", "chunk"), [(30, 4), (60, 20), (90, 8), (120, 1)])
def test_a_killed_run_resumes_to_the_same_numbers(kernel, stop_at, chunk, tmp_path):
    def interrupt(done, total):
        if done >= stop_at:
            raise StoppedError

    def checkpoint():
        return Checkpoint(tmp_path / "stage.npz", {"run": "same"}, every_s=0.0)

    whole = sample(kernel, chunk_records=6)
    with pytest.raises(StoppedError):
        sample(kernel, chunk_records=6, checkpoint=checkpoint(), progress=interrupt)
    seen = []
    resumed = sample(
        kernel, chunk_records=chunk, checkpoint=checkpoint(), progress=lambda done, total: seen.append(done)
    )
    assert_same(whole.segments, resumed.segments)
    assert_same(whole.trace, resumed.trace)
    assert_same(whole.info, resumed.info)
    if stop_at > 30:
        assert seen[0] > 30  # it did not begin again


@pytest.mark.full
def test_a_checkpoint_of_another_run_is_not_used(tmp_path):
    path = tmp_path / "stage.npz"
    sample(langevin(), checkpoint=Checkpoint(path, {"run": "another"}, every_s=0.0))
    assert path.exists()
    seen = []
    sample(langevin(), checkpoint=Checkpoint(path, {"run": "this"}), progress=lambda done, total: seen.append(done))
    assert seen[0] == 30
    path.write_bytes(b"PK damaged")
    assert_same(sample(langevin(), checkpoint=Checkpoint(path, {"run": "this"})).segments, sample(langevin()).segments)
