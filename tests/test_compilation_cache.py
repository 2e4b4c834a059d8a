"""Compiled programs are kept in a folder of the user's, as long as a session is open, and nobody is told."""

import os
import subprocess
import sys
from collections import Counter, namedtuple
from pathlib import Path

import jax
import jax.monitoring
import pytest

from langevin_ib import compilation_cache
from langevin_ib.cli.run import build_parser
from langevin_ib.compilation_cache import VARIABLE, folder, persistent_cache, tidy
from langevin_ib.session import Session

HITS, MISSES = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"
EVENTS = Counter()
jax.monitoring.register_event_listener(lambda name, **_: EVENTS.update([name]))

SETTINGS = (*compilation_cache.SETTINGS, "jax_compilation_cache_dir")


def program(number):
    """A function that has not been compiled in this process, equal to every other of this number."""
    return jax.jit(lambda x: x * 3.0 + float(number))


def compiled(number):
    """How many entries were read and written when it was compiled once more."""
    before = Counter(EVENTS)
    program(number)(1.0)
    after = EVENTS - before
    return after[HITS], after[MISSES]


def set_of_jax():
    return {name: getattr(jax.config, name) for name in SETTINGS}


@pytest.fixture(autouse=True)
def no_cache():
    """None outside of sessions; the other tests have one."""
    before = set_of_jax()
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.persistent.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.persistent.reset_cache()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "programs"))
    return tmp_path / "programs"


def entries(place):
    return sorted(place.glob(f"*{compilation_cache.SUFFIX}"))


def test_a_program_that_was_compiled_is_loaded(place):
    with Session().open():
        assert compiled(1) == (0, 1)
        assert compiled(1) == (1, 0)
    assert len(entries(place)) == 1
    assert compiled(1) == (0, 0)  # there is no cache outside of a session


def test_sessions_have_the_folder_of_their_time_whatever_was_compiled_before(place, tmp_path, monkeypatch):
    assert compiled(2) == (0, 0)
    with Session().open():
        assert compiled(2) == (0, 1)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    with Session().open(), Session().open():
        assert compiled(2) == (0, 1)
    monkeypatch.setenv(VARIABLE, str(place))
    with Session().open():
        assert compiled(2) == (1, 0)


def test_what_the_caller_has_set_of_the_cache_is_found_again(place, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e-9)
    before = set_of_jax()
    assert compiled(3) == (0, 1)
    with Session().open():
        assert jax.config.jax_compilation_cache_dir == str(place)
        assert compiled(3) == (0, 1)
    assert set_of_jax() == before
    assert compiled(3) == (1, 0)
    with Session(compilation_cache=False).open():
        assert set_of_jax() == before
    assert len(entries(tmp_path / "own")) == 1


@pytest.mark.parametrize("value", ["off", "OFF"])
def test_it_can_be_turned_off(value, monkeypatch):
    monkeypatch.setenv(VARIABLE, value)
    before = set_of_jax()
    assert folder() is None
    with Session().open():
        assert set_of_jax() == before
        assert compiled(4) == (0, 0)


def test_commands_have_an_option_for_that():
    assert build_parser().parse_args(["--no-compilation-cache"]).no_compilation_cache


def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert folder() == tmp_path / "langevin-ib" / "programs"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache"))
    assert folder() is None


def test_a_folder_that_cannot_be_made_or_a_full_disk_is_no_error(place, monkeypatch, capfd):
    place.write_text("a file")
    before = set_of_jax()
    for name in ("programs", "programs/below"):
        monkeypatch.setenv(VARIABLE, str(place.parent / name))
        with persistent_cache() as used:
            assert used is None
            assert set_of_jax() == before
    monkeypatch.setenv(VARIABLE, str(place.parent / "new"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    with persistent_cache() as used:
        assert used is None
    assert capfd.readouterr() == ("", "")


def test_an_entry_that_is_cut_short_or_cannot_be_written_is_compiled_once_more(place, capfd):
    with Session().open():
        compiled(5)
        (entry,) = entries(place)
        entry.write_bytes(entry.read_bytes()[:100])
        assert compiled(5)[0] == 0
        entry.unlink()
        place.rmdir()
        assert compiled(5)[0] == 0
    assert capfd.readouterr() == ("", "")


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    for age in range(8):
        (tmp_path / f"{age}-cache").write_bytes(b"x" * 100)
        os.utime(tmp_path / f"{age}-cache", (1e9 - age, 1e9 - age))
    (tmp_path / "something else").write_bytes(b"x" * 10_000)
    tidy(tmp_path, limit=800)
    assert len(entries(tmp_path)) == 8
    tidy(tmp_path, limit=799)
    assert [entry.name for entry in entries(tmp_path)] == [f"{age}-cache" for age in range(5)]
    assert (tmp_path / "something else").exists()


COUNT = """
import jax, jax.monitoring
from collections import Counter
events = Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name]))
"""
SMALL = """
from langevin_ib.session import Session
with Session().open():
    for number in range(20):
        jax.jit(lambda x: jax.numpy.sin(x) * number)(1.0)
digest = ""
"""
RUN = """
import sys
sys.path.insert(0, "tests")
import langevin_ib
from test_session import TINY, digest
digest = digest(langevin_ib.run(langevin_ib.RunConfig(**TINY)))
"""


def begin(code):
    code = f'{COUNT}{code}print(events["{HITS}"], events["{MISSES}"], digest)'
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip


def end(process):
    out, error = process.communicate(timeout=240)
    assert (process.returncode, error) == (0, "")
    return out.split()


def test_two_processes_at_once_and_then_a_third(place):
    for process in [begin(SMALL), begin(SMALL)]:
        end(process)
    assert end(begin(SMALL)) == [str(len(entries(place))), "0"]
    assert len(entries(place)) >= 20


@pytest.mark.full
def test_a_run_in_a_second_process_compiles_nothing_and_has_the_numbers_of_one_without_a_cache(place, monkeypatch):
    _, misses, first = end(begin(RUN))
    hits, again, second = end(begin(RUN))
    assert int(hits) >= int(misses) > 20
    assert again == "0"
    monkeypatch.setenv(VARIABLE, "off")
    assert [first, second] == [end(begin(RUN))[2]] * 2
