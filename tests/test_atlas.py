"""The atlas: what a cell says follows from its file by rule, and page and picture from the files alone."""

import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from langevin_ib.errors import FailedRunError, UsageError
from sims.atlas import __main__ as command
from sims.atlas import cells, page, picture, reading
from sims.numbers import prose, stored
from sims.numbers.stored import Number, Outcome, Stored

TV = Number(0.0008, bounds=(0.0, 0.0014))
HISTOGRAM = {"invariant": "z", "edges": [0.0, 1.0, 2.0], "draws": [0.4, 0.6], "draws_se": [0.01, 0.01]}
LAWS = "exact", "slice", "hard", "pushforward", "printed", "naive"


def cell(name="uv-stiff", c=(0.998, 0.005), doubts=(), **verdicts):
    """A cell whose laws differ, but for those that are given."""
    found = dict.fromkeys(LAWS, "differs") | verdicts
    values = {f"tv_{law}": TV for law in found} | ({"c": Number(*c)} if c else {})
    histogram = HISTOGRAM | {law: [0.4, 0.6] for law in found}
    more = {"cell": name, "why": "", "note": "", "verdicts": found, "doubts": list(doubts), "histogram": histogram}
    return reading.read_cell(name, Stored(cells.command(name), 0, values, more=more))


def test_a_limit_that_agrees_goes_before_the_exact_law():
    found = cell(exact="agrees", slice="agrees")
    assert (found.law, found.decided, found.against) == ("slice", True, ("6",))
    assert (found.headline, found.verdict) == ("c = 0.998 ± 0.005", "slice: TV 0.0008")


@pytest.mark.parametrize(("c", "law"), [((-0.011, 0.006), "hard"), ((-0.101, 0.0006), "exact"), (None, "hard")])
def test_a_limit_is_named_only_where_its_c_is_that_of_the_draws(c, law):
    """Weight decay: `hard` agrees by TV beside c = −0.1, whose error leaves out 0; the control: one that does not."""
    assert cell(c=c, exact="agrees", hard="agrees").law == law
    assert cell(c=c, exact="undecided", hard="undecided").law == law


def test_a_limit_whose_c_is_another_one_is_named_where_there_is_no_exact_law_that_agrees():
    assert cell(c=(-0.101, 0.0006), hard="agrees").law == "hard"


def test_the_exact_law_alone_stands_between_the_limits_and_contradicts_both_equations():
    found = cell(exact="agrees")
    assert (found.law, found.decided, found.against) == ("exact", True, ("6", "8"))


def test_one_law_that_is_left_is_named_undecided_and_of_two_none_is():
    found = cell(exact="undecided", slice="undecided")
    assert (found.law, found.decided, found.verdict) == ("slice", False, "slice? TV 0.0008, undecided")
    found = cell(slice="undecided")
    assert (found.law, found.decided) == ("slice", False)
    found = cell(exact="undecided", slice="undecided", hard="undecided")
    assert (found.law, found.verdict) == (None, "undecided")


def test_where_every_law_differs_or_there_are_doubts_none_is_named():
    assert (cell().law, cell().verdict) == (None, "every law differs")
    found = cell(doubts=["the chains have not mixed: R-hat 1.3"], **dict.fromkeys(LAWS, "undecided"))
    assert (found.law, found.verdict, found.against) == (None, "in doubt, no verdict", ())


@pytest.mark.parametrize(("c", "against"), [((-0.4, 0.05), ("8",)), ((0.95, 0.05), ())])
def test_an_unconfined_marginal_has_no_law_and_contradicts_the_theorem_by_its_c(c, against):
    more = {"cell": "uv-unconfined", "why": "", "note": "", "verdicts": {}, "doubts": [], "drift": [[0, 1, *c]]}
    found = reading.read_cell("uv-unconfined", Stored("", 0, {"c": Number(*c)}, more=more))
    assert (found.law, found.verdict, found.against) == (None, "drifts, no law", against)


def test_a_refused_run_is_a_cell_with_the_line_that_said_why():
    kept = cells.kept("relu-label", Outcome(2, None, (), "SGD has no noise at the minimum: every example is fitted"))
    found = reading.read_cell("relu-label", kept)
    assert (found.headline, found.verdict) == ("refused", "no noise at the minimum")


