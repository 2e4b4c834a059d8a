"""A run leaves the process as it found it, and says the same from wherever it is called."""

import asyncio
import hashlib
import io
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
import pytest
from rich.console import Console

import langevin_ib
from langevin_ib import ConfigError, RunConfig, devices, forks
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import runner
from langevin_ib.errors import UsageError
from langevin_ib.models import uv
from langevin_ib.output.report import run_report
from langevin_ib.output.terminal import show
from langevin_ib.session import Session
from langevin_ib.studies.config import MIN_SEEDS, AttributionConfig
from langevin_ib.studies.following import follow
from langevin_ib.studies.mechanisms import attribute
from langevin_ib.studies.orbits import follow_orbits
from langevin_ib.studies.recipes import sparse_spectrum
from langevin_ib.studies.training import Arm, recovered, train

TINY = {
    "chains": 16,
    "steps": 200,
    "burn_in": 40,
    "thin": 4,
    "bins": 4,
    "step_size": 0.002,
    "window": (0.3, 2.0),
    "laws": ("slice",),
    "reference": "none",
    "step_check": False,
}


IN_A_THREAD = ("enable_x64", "default_prng_impl", "threefry_partitionable", "numpy_rank_promotion", "default_device")


def digest(result):
    """Of every number that the chains left, to the last bit."""
    content = hashlib.sha256(repr(result.coefficient).encode())
    for values in result.trace.values():
        content.update(np.asarray(values).tobytes())
    return content.hexdigest()


def snapshot():
    """What a caller may have set, in this thread and in this process."""
    loggers = [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]
    return {
        "jax": dict(jax.config.values),
        "jax in this thread": [getattr(jax.config, f"jax_{name}") for name in IN_A_THREAD],
        "numpy": (np.geterr(), np.geterrcall(), np.get_printoptions()),
        "logging": {  # those of a library that is imported meanwhile do nothing
            log.name: (log.level, log.disabled, list(log.handlers))
            for log in loggers
            if log.level or log.disabled or log.handlers
        },
        "warnings": (list(warnings.filters), warnings.showwarning),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "paths": (list(sys.path), os.getcwd(), dict(os.environ)),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "matplotlib": {name: value for name, value in mpl.rcParams.items() if name != "backend"},
        "backend": mpl.get_backend(auto_select=False),
        "threads": set(threading.enumerate()),
    }


@pytest.fixture(scope="module")
def result():
    return langevin_ib.run(RunConfig(**TINY))


def interrupted(stage):
    if stage == "sampling":
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("settings", "report", "error"),
    [({}, None, None), ({"window": (60.0, 70.0)}, None, ConfigError), ({}, interrupted, KeyboardInterrupt)],
    ids=["success", "ConfigError", "KeyboardInterrupt"],
)
def test_a_run_leaves_everything_as_it_found_it(settings, report, error, result):
    config = RunConfig(**TINY | settings)
    before = snapshot()
    with ExitStack() as stack:
        if error is not None:
            stack.enter_context(pytest.raises(error))
        langevin_ib.run(config, report=report)
    assert snapshot() == before


def test_what_the_caller_has_set_changes_no_number_and_stays(result):
    with (
        jax.enable_x64(False),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        jax.transfer_guard("disallow"),
        np.errstate(all="raise"),
    ):
        assert digest(langevin_ib.run(RunConfig(**TINY))) == digest(result)
        assert jax.config.jax_default_prng_impl == "rbg"
        assert np.geterr()["under"] == "raise"
        assert not jax.config.jax_enable_x64


STRICT = {
    "jax_transfer_guard": "disallow",
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_default_prng_impl": "rbg",
}


@pytest.fixture
def strict():
    """Set for the process, and so for threads that a run starts: what one thread has entered is for itself alone."""
    before = {name: getattr(jax.config, name) for name in STRICT}
    for name, value in STRICT.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_what_the_process_has_set_refuses_nothing_in_the_threads_of_a_training(strict):
    with Session().open():
        problem = sparse_spectrum(2, 0, frequencies=4, points=8)
        trained = train(problem, Arm(Noise("none"), 0.01, 20), stage="training", rows=2)
        assert recovered(problem, trained.ends).shape == (2, 4)
    assert {name: getattr(jax.config, name) for name in STRICT} == STRICT


