"""Run folders and checkpoints on a machine that fails: full disks, signals, several runs at a time, odd paths."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest

import langevin_ib
from langevin_ib import RunConfig, files, signals, sim
from langevin_ib.cli.command import guarded
from langevin_ib.cli.job import Job, Output, execute
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.errors import ConfigError, ProcessError
from langevin_ib.output import folders, locks, store
from langevin_ib.output.blocks import Report
from langevin_ib.runs import run as experiment
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.processes import langevin
from langevin_ib.runs.sampling import Sampler

QUICK = {
    "chains": 64, "steps": 400, "burn_in": 100, "thin": 4, "step_size": 0.002, "window": (0.3, 2.0), "bins": 10,
    "laws": ("exact", "printed"), "reference": "none", "step_check": False,
}  # fmt: skip
OPTIONS = ["--chains", "64", "--steps", "400", "--reference", "none", "--step-check", "no", "--step-size", "0.002"]
FILES = {"config.toml", "summary.json", "draws.nc", "histogram.png", "report.html"}


@pytest.fixture(scope="module")
def result():
    return langevin_ib.run(RunConfig(**QUICK))


def content(folder):
    """Every file with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Disk:
    """A disk that is full after so many files, or within the one that is then begun."""

    def __init__(self, monkeypatch, files: int):
        self.files, self.write = files, folders.write
        monkeypatch.setattr(store, "write", self)

    def __call__(self, path, data):
        if self.files == 0:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.files -= 1
        self.write(path, data)


@pytest.fixture
def finished(result, monkeypatch):
    """The command line with a run that has just ended and has left a state."""

    def run(config, *, checkpoints, **_):
        place = checkpoints / "uv-0"
        Checkpoint(place / "sampling.npz", {}, 0.0).save({"recorded": [90]}, [np.zeros(3)])
        signals.expect(place)
        signals.note(place / "sampling.npz", "sampling", 360, 400)
        return dataclasses.replace(result, checkpoints=place)

    monkeypatch.setattr(experiment, "run", run)


@pytest.mark.full
@pytest.mark.parametrize("files", range(5))
def test_a_full_disk_is_one_line_and_leaves_what_was_there_and_the_state(
    files, finished, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "runs"
    assert sim.main([*OPTIONS, "--quiet", "--out", str(out)]) == 0
    assert not (out / folders.CHECKPOINTS).exists()
    before = content(out)
    with monkeypatch.context() as patch:
        Disk(patch, files)
        assert sim.main([*OPTIONS, "--quiet", "--out", str(out)]) == 3
    line = capsys.readouterr().err
    assert line == (
        "python -m langevin_ib.sim: error: cannot write the run folder: No space left on device; the same command goes "
        'on from its checkpoint at step 360 of 400 of "sampling"\n'
    )
    kept = content(out)
    state = kept.pop(next(path for path in kept if path.parts[0] == folders.CHECKPOINTS))
    assert kept == before
    assert state
    assert len(list(out.iterdir())) == 2
    assert sim.main([*OPTIONS, "--quiet", "--out", str(out)]) == 0
    assert not (out / folders.CHECKPOINTS).exists()


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits of a file's size here")
def test_a_limit_inside_the_draws_is_an_error_and_no_crash(result, tmp_path):
    """In a process of its own: HDF5's library crashed at its end, in the destructors of files half written."""
    (tmp_path / "result").write_bytes(pickle.dumps(result))
    code = (
        "import pickle, resource, sys\nfrom langevin_ib.output import store\n"
        "result = pickle.load(open(sys.argv[1], 'rb'))\n"
        "size = len(store.draws(result).to_netcdf(engine='h5netcdf'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))\n"
        "try:\n    store.save(result, sys.argv[2])\nexcept OSError as error:\n    print(error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "result", tmp_path / "runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, os.strerror(errno.EFBIG) + "\n", "")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_full_disk_leaves_the_last_state_and_no_other_file_and_is_said_once(tmp_path, monkeypatch, caplog):
    saved = Checkpoint(tmp_path / "stage.npz", {"run": "one"}, 0.0)
    assert saved.save({"burned": [3]}, [np.arange(5.0)])
    before = content(tmp_path)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        assert not saved.save({"burned": [5]}, [np.arange(5.0)])
        assert not saved.save({"burned": [6]}, [np.arange(5.0)])
    assert content(tmp_path) == before
    assert saved.load().at == {"burned": [3]}
    (line,) = caplog.messages  # once
    assert line == f"checkpoint {saved.path} cannot be written: No space left on device; the run goes on without it"
    assert saved.save({"burned": [7]}, [np.arange(5.0)])
    assert saved.load().at == {"burned": [7]}


@pytest.mark.full
def test_checkpoints_stay_until_the_result_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "due", lambda self, **_: True)
    result = langevin_ib.run(RunConfig(**QUICK), chunk_records=25, checkpoints=tmp_path / "states")
    assert {path.name for path in result.checkpoints.iterdir()} == {"asked.json", "sampling.npz"}
    store.save(result, tmp_path / "runs")
    assert not result.checkpoints.exists()


