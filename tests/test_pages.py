"""README and book: commands parse, short ones run with few chains, Python runs, errors are those that are shown."""

import argparse
import doctest
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, blocks, files, inline, ours, parted

from langevin_ib.cli import run as run_command
from langevin_ib.config.grid import grid

BLOCKS = [one for page in PAGES for one in blocks(page)]
FEW = ["--chains", "64"]
SHORT = ["--steps", "4000", "--reference", "none", "--step-check", "no"]  # SGD's length follows from its rates
MAINS = {  # of rooms, which have theirs elsewhere
    **{f"langevin_ib.{name}": f"langevin_ib.cli.{name}" for name in ("design", "selftest")},
    "sims.atlas": "sims.atlas.__main__",
    "sims.numbers": "sims.numbers.__main__",
}
WITHOUT_OPTIONS = "sims.vector_pair", "sims.bench.steps", "sims.bench.throughput", "sims.bench.training"
INSTALLED = (
    "pip ",
    "dask ",
    "git ",
    "python -m venv",
    "python -m pytest",
    "python -m tests.",
    "python -m sphinx",
    "ruff ",
    "python docs/",
)


class Parsed(Exception):  # noqa: N818 - it is none
    """The command line is right, and nothing has been run."""


def stop(*_, **__):
    raise Parsed


def name_of(one: Block) -> str:
    return f"{one.page}:{one.number}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a page's blocks run: its files are there, and modules of that name of another page are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    known = set(sys.modules)

    def enter(page: str) -> Path:
        for name, text in files(page).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    yield enter
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def check_parses(command: str, monkeypatch) -> None:
    """Every option is there and takes its value: the settings of a run are validated too."""
    module, arguments, _ = parted(command)
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *given):
        parse(parser, *given)
        raise Parsed

    main = importlib.import_module(MAINS.get(module, module)).main
    if module in WITHOUT_OPTIONS:  # it would run
        assert not arguments
        return
    monkeypatch.setattr(sys, "argv", ["python", *arguments])
    if "--help" in arguments or "--help-all" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
        return
    if module == "langevin_ib.sim":
        for name in re.findall(r"--data (\S+)", command):
            Path(name).touch()  # a block that is long makes it; here it is not read
        monkeypatch.setattr(run_command, "execute", stop)
        monkeypatch.setattr(run_command, "_longer", lambda config, *_: (config, None))  # there is no run to go on with
    else:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(Parsed):
        main()


COMMANDS = sorted(
    {(one.page, command) for one in BLOCKS for command in one.commands}
    | {(page, command) for page in PAGES for command in inline(page)}
)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_parses(page, folder, monkeypatch, capsys):
    folder(page)
    for of_page, command in COMMANDS:
        if of_page != page or parted(command).path is not None:  # those of a package that is installed for them run
            continue
        with monkeypatch.context() as patch:
            try:
                check_parses(command, patch)
            except BaseException as error:
                raise AssertionError(f"{page}: {command}\n{capsys.readouterr().err}") from error


