"""Blocks of chains: a chain's numbers are its own, to the last bit."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stage_of

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.increments import BATCH, FOUR_POINT, NORMAL, increments_of
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.dynamics.kernels.projected import constrained_langevin
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import accumulators, unrolled
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.records import Limit, Observer, Schedule
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.ensemble.streams import advanced, seeded, word_of
from langevin_ib.models import build_model

KEY, SCHEDULE = jax.random.key(1), Schedule(13, 7, 6, (3, 6))
KERNELS = {
    "leimkuhler-matthews": lambda model, potential, like: leimkuhler_matthews(
        potential, like, temperature=0.1, step_size=1e-3
    ),
    "euler-maruyama": lambda model, potential, like: euler_maruyama(potential, like, temperature=0.1, step_size=1e-3),
    "projected": lambda model, potential, like: constrained_langevin(
        model.loss, model.moment_map, like, temperature=0.1, step_size=1e-3
    ),
    "mala": lambda model, potential, like: mala(potential, temperature=0.1, step_size=1e-3),
    "sgd": lambda model, potential, like: sgd(model, like, noise=Noise("label", label_noise=0.5), lr=1e-2),
}


@pytest.fixture(autouse=True)
def _x64(x64):
    """Accumulators are 64-bit."""


def ensemble(name="uv", kernel="leimkuhler-matthews", source=FOUR_POINT, *, chains=7, key=KEY, **options):
    model = build_model(name)
    potential = stiff(50.0).potential(model)
    starts = starting_points(model.init, jax.random.key(0), chains, jnp.float32)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    built = KERNELS[kernel](model, potential, like)
    observer = Observer(lambda s: potential(s.position), accumulators.moments(), lambda x: {"energy": x}, chains)
    return run_ensemble(
        built.on(source), starts, observer, key=key, schedule=SCHEDULE, limit=Limit(1e-3),
        stage=stage_of("test", **options),
    )  # fmt: skip


def same(first, second, chains=None):
    """Statistics, trace, info, ends, of the first chains."""
    pairs = zip(jax.tree.leaves(first[:-1]), jax.tree.leaves(second[:-1]), strict=True)
    return all(np.array_equal(x[:chains], y[:chains]) for x, y in pairs)


CASES = [
    ("uv", "leimkuhler-matthews", FOUR_POINT),
    ("uv", "leimkuhler-matthews", NORMAL),
    ("uv", "leimkuhler-matthews", BATCH),
    ("uv", "euler-maruyama", FOUR_POINT),
    ("uv", "projected", FOUR_POINT),
    ("uv", "mala", BATCH),
    ("uv", "sgd", BATCH),
    ("matrix", "leimkuhler-matthews", FOUR_POINT),
    ("relu", "leimkuhler-matthews", FOUR_POINT),
    ("attention", "leimkuhler-matthews", NORMAL),
]


@pytest.mark.full(but=["uv-leimkuhler-matthews-four-point"])
@pytest.mark.parametrize(("name", "kernel", "source"), CASES, ids=map("-".join, CASES))
def test_a_chains_numbers_are_its_own(name, kernel, source):
    """To the last bit for any chunk, number of threads and number of chains. Another key is the control."""
    few = ensemble(name, kernel, source, threads=1)
    for chunk in (1, 2):
        assert same(few, ensemble(name, kernel, source, chunk_records=chunk))
    many = ensemble(name, kernel, source, chains=600)
    assert many.engine.threads == (2 if name == "uv" else many.engine.threads)
    assert same(few, many, 7)
    assert not same(few, ensemble(name, kernel, source, key=jax.random.key(2)))


@pytest.mark.full
@pytest.mark.parametrize("source", [FOUR_POINT, BATCH])
def test_512_and_4096_chains_in_any_chunk_on_any_number_of_devices(source):
    """1, 2 and 4 devices, where there are so many, and as many threads; three chunk sizes; to the last bit."""
    first = ensemble(source=source, chains=512, threads=1)
    for devices in {1, min(2, jax.device_count()), min(4, jax.device_count())}:
        for chunk in (1, 3, 6):
            here = {"devices": jax.devices()[:devices], "threads": devices, "chunk_records": chunk}
            assert same(first, ensemble(source=source, chains=512, **here))
        assert same(first, ensemble(source=source, chains=4096, devices=jax.devices()[:devices]), 512)


def test_chains_that_fill_no_block_use_every_thread():
    odd = ensemble(chains=4099, threads=2)
    assert odd.engine.threads == 2
    assert odd.position.shape == (4099, 2)
    assert same(ensemble(chains=3), odd, 3)


def test_steps_that_a_word_does_not_serve_whole():
    """13 + 6 · 7 steps of five to a word: the same as of one at a time, whose increments are taken in that order."""
    ends = ensemble(chains=3).position
    model = build_model("uv")
    potential = stiff(50.0).potential(model)
    starts = starting_points(model.init, jax.random.key(0), 3, jnp.float32)
    kernel = KERNELS["leimkuhler-matthews"](model, potential, starts[0])
    stream = seeded(KEY, jnp.arange(3))

    def numbers(stream):
        return np.asarray(jnp.stack(increments_of(FOUR_POINT, [word_of(stream)[:, 0]], jnp.float32)))

    state = jax.vmap(lambda p: kernel.init(p, None))(starts)
    state = state._replace(last_noise=jnp.asarray(numbers(stream)[8:].T))
    # Of the burn-in first what is no whole word, then words; of each record words, then the rest.
    for steps in (3, 5, 5, *[5, 2] * 6):
        stream = advanced(stream)
        drawn = numbers(stream)
        for s in range(5 - steps, 5):
            state, _ = jax.vmap(lambda n, x: kernel.step(n, x, None))(jnp.asarray(drawn[2 * s : 2 * s + 2].T), state)
    np.testing.assert_allclose(ends, state.position, rtol=2e-5)
    assert np.abs(ends - starts).min() > 1e-3


def test_a_step_by_vmap_takes_the_same_increments(monkeypatch):
    """As one of scalar arithmetic, to rounding."""
    scalar = ensemble().position
    monkeypatch.setattr(unrolled, "MOST", 0)
    np.testing.assert_allclose(ensemble().position, scalar, rtol=2e-5)


def interrupted_at(step):
    def interrupt(done, total):
        if done >= step:
            raise StoppedError

    return interrupt


class StoppedError(Exception):
    """Stands for a kill between two chunks."""


@pytest.mark.full(but=["uv-leimkuhler-matthews-four-point"])
@pytest.mark.parametrize(("name", "kernel", "source"), CASES[:7], ids=map("-".join, CASES[:7]))
def test_what_was_stopped_goes_on_in_other_threads_and_chunks(name, kernel, source, tmp_path):
    def kept():
        return Checkpoint(tmp_path / "state.npz", {"run": "one"}, every_s=0.0)

    whole = ensemble(name, kernel, source, chains=600)
    with pytest.raises(StoppedError):
        ensemble(
            name, kernel, source, chains=600, threads=1, chunk_records=1, checkpoint=kept(), progress=interrupted_at(30)
        )
    seen = []
    resumed = ensemble(
        name, kernel, source, chains=600, threads=3, checkpoint=kept(), progress=lambda done, _: seen.append(done)
    )
    assert seen[0] > 20
    assert same(whole, resumed)


def test_ensembles_side_by_side_do_not_change_each_other():
    alone = [ensemble(chains=300, key=jax.random.key(k)) for k in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda k: _with_x64(lambda: ensemble(chains=300, key=jax.random.key(k))), (1, 2)))
    assert all(map(same, alone, both))
    assert not same(*alone)


def _with_x64(work):
    with jax.enable_x64(True):
        return work()


def test_a_chain_that_stands_still_is_counted():
    """Steps below the spacing of floats near 10⁸ move nothing in float32; near 1 they do."""
    model = build_model("uv")
    like = jnp.zeros(2, jnp.float32)
    kernel = euler_maruyama(lambda p: 0.0 * jnp.sum(p), like, temperature=0.1, step_size=1e-3)
    starts = jnp.array([[1e8, 1e8], [1.0, 1.0]], jnp.float32)
    observer = Observer(lambda s: model.loss(s.position), accumulators.count(), lambda x: {"loss": x})
    found = run_ensemble(
        kernel.on(NORMAL), starts, observer, key=KEY, schedule=SCHEDULE, limit=Limit(1e-3), stage=stage_of("still")
    )
    assert found.still.steps.tolist() == [42, 0]


@pytest.mark.full
@pytest.mark.parametrize("source", [FOUR_POINT, BATCH])
def test_other_processes_come_to_the_same_numbers(source):
    """What travels is the program itself; to the last bit."""
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        assert same(ensemble(chains=600, source=source), ensemble(chains=600, source=source, executor=executor))