def together(work, count=2):
    """The work in several threads at a time; raises what one of them raises."""
    start = threading.Barrier(count)

    def one(number):
        start.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))


def test_of_runs_that_write_one_folder_at_a_time_one_stays_whole(tmp_path):
    def fill(fresh):
        for name in FILES:
            folders.write(fresh / name, str(fresh))

    def work(_):
        for _ in range(50):
            folders.write_folder(tmp_path / "uv-0", fill)

    together(work, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["uv-0"]
    assert set(content(tmp_path / "uv-0")) == {type(tmp_path)(name) for name in FILES}
    assert len(set(content(tmp_path / "uv-0").values())) == 1


def test_of_runs_that_save_one_state_at_a_time_each_state_is_whole(tmp_path):
    """The one that ends first removes the folder under the other."""
    place = tmp_path / "uv-0"

    def work(number):
        for burned in range(60):
            Checkpoint(place / "stage.npz", {"run": "one"}, 0.0).save({"burned": [burned]}, [np.full(100, number)])
            if burned % 10 == 9:
                folders.discard(place)

    together(work)
    assert not place.exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o002, 0o775), (0o077, 0o700)])
def test_a_run_folder_has_the_permissions_of_any_new_folder(umask, mode, tmp_path):
    tmp_path.chmod(0o2777)
    former = os.umask(umask)
    try:
        folder = folders.write_folder(tmp_path / "uv-0", lambda fresh: folders.write(fresh / "file", b""))
    finally:
        os.umask(former)
    assert folder.stat().st_mode & 0o777 == mode
    assert (folder / "file").stat().st_mode & 0o777 == mode & 0o666
    (tmp_path / "other").mkdir()
    assert folder.stat().st_mode & 0o2000 == (tmp_path / "other").stat().st_mode & 0o2000


def test_a_link_to_nothing_is_refused_before_the_run(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    for out in (link, link / "runs"):
        with pytest.raises(ConfigError, match="is a symbolic link to nothing"):
            folders.check_writable(out)
    (tmp_path / "gone").mkdir()
    folders.check_writable(link / "runs")
    assert list((tmp_path / "gone").iterdir()) == []


@pytest.mark.full
def test_what_cannot_be_printed_is_saved_and_that_is_said(finished, tmp_path, monkeypatch, capsys):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        assert sim.main([*OPTIONS, "--out", str(tmp_path)]) == 3
    (folder,) = tmp_path.iterdir()
    assert f"cannot write: No space left on device; the run is saved in {folder}" in capsys.readouterr().err


@pytest.mark.full
def test_a_folder_whose_name_has_brackets_is_printed_as_it_is(finished, tmp_path, capsys):
    for name in ("runs[v2]", "a[/b]", "[red]x"):
        assert sim.main([*OPTIONS, "--out", str(tmp_path / name)]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        (folder,) = (tmp_path / name).glob("uv-*") if "/" not in name else (tmp_path / "a[" / "b]").glob("uv-*")
        assert last == f"saved in {folder}"


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_at_once_and_says_from_where_it_goes_on(number, tmp_path, capsys, monkeypatch):
    """While sampling; the same command then goes on from there, to the numbers of an undisturbed run."""
    command = [*OPTIONS, "--window", "0.3", "2", "--quiet", "--chunk", "10", "--out", str(tmp_path / "runs")]
    draws = Sampler.draws

    def stopped(self):
        def look(done, total):
            if done >= total // 2:
                signal.raise_signal(number)

        return draws(dataclasses.replace(self, session=dataclasses.replace(self.session, report=lambda stage: look)))

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "draws", stopped)
        assert sim.main(command) == 130
    line = capsys.readouterr().err
    assert line.startswith(
        "python -m langevin_ib.sim: error: interrupted; the same command goes on from its checkpoint "
    )
    step = int(line.split("at step ")[1].split(" of 4")[0])
    assert 200 <= step < 400
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folders.CHECKPOINTS]
    if number == signal.SIGTERM:
        assert sim.main(command) == 0
        (folder,) = (tmp_path / "runs").iterdir()
        assert json.loads((folder / "summary.json").read_bytes())["run"]["resumed"][0]["step"] == step
        assert sim.main([*command, "--out", str(tmp_path / "plain")]) == 0
        assert (folder / "draws.nc").read_bytes() == (tmp_path / "plain" / folder.name / "draws.nc").read_bytes()