def test_a_stage_has_the_chunk_of_its_session_and_a_file_of_its_own(tmp_path):
    stage = Session(chunk_records=3, checkpoints=tmp_path).stage(RunConfig(), "check at h/2")
    assert (stage.name, stage.chunk_records, stage.progress) == ("check at h/2", 3, None)
    assert stage.checkpoint is not None
    assert stage.checkpoint.path == tmp_path / "check-at-h-2.npz"
    assert Session().stage(RunConfig(), "sampling").checkpoint is None


@pytest.mark.full
def test_what_the_process_has_set_refuses_nothing_in_the_threads_of_an_attribution(strict):
    with Session().open() as session:
        result = attribute(AttributionConfig(seeds=MIN_SEEDS, steps=20), session)
    assert result.config["steps"] == 20


def test_a_study_without_an_open_session_is_refused():
    """Its numbers would be others: in float64 they are not rounded as they are outside."""
    with pytest.raises(UsageError, match="within an open session"):
        attribute(AttributionConfig(seeds=MIN_SEEDS, steps=20), Session())
    with Session().open():
        problem = sparse_spectrum(2, 0, frequencies=4, points=8)
        trained = train(problem, Arm(Noise("none"), 0.01, 20), stage="training", rows=2)
    for refused in (
        lambda: train(problem, Arm(Noise("none"), 0.01, 20), stage="training"),
        lambda: recovered(problem, trained.ends),
        lambda: follow(problem, trained),
        lambda: follow_orbits(uv(), jax.numpy.array([[2.0, 0.5]])),
    ):
        with pytest.raises(UsageError, match="within an open session"):
            refused()


@pytest.mark.full
def test_a_default_device_of_the_caller_is_the_one_that_is_used(result):
    with jax.default_device(jax.devices()[1]):
        alone = langevin_ib.run(RunConfig(**TINY))
        assert devices.in_use() == [jax.devices()[1]]
    for name, values in alone.trace.items():
        np.testing.assert_allclose(values, result.trace[name], rtol=1e-3)


def test_threads_and_a_running_event_loop_make_the_same_numbers(result):
    """Two threads at once, and a call from within a loop, as in a notebook."""

    async def within():
        return langevin_ib.run(RunConfig(**TINY))

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(langevin_ib.run, [RunConfig(**TINY)] * 2))
    assert [digest(one) for one in (*both, asyncio.run(within()))] == [digest(result)] * 3


def test_sessions_of_two_threads_are_open_one_after_the_other():
    order, second_waits = [], threading.Event()

    def second():
        second_waits.set()
        with Session().open():
            order.append("second")

    thread = threading.Thread(target=second)
    with Session().open(), Session().open():  # one within another is the same thread's
        thread.start()
        second_waits.wait()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_idle_cores_are_said_in_the_result(monkeypatch, result):
    note = "1 of 3 cores was used: the run's 16 chains are one block of up to 256, each of which one thread takes"
    monkeypatch.setattr(runner, "usable_cores", lambda: [0, 1, 2])
    noted = langevin_ib.run(RunConfig(**TINY))
    assert (noted.run.threads, noted.to_dict()["run"]["note"]) == (1, note)
    page = io.StringIO()
    show(run_report(noted), Console(file=page, width=2000))
    assert note in page.getvalue()


def test_a_process_that_was_forked_after_jax_began_is_refused_before_the_lock(monkeypatch):
    monkeypatch.setattr(forks._Fork, "broken", True)
    lock = threading.Lock()
    monkeypatch.setattr("langevin_ib.session._Turn.lock", lock)
    with lock, pytest.raises(forks.ProcessError, match=r"^this process was forked .*, and would hang; [^\n]*$"):
        langevin_ib.run(RunConfig(**TINY))