@pytest.mark.parametrize(
    "command",
    [
        "python -m langevin_ib.sim --bta 3",
        "python -m langevin_ib.sim --beta -3",
        "python -m langevin_ib.attribute --setup figure-9000 --nowhere",
        "python -m sims.protocols --nowhere",
    ],
)
def test_a_command_that_is_wrong_does_not_parse(command, monkeypatch):
    """The control of the test above."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - argparse of a module of sims exits
        check_parses(command, monkeypatch)
    assert not isinstance(caught.value, Parsed)


def test_a_line_that_is_no_command_of_ours_is_one_of_another_program():
    """So that no command is passed over for a word that the pattern does not know."""
    for one in BLOCKS:
        for line in one.text.splitlines() if one.language == "bash" else ():
            others = [part.strip() for part in line.split("&&") if not ours(part)]
            assert all(part.startswith((*INSTALLED, ". ")) for part in others), (one.page, line)


def runs(one: Block) -> list[str]:
    return [command for command in one.commands if parted(command).module == "langevin_ib.sim"]


RUNS = [one for one in BLOCKS if runs(one) and not one.is_long]


@pytest.mark.full(but=[name_of(one) for one in RUNS if "quick" in one.marks])
@pytest.mark.parametrize("one", RUNS, ids=name_of)
def test_runs_of_a_page_run_with_few_chains(one, folder, capsys):
    folder(one.page)
    for text in runs(one):
        _, arguments, path = parted(text)
        given = [*arguments, *(FEW if "sgd" in arguments else FEW + SHORT)]
        if path is not None:  # where a package is installed is looked up once in a process
            paths = os.pathsep.join((str(ROOT / path), str(ROOT)))
            command = [sys.executable, "-m", "langevin_ib.sim", *given]
            shown = subprocess.run(
                command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
            ).stdout
        else:
            assert run_command.main(given) == 0, capsys.readouterr().err
            shown = capsys.readouterr().out
        assert "TV" in shown or "held against no law" in shown


PYTHON = [one for one in BLOCKS if one.language == "python" and one.mark("file") is None]


@pytest.mark.full(only=[name_of(one) for one in PYTHON if one.is_long])
@pytest.mark.parametrize("one", PYTHON, ids=name_of)
def test_python_of_a_page_runs(one, folder):
    folder(one.page)
    if ">>>" in one.text:
        examples = doctest.DocTestParser().get_doctest(one.text, {}, one.page, one.page, 0)
        assert doctest.DocTestRunner().run(examples).failed == 0
    else:
        exec(compile(one.text, one.page, "exec"), {"__name__": "page"})


@pytest.mark.parametrize("one", [one for one in BLOCKS if one.mark("same as")], ids=name_of)
def test_a_file_that_a_page_shows_is_that_of_the_repository(one):
    assert one.text == (ROOT / one.mark("same as")).read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "members"), [(0, 6), (1, 2)])
def test_the_files_of_settings_on_the_page_of_runs_are_sweeps(number, members):
    texts = [one.text for one in BLOCKS if one.page == "docs/running.md" and one.language == "toml"]
    assert len(grid(tomllib.loads(texts[number])).members) == members


ERRORS = [one for one in BLOCKS if one.language == "console" and "doubt" not in one.marks]
DOUBTS = [one for one in BLOCKS if "doubt" in one.marks]


@pytest.mark.full(only=[name_of(one) for one in ERRORS if one.is_long])
@pytest.mark.parametrize("one", ERRORS, ids=name_of)
def test_an_error_that_a_page_shows_is_what_the_command_says(one, folder, capsys):
    """Letter for letter, but for what … stands for."""
    folder(one.page)
    command, shown = one.text.splitlines()
    assert run_command.main(parted(command.removeprefix("$ ")).arguments) in (2, 3)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(".*".join(map(re.escape, shown.split("…"))), last), last


@pytest.mark.full(only=[name_of(one) for one in DOUBTS if one.is_long])
@pytest.mark.parametrize("one", DOUBTS, ids=name_of)
def test_a_doubt_that_a_page_shows_is_what_the_run_says(one, folder, capsys, monkeypatch):
    """Letter for letter, but for what … stands for."""
    folder(one.page)
    monkeypatch.setenv("COLUMNS", "400")
    command, shown = one.text.splitlines()
    assert run_command.main(parted(command.removeprefix("$ ")).arguments) == 0
    pattern = ".*".join(map(re.escape, shown.split("…")))
    out = capsys.readouterr().out
    assert any(re.fullmatch(pattern, line.strip()) for line in out.splitlines()), out


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    """Sphinx asks the same of the book, and of anchors; of the README nothing does."""
    text = PAGES[page].read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (PAGES[page].parent / target).exists(), target


def test_the_front_page_is_short_and_names_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1200
    assert text.count("<!-- test command -->") == 1


@pytest.mark.full
def test_the_figures_of_the_book_are_drawn(tmp_path, monkeypatch):
    """By the file that the page names; as many as are kept."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    importlib.import_module("draw").main(tmp_path)
    kept = {path.name for path in (ROOT / "docs" / "figures").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == kept