@pytest.mark.full
def test_a_signal_before_the_first_state_says_that_there_is_none(tmp_path, capsys, monkeypatch):
    def prepare(*_):
        signal.raise_signal(signal.SIGTERM)

    process = langevin.PROCESS._replace(prepare=prepare)
    monkeypatch.setattr(langevin, "PROCESS", process)
    assert sim.main([*OPTIONS, "--quiet", "--out", str(tmp_path / "runs")]) == 130
    assert capsys.readouterr().err == (
        "python -m langevin_ib.sim: error: interrupted; no checkpoint yet, nothing to go on from\n"
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_comes_while_it_is_held_or_swallowed_is_not_lost():
    reached = []

    def held():
        with signals.caught():
            with signals.held():
                signal.raise_signal(signal.SIGINT)
                reached.append("the end of what is held")
            reached.append("too far")

    def swallowed():
        with signals.caught():
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            reached.append("after the library")
            signals.check()
            reached.append("too far")

    for work in (held, swallowed):
        with pytest.raises(KeyboardInterrupt):
            work()
    assert reached == ["the end of what is held", "after the library"]
    signals.check()  # nothing of it is left


def test_a_process_forked_after_jax_began_is_refused(monkeypatch):
    monkeypatch.setattr("langevin_ib.forks._Fork.broken", True)
    with pytest.raises(ProcessError, match="forked after JAX had started"):
        langevin_ib.run(RunConfig(**QUICK))


@pytest.mark.full
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_a_result_can_be_pickled_and_its_repr_is_short(temperature, result):
    """SGD's energies are those at T = 1, whatever the configuration."""
    reduction = build_reduction(result.plan.config, temperature)
    result = dataclasses.replace(result, plan=dataclasses.replace(result.plan, reduction=reduction))
    again = pickle.loads(pickle.dumps(result))
    assert again.summary == result.summary
    assert again.plan.config == result.plan.config
    assert again.plan.reduction.temperature == temperature
    for name, values in result.trace.items():
        np.testing.assert_array_equal(again.trace[name], values)
    z = np.linspace(0.5, 1.5, 4)
    jax.tree.map(np.testing.assert_array_equal, again.plan.reduction.terms(z), result.plan.reduction.terms(z))
    assert repr(again) == repr(result)
    assert repr(result).startswith("Result(uv, ")
    assert len(repr(result)) < 240


@pytest.mark.full
def test_a_result_whose_model_is_gone_comes_without_it_and_says_so(result, caplog):
    config = dataclasses.replace(result.plan.config)
    object.__setattr__(config, "model", "nowhere_to_be_found:model")
    gone = dataclasses.replace(result, plan=dataclasses.replace(result.plan, config=config))
    again = pickle.loads(pickle.dumps(gone))
    assert again.plan.reduction is None
    assert "restored without its model" in caplog.text
    assert again.summary == gone.summary
    assert again == gone


def command(out, work, name="job", **options):
    """A command line whose result is one file: the exit code."""

    def save(result, report, out):
        del report
        return folders.write_folder(
            Path(out) / "result", lambda fresh: folders.write(fresh / "summary.json", json.dumps(result))
        )

    job = Job(name, work, lambda _: Report("", ()), save, lambda *_: {})
    return guarded("job", lambda: execute(job, Output(str(out), quiet=True, as_json=False, **options)))


def finish(number):
    """Work that is done at once."""
    return lambda report: {"number": number}


def result_of(out):
    return json.loads((out / "result" / "summary.json").read_bytes())


def interrupted(stages):
    """Work that a signal stops within the last of these stages, at step 3 of 10."""

    def work(report):
        for stage in stages[:-1]:
            report(stage)(10, 10)
        report(stages[-1])(3, 10)
        signal.raise_signal(signal.SIGINT)
        signals.check()

    return work


def test_a_signal_leaves_a_summary_that_is_partial_and_never_in_the_place_of_a_result(tmp_path, capsys):
    stages = ["planning", "sampling", "check at h/2"]
    assert command(tmp_path, interrupted(stages)) == 130
    assert capsys.readouterr().err == "job: error: interrupted; no checkpoint yet, nothing to go on from\n"
    summary = json.loads((tmp_path / "job" / "summary.json").read_bytes())
    assert summary == {
        "partial": True, "name": "job", "stage": "check at h/2", "step": 3, "steps": 10,
        "finished": ["planning", "sampling"], "verdicts": None,
        "note": "interrupted; no checkpoint yet, nothing to go on from",
    }  # fmt: skip
    assert command(tmp_path, finish(1)) == 0  # whose folder has another name
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert command(tmp_path, interrupted(stages), "result") == 130  # whose folder has that of an earlier result
    assert result_of(tmp_path) == {"number": 1}
    partial = tmp_path / folders.CHECKPOINTS / "result" / "summary.json"
    assert json.loads(partial.read_bytes()) == summary | {"name": "result"}


def test_a_signal_before_any_long_stage_leaves_nothing(tmp_path):
    def work(report):
        report("planning")
        signal.raise_signal(signal.SIGINT)

    assert command(tmp_path / "runs", work) == 130
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_second_signal_ends_the_process_at_once_wherever_it_is():
    """It waits in C, as in XLA, where Python's handlers have to wait."""
    code = (
        "import ctypes, sys\nfrom langevin_ib import signals\nfrom langevin_ib.cli.command import guarded\n"
        "def work():\n    with signals.held():\n        print('ready', flush=True)\n"
        "        for _ in range(9):  # each signal ends one\n            ctypes.CDLL(None).sleep(600)\n"
        "sys.exit(guarded('job', work))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with process:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(2 * signals.ONE)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (
        130,
        "interrupted twice, ended at once; no checkpoint yet, nothing to go on from\n",
    )


def test_of_two_runs_of_the_same_the_second_waits_and_says_for_whom(tmp_path, caplog):
    at_work, most = [0], [0]

    def work(_):
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.3)
        at_work[0] -= 1
        return {"number": 1}

    together(lambda _: command(tmp_path / "runs", work), 3)
    assert most == [1]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["result"]
    assert set(caplog.messages) <= {
        f"waiting for process {os.getpid()} on {locks.socket.gethostname()}, which is at the same run",
        "waiting for another process, which is at the same run",  # it has not yet written who it is
    }
    assert len(caplog.messages) == 2