def python(code):
    """The lines that a process of its own prints, with nothing on standard error; it can import this file."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def work(_=None):
    """A run in a process of a pool."""
    result = langevin_ib.run(RunConfig(**TINY))
    return digest(result), result


def said(result):
    """What is compared between processes."""
    return f"{digest(result)} on {result.run.threads}"


def test_to_import_and_to_configure_starts_no_jax():
    code = """
    import langevin_ib
    from langevin_ib import RunConfig, forks
    RunConfig(), RunConfig(model="relu"), RunConfig(model="hadamard", options={"dim": 2})
    RunConfig(sampler="sgd", lr=0.01, label_noise=2.0)
    print(forks.started())
    langevin_ib.run
    print(forks.started())
    """
    assert python(code) == ["False", "False"]


def test_to_ask_whether_jax_has_started_writes_nothing():
    """Another thread may start it meanwhile, with as many devices as are written then."""
    code = """
    import jax
    from langevin_ib import forks
    def both():
        return forks.started(), forks._refuses_devices(), jax.config.jax_num_cpu_devices
    print(*both())
    update, jax.config.update = jax.config.update, None
    print(forks.started())
    jax.devices()
    print(forks.started())
    jax.config.update = update
    print(*both())
    """
    assert python(code) == ["False False -1", "False", "True", "True True -1"]


@pytest.fixture(scope="module")
def fresh():
    """Of a run in the main thread of a process of its own, in which it is the first to compute anything."""
    code = """
    import scipy.sparse, scipy.special  # their import adds filters of warnings
    from test_session import *
    before = snapshot()
    result = langevin_ib.run(RunConfig(**TINY))
    after = snapshot()
    after["logging"] = {name: after["logging"].get(name) for name in before["logging"]}  # ArviZ brings one of its own
    assert [name for name in before if before[name] != after[name]] == []
    print(said(result))
    """
    (line,) = python(code)
    return line


POOLS = {
    "spawn": "pool('spawn')",
    "fork after the import of run": "langevin_ib.run, pool('fork')",
    "a second fork, after results have come back": "pool('fork'), pool('fork')",
    "thread": "thread()",
}


@pytest.mark.full
@pytest.mark.parametrize("how", POOLS)
def test_a_process_of_a_pool_and_a_thread_make_the_numbers_of_the_main_thread(how, fresh):
    code = f"""
    import multiprocessing
    from test_session import *
    def pool(kind):
        with multiprocessing.get_context(kind).Pool(2) as pool:
            for there, result in pool.map(work, range(2)):
                assert digest(result) == there
                print(said(result))
    def thread():
        with ThreadPoolExecutor(2) as pool:
            for _, result in pool.map(work, range(2)):
                print(said(result))
    if __name__ == "__main__":
        {POOLS[how]}
    """
    lines = python(code)
    assert len(lines) in (2, 4)
    assert set(lines) == {fresh}


@pytest.mark.full
def test_a_run_after_jax_has_started_is_the_same(fresh):
    code = """
    from test_session import *
    jax.numpy.zeros(1)
    print(said(langevin_ib.run(RunConfig(**TINY))))
    """
    assert python(code) == [fresh]


FORKS = {"seen by the package": "import langevin_ib", "before the package was imported": "pass"}


@pytest.mark.full
@pytest.mark.parametrize("before", FORKS)
def test_a_fork_after_jax_began_is_refused_in_one_line(before):
    code = f"""
    import os, warnings
    import jax.numpy
    {FORKS[before]}
    jax.numpy.zeros(1)
    warnings.simplefilter("ignore", RuntimeWarning)  # JAX's own, in the parent
    if child := os.fork():
        raise SystemExit(os.waitpid(child, 0)[1])
    from test_session import *
    try:
        work()
    except forks.ProcessError as error:
        print(error, flush=True)
    os._exit(0)
    """
    assert python(code) == [forks.FORKED]
