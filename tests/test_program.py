"""`langevin-ib`: commands by their first word, help in two levels, completion, figures by number; names in errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from langevin_ib import __version__, sim
from langevin_ib.cli import completion
from langevin_ib.cli.command import called, called_as
from langevin_ib.cli.main import ALIASES, COMMANDS, main
from langevin_ib.figures.catalogue import CATALOGUE
from sims import fig5_sparse_spectral

ROOT = Path(__file__).parent.parent
HERE = [name for name, command in COMMANDS.items() if command.here]
FAST = ["--chains", "64", "--steps", "400", "--burn-in", "100", "--step-check", "no", "--reference", "none"]


def helped(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def refused(capsys, *words, program="langevin-ib"):
    assert main([*words], program=program) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_help_names_every_command_and_the_version_is_the_package_s(capsys):
    for words in ((), ("--help",), ("-h",)):
        text = helped(capsys, *words)
        assert all(f"\n  {name} " in text for name in COMMANDS)
    assert helped(capsys, "--version") == f"langevin_ib {__version__}\n"


def test_an_unknown_command_is_one_line_with_the_nearest(capsys):
    line = refused(capsys, "swep")
    assert line.startswith("langevin-ib: error: the command must be one of sim, sweep, ")
    assert line.endswith(", got swep; the nearest is sweep")
    assert refused(capsys, "atribute").endswith("the nearest is attribute")
    assert refused(capsys, "--beta", "10").endswith("unrecognized arguments: --beta 10")
    assert refused(capsys, "sim", "--chain", "12").endswith(
        "unrecognized arguments: --chain 12; the nearest is --chains"
    )
    assert refused(capsys, "run", "--law-draw=3").endswith("; the nearest is --law-draws")
    assert refused(capsys, "run", "--beta", "2,3").endswith("(several values are a sweep: langevin-ib sweep FILE)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sim", "--beta", "-1"), "langevin-ib sim: error: --beta must be a positive number, got -1"),
        (("run", "--beta", "-1"), "langevin-ib run: error: --beta must be a positive number, got -1"),
        (
            ("balance", "--seeds", "2"),
            "langevin-ib balance: error: --seeds must be a whole number from 8",
        ),
        (("design", "--size", "5"), "langevin-ib design: error: --size must be a power of two from 4, got 5"),
        (
            ("sweep", "missing.toml"),
            "langevin-ib sweep: error: missing.toml must be a readable TOML file",
        ),
        (("figures", "7"), "langevin-ib figures: error: the figure must be one of 1, 2, 3, 4, 5, 6, all, got 7"),
        (("figures", "5", "--seeds", "0"), "langevin-ib figures 5: error: --seeds must be a whole number from 1"),
        (("figures", "5", "--seds", "0"), "langevin-ib figures 5: error: unrecognized arguments: --seds 0"),
        (("figures", "all", "--seeds", "x"), "langevin-ib figures all: error: --seeds must be a whole number from 1"),
        (("completion", "csh"), "langevin-ib completion: error: --shell must be one of bash, zsh, fish, got csh"),
    ],
)
def test_errors_name_the_program_as_it_was_called(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, *words).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_other_ways_to_call_keep_their_names(capsys):
    line = refused(capsys, "sim", "--beta", "-1", program="python -m langevin_ib")
    assert line.startswith("python -m langevin_ib sim: error: ")
    assert sim.main(["--beta", "-1"]) == 2
    assert capsys.readouterr().err.startswith("python -m langevin_ib.sim: error: ")
    assert fig5_sparse_spectral.main(["--seeds", "0"]) == 2
    assert capsys.readouterr().err.startswith("python -m sims.fig5_sparse_spectral: error: ")
    with called_as("outer"):
        assert called("inner") == "outer"
    assert called("inner") == "inner"


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_of_every_command_fits_the_terminal(name, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    for level in ("--help", "--help-all") if name in ("sim", "attribute") else ("--help",):
        text = helped(capsys, name, level)
        assert f"langevin-ib {name}" in text
        assert max(map(len, text.splitlines())) <= int(columns)


def test_help_has_two_levels(capsys):
    """Ten options and examples, then all."""
    for name in ("sim", "attribute"):
        short, whole = helped(capsys, name, "--help"), helped(capsys, name, "--help-all")
        options = [line.split()[0] for line in short.splitlines() if line.startswith("  --")]
        assert len(options) == 10
        assert "examples:" in short
        assert all(f"  {option} " in whole for option in options)
        hidden = int(short.partition("--help-all shows these and ")[2].split()[0])
        listed = [
            line for line in whole.partition("what can be chosen")[0].splitlines() if line.startswith(("  --", "  -h"))
        ]
        assert len(options) + hidden == len(listed)


@pytest.mark.parametrize("number", CATALOGUE)
def test_every_figure_has_its_help(number, capsys):
    text = helped(capsys, "figures", str(number), "--help")
    assert text.startswith(f"usage: langevin-ib figures {number} [options]")
    assert f"Figure {number} of the paper" in text
    assert ("--variant" in text) == (number >= 4)
    assert f"  {number}    {CATALOGUE[number].of}" in helped(capsys, "figures", "--help")
    module = CATALOGUE[number].load()
    assert all(callable(getattr(module, name)) for name in ("study", "report", "main"))


@pytest.mark.full
def test_the_commands_of_all_modules_give_the_same_run(tmp_path):
    for place, begin in (("a", main), ("b", sim.main)):
        words = ["sim"] if begin is main else []
        assert begin([*words, *FAST, "--quiet", "--out", str(tmp_path / place)]) == 0
    (first,), (second,) = ((tmp_path / place).glob("uv-*") for place in ("a", "b"))
    assert first.name == second.name
    assert (first / "config.toml").read_text() == (second / "config.toml").read_text()


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_knows_commands_options_and_names(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*HERE, *(alias for alias in ALIASES if ALIASES[alias] in HERE), "weight-decay", "hadamard"):
        assert word in script
    for option in ("beta", "scheduler", "figure-only", "help-all", "plain-lr", "size"):
        assert option in script


@pytest.mark.parametrize(
    "words",
    ["--help", "swep", "sim --help", "sim --kapa", "figures 5 --help", "figures 5 --kapa"],
)
def test_help_and_a_wrong_option_wait_for_no_jax(words):
    code = (
        "import contextlib, io, sys\nfrom langevin_ib.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n    main(sys.argv[1:])\n"
        "print(*({'jax', 'numpy', 'matplotlib', 'shtab'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    assert done.stdout == "\n"


def test_the_package_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "langevin_ib", "sim", "--beta", "-1"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "python -m langevin_ib sim: error: --beta must be a positive number, got -1\n"