def test_with_no_wait_the_second_is_refused_and_another_run_is_not(tmp_path, capsys):
    inner = []

    def beside(name):
        with ThreadPoolExecutor(1) as pool:  # a thread of its own, as of another process
            return pool.submit(command, tmp_path, finish(2), name, wait=False).result()

    def work(_):
        inner.extend(beside(name) for name in ("job", "other"))
        return {"number": 1}

    assert command(tmp_path, work) == 0
    assert inner == [2, 0]
    assert result_of(tmp_path) == {"number": 1}
    line = capsys.readouterr().err
    assert line == (
        f"job: error: process {os.getpid()} on {locks.socket.gethostname()} is at the same run; without --no-wait this "
        "one waits\n"
    )


def test_a_lock_whose_owner_was_killed_is_taken_over(tmp_path, caplog):
    code = (
        "import pathlib, sys, time\nfrom langevin_ib.output.locks import alone\n"
        "with alone(pathlib.Path(sys.argv[1]), wait=True):\n    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    place = tmp_path / "states" / "job"
    process = subprocess.Popen([sys.executable, "-c", code, place], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with process:
        process.kill()
    assert len(list(place.parent.iterdir())) == 2
    with locks.alone(place, wait=False):
        pass
    assert caplog.messages == []
    assert list(place.parent.iterdir()) == []


def test_a_disk_without_locks_is_said_and_used(tmp_path, monkeypatch, caplog):
    def acquire(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.FileLock, "acquire", acquire)
    assert command(tmp_path, finish(1)) == 0
    assert result_of(tmp_path) == {"number": 1}
    assert "cannot be locked: No locks available; start no other run of the same" in caplog.text


class DiskError:
    """A file system call that fails."""

    def __init__(self, number):
        self.number = number

    def __call__(self, *_, **__):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["mkdir", "rename", "open"])
def test_a_result_that_cannot_be_written_is_one_line_and_exit_3_and_the_earlier_one_stays(
    call, number, tmp_path, monkeypatch, capsys
):
    assert command(tmp_path, finish(1)) == 0

    def work(_):
        monkeypatch.setattr(Path, call, DiskError(number))
        return {"number": 2}

    with monkeypatch.context():
        code = command(tmp_path, work)
        monkeypatch.undo()
    assert code == 3
    assert capsys.readouterr().err == (
        f"job: error: cannot write the run folder: {os.strerror(number)}; no checkpoint yet, nothing to go on from\n"
    )
    assert result_of(tmp_path) == {"number": 1}
    assert command(tmp_path, finish(3)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_full_disk_before_any_work_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks.FileLock, "acquire", DiskError(errno.ENOSPC))
    assert command(tmp_path / "runs", finish(1)) == 3
    assert capsys.readouterr().err == (
        "job: error: cannot write: No space left on device; no checkpoint yet, nothing to go on from\n"
    )


def test_a_partial_summary_that_cannot_be_written_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "write_whole", DiskError(errno.ENOSPC))
    assert command(tmp_path / "runs", interrupted(["planning", "sampling"])) == 130
    assert capsys.readouterr().err == "job: error: interrupted; no checkpoint yet, nothing to go on from\n"
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_removed_while_a_run_is_at_work_is_made_again(tmp_path):
    out = tmp_path / "runs"

    def work(_):
        folders.shutil.rmtree(out)
        assert Checkpoint(out / folders.CHECKPOINTS / "job" / "stage.npz", {}).save({}, [np.zeros(2)])
        folders.shutil.rmtree(out)
        return {"number": 1}

    assert command(out, work) == 0
    assert result_of(out) == {"number": 1}


