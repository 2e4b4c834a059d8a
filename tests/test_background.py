"""What is compiled and imported beside the main thread of a session."""

import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib import background
from langevin_ib.background import Later, compiled, imported, settle
from langevin_ib.session import Session

POINTS = jax.ShapeDtypeStruct((3,), np.float64)


def test_a_program_is_compiled_once_beside_the_main_thread_and_called_in_it():
    traced = []

    def double(x):
        traced.append(threading.current_thread())
        return 2.0 * x

    with Session().open():
        program = compiled(double, POINTS)
        assert program(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
        assert program(np.ones(3)).tolist() == [2.0, 2.0, 2.0]
    assert len(traced) == 1
    assert traced[0] is not threading.main_thread()


def test_what_tracing_raises_comes_back_at_the_call():
    with Session().open():
        program = compiled(jax.jit(lambda x: x @ jnp.ones(5)), POINTS)
        for _ in range(2):
            with pytest.raises(TypeError, match="dot"):
                program(np.ones(3))


def test_the_settings_of_a_session_hold_in_its_threads_and_its_callers_device():
    def settings():
        return jax.config.jax_enable_x64, jax.config.jax_default_prng_impl, jax.config.jax_default_device

    device = jax.devices()[-1]
    with jax.enable_x64(False), jax.default_prng_impl("rbg"), jax.default_device(device), Session().open():
        assert Later(settings).result() == (True, "threefry2x32", device)


def test_without_a_session_it_is_done_when_it_is_asked_for():
    done = []
    waiting = Later(lambda: done.append(threading.current_thread()))
    assert done == []
    assert waiting.result() is None
    assert waiting.result() is None
    assert done == [threading.main_thread()]


def test_what_waits_when_a_session_ends_is_done_when_it_is_asked_for():
    begun, go_on = threading.Event(), threading.Event()

    def hold():
        begun.set()
        return go_on.wait(60)

    with Session().open():
        holding = [Later(hold) for _ in range(background.WORKERS)]
        begun.wait(60)
        waiting = Later(threading.current_thread)
        threading.Timer(0.05, go_on.set).start()
    assert all(one.result() for one in holding)
    assert waiting.result() is threading.main_thread()


def test_an_inner_session_has_the_threads_of_the_outer():
    with Session().open():
        with Session().open():
            program = compiled(lambda x: x + 1.0, POINTS)
        assert Later(lambda: threading.current_thread().name).result().startswith("langevin_ib")
        assert program(np.zeros(3)).tolist() == [1.0] * 3


def test_modules_are_imported_in_the_background_and_one_that_is_not_there_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "imported_beside.py").write_text("import threading\nthread = threading.current_thread().name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with background.threads():
        imported("nowhere_at_all", "imported_beside")
        background._Pool.importer.shutdown()
    assert sys.modules.pop("imported_beside").thread.startswith("langevin_ib import")


def test_the_main_thread_waits_for_what_is_imported_beside_it(tmp_path, monkeypatch):
    (tmp_path / "slowly_made.py").write_text("import time\ntime.sleep(0.5)\nmade = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    settle()  # without a session, nothing
    with Session().open():
        imported("slowly_made", "no_such_module")
        settle()
        assert sys.modules["slowly_made"].made


def test_whoever_waits_for_what_was_interrupted_is_told():
    begun, heard = threading.Event(), []

    def interrupted():
        begun.set()
        threading.Event().wait(0.1)
        raise KeyboardInterrupt

    later = Later(interrupted, now=False)

    def wait_for_it():
        begun.wait()
        try:
            later.result()
        except BaseException as error:
            heard.append(type(error))

    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        later.result()
    waiting.join(5.0)
    assert heard == [KeyboardInterrupt]