def test_a_run_that_was_stopped_is_no_cell():
    with pytest.raises(FailedRunError, match="ended with 130"):
        cells.kept("uv-stiff", Outcome(130, None, (), "interrupted"))


def test_a_file_of_another_cell_is_refused():
    kept = cells.kept("uv-hard", Outcome(2, None, (), "no"))
    with pytest.raises(UsageError, match=r"uv-stiff\.json is the file of uv-hard"):
        reading.read_cell("uv-stiff", kept)


def test_every_command_of_the_grid_is_accepted_by_the_program():
    from langevin_ib.cli import run  # noqa: PLC0415 - as the command does, on first use

    parser = run.build_parser()
    for name in cells.NAMES:
        words = cells.command(name).split()
        assert words[:3] == ["python", "-m", "langevin_ib.sim"]
        parser.parse_args(words[3:])


def test_the_files_of_the_repository_are_those_of_the_commands_and_the_page_follows_from_them():
    found = reading.read_cells(command.FOLDER)
    assert list(found) == cells.NAMES
    for name, one in found.items():
        if one.file is not None:
            assert one.file.command == cells.command(name), f"run it again: python -m sims.atlas --only {name}"
    assert command.PAGE.read_text(encoding="utf-8") == page.page(found)
    assert all(
        (command.PAGE.parent / link).is_file() for link in re.findall(r"\]\((results/[^)]+)\)", page.page(found))
    )


def test_the_front_page_says_how_many_cells_have_been_run():
    ran = [one for one in reading.read_cells(command.FOLDER).values() if one.file is not None]
    said = re.findall(r"(\d+) of (\d+) cells", (command.ROOT / "README.md").read_text(encoding="utf-8"))
    assert said
    assert set(said) == {(str(len(ran)), str(len(cells.NAMES)))}


def test_every_number_of_the_page_is_checked_against_its_file(tmp_path):
    """A changed digit in any cell is a fault of the page, the negative control."""
    found = {name: cell(name, exact="agrees", slice="agrees") for name in cells.NAMES}
    for name, one in found.items():
        assert one.file is not None
        one.file.write(tmp_path / "docs" / "results" / "atlas" / f"{name}.json")
    path = tmp_path / "docs" / "atlas.md"

    def faults(text):
        path.write_text(text, encoding="utf-8")
        return prose.check([path], prose.Exceptions(), root=tmp_path, results=tmp_path / "docs" / "results")

    text = page.page(found)
    assert (faults(text).faults, faults(text).unmarked) == ([], [])
    assert faults(text).marked == 2 * len(cells.NAMES)
    assert len(faults(text.replace("0.998 ± 0.005", "0.997 ± 0.005")).faults) == len(cells.NAMES)


def test_no_text_of_the_picture_leaves_its_cell_or_runs_into_another():
    """By the boxes of all texts as drawn from the repository's files."""
    drawn = picture.atlas(reading.read_cells(command.FOLDER))
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [text for text in [*drawn.texts, *(one for axes in drawn.axes for one in axes.texts)] if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= drawn.bbox.width, texts[i].get_text()
        for j in range(i):
            assert not box.overlaps(boxes[j]), f"{texts[i].get_text()!r} runs into {texts[j].get_text()!r}"


def test_a_cell_of_an_earlier_engine_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    one = cell(exact="agrees").file
    assert one is not None
    one.write(tmp_path / "uv-stiff.json")
    assert command.is_there("uv-stiff")
    monkeypatch.setattr(stored, "present_engine", lambda: "next")
    assert not command.is_there("uv-stiff")


def test_a_wrong_cell_is_one_line(capsys):
    assert command.main(["--only", "uv-nothing"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no cell 'uv-nothing'" in line


@pytest.mark.full
def test_a_cell_is_run_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FOLDER", tmp_path / "atlas")
    monkeypatch.setattr(command, "PICTURE", tmp_path / "atlas.png")
    monkeypatch.setattr(command, "PAGE", tmp_path / "atlas.md")
    monkeypatch.setitem(cells.ROWS, "uv", cells.Row("uv", "--model uv --chains 64 --steps 4000 --reference none"))
    assert command.main(["--only", "uv-stiff"]) == 0
    assert stored.read("uv-stiff", tmp_path / "atlas").values["c"].error
    assert "uv-stiff.json" in (tmp_path / "atlas.md").read_text()
