"""What an installation gives: modules on first use, a version, an archive that is whole, one line for an environment
in which no run can start."""

import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import small_result
from rich.console import Console

import langevin_ib
from langevin_ib import attribute, sim
from langevin_ib.output.report import run_report
from langevin_ib.output.terminal import show

ROOT = Path(__file__).parent.parent


def fresh(*arguments, **variables):
    """Another Python in this environment, with some variables more."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **variables},
        timeout=120,
        check=False,
    )


@pytest.mark.full
def test_modules_come_on_first_use_and_not_before():
    """As the README has it: import langevin_ib; help(langevin_ib.models). The command line waits for none."""
    code = (
        "import sys, langevin_ib\n"
        "assert 'jax' not in sys.modules\n"
        "assert 'singular values' in langevin_ib.models.matrix.__doc__\n"
        "help(langevin_ib.models.matrix)\n"
        "print([one.__name__ for one in (langevin_ib.models.Model, langevin_ib.models.Training)])\n"
        "print(langevin_ib.design.sparse.__name__, langevin_ib.session.key_of.__name__)\n"
    )
    done = fresh("-c", code)
    assert done.returncode == 0, done.stderr
    assert "Help on function matrix in module langevin_ib.models.families.matrix" in done.stdout
    assert "GL(r)" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["['Model', 'Training']", "sparse key_of"]
    assert {"models", "design", "run", "output"} <= set(dir(langevin_ib))


def test_a_module_that_there_is_not_is_an_attribute_that_there_is_not():
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = langevin_ib.nowhere
    assert not hasattr(langevin_ib, "_nowhere")


@pytest.mark.parametrize("command", [sim, attribute])
def test_every_command_tells_the_version(command, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"langevin_ib {langevin_ib.__version__}\n"


def test_the_version_is_the_one_to_be_cited():
    assert f"\nversion: {langevin_ib.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


ABSENT = "JAX_PLATFORMS must be what JAX can start here, such as cpu, got cuda"
ENVIRONMENTS = {
    "a platform that is not here": ({"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}, ABSENT),
    "no platform of JAX": ({"JAX_PLATFORMS": "abacus"}, "JAX_PLATFORMS must be what JAX can start here"),
    "no truth value": ({"JAX_ENABLE_X64": "perhaps"}, "JAX cannot be imported: ValueError: invalid truth value"),
    "no backend of matplotlib": ({"MPLBACKEND": "paper"}, "MPLBACKEND must be a backend of matplotlib, such as agg"),
}
COMMANDS = (["langevin_ib.sim", "--quiet"], ["sims.fig1_orbits", "--quiet"])


@pytest.mark.full(but=["langevin_ib.sim-no platform of JAX"])
@pytest.mark.parametrize("case", ENVIRONMENTS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_environment_in_which_no_run_can_start_is_said_in_one_line(case, command, tmp_path):
    variables, message = ENVIRONMENTS[case]
    done = fresh("-m", *command, "--out", str(tmp_path), **variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"error: {message}" in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder, made where matplotlib is asked for a backend that cannot be loaded."""
    out = tmp_path_factory.mktemp("runs")
    quick = ["--chains", "64", "--steps", "4000", "--reference", "none", "--step-check", "no", "--quiet"]
    done = fresh("-m", "langevin_ib.sim", *quick, "--out", str(out), MPLBACKEND="module://no_such_backend")
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = out.glob("uv-*")
    return found


@pytest.mark.full
def test_a_command_needs_no_screen(folder):
    """Pictures go to files: the backend that cannot be loaded is not asked for."""
    assert (folder / "histogram.png").stat().st_size > 10_000


def shown(result, width):
    """The table's lines on a terminal of some width."""
    screen = Console(width=width, highlight=False, color_system=None, record=True, file=io.StringIO())
    show(run_report(result), screen)
    lines = screen.export_text().splitlines()
    first = [(line.strip("┃│ ").split() or [""])[0] for line in lines]
    return [line for line, word in zip(lines, first, strict=True) if word in ("law", "exact")]


def test_a_narrow_terminal_drops_columns_before_it_cuts_a_distance():
    result = small_result()
    law = result.invariants["z"].laws["exact"]
    for width in range(34, 120):
        header, row = shown(result, width)[:2]
        assert "TV" in header
        assert f"{law.comparison.tv:.4f}" in row
        assert law.comparison.verdict in row
        assert "…" not in row
        assert ("measure" in header) == (law.about.measure in row)
    assert "95% bounds" in shown(result, 60)[0]
    assert "floor" in shown(result, 110)[0]


def test_the_source_archive_holds_what_the_readme_uses():
    """Every tracked file at the root or in a folder of the root is in the list, but for what only git reads."""
    included = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    names = set(included["sdist"]["include"])
    assert all((ROOT / name).exists() for name in names)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for needed in ("constraints.txt", "docs/histogram.png", "notebooks/uv_which_law.ipynb", "CITATION.cff"):
        assert needed in readme
        assert needed.split("/")[0] in names
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone")
    own = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert own - names <= {".gitignore", "pyproject.toml"}  # the builder takes these by itself