def test_what_a_kill_has_left_is_mended_and_what_others_are_at_is_not(tmp_path):
    old, name = {"number": 1}, "0123456789ab"
    for folder in (f".result-old-{name}", f".other-{name}", f".kept-old-{name}", "kept"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "summary.json").write_text(json.dumps(old))
    unfinished = tmp_path / folders.CHECKPOINTS / "job" / f"stage.npz.{name}.tmp"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"half")
    seen = []

    def other(fresh):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(command, tmp_path, finish(2), "job").result() == 0
        seen.append(fresh.exists())
        folders.write(fresh / "file", b"")

    def work(_):
        seen.append(result_of(tmp_path))
        return {"number": 2}

    assert command(tmp_path, work) == 0
    folders.write_folder(tmp_path / "another", other)
    assert seen == [old, True]  # it had stepped aside, and its successor never came
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "kept", "result"]


def test_states_are_discarded_and_those_that_were_refused_are_not(tmp_path):
    place = tmp_path / "job"
    for path in (place / "a.npz", place / "part" / "b.npz", place / "part" / "c.refused-1.npz"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folders.discard(place)
    assert [path.name for path in place.rglob("*") if path.is_file()] == ["c.refused-1.npz"]
    folders.discard(tmp_path / "gone")
    (place / "part" / "c.refused-1.npz").unlink()
    folders.discard(place)
    assert not place.exists()
