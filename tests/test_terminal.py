"""What is shown: text for any encoding, lines of progress, pictures whose names and legends are whole."""

import codecs
import dataclasses
import io
import json
import re
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import small_result
from rich.color import Color
from rich.console import Console

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.output import folders, progress, spelling, terminal
from langevin_ib.output.blocks import Column, Report, Table, simple_table
from langevin_ib.output.effects import effects_table
from langevin_ib.output.histogram import figure
from langevin_ib.output.report import run_report
from langevin_ib.output.spelling import HANDLER, spell_out, spelled
from langevin_ib.output.terminal import show, show_table
from langevin_ib.stages import doing
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.seeds import Band, Ratio
from langevin_ib.studies.result import Effect

QUICK = {
    "chains": 64, "steps": 400, "burn_in": 100, "thin": 4, "step_size": 0.002, "window": (0.3, 2.0), "bins": 10,
    "reference": "none", "step_check": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return langevin_ib.run(RunConfig(**QUICK))


class Stream(io.TextIOWrapper):
    """Standard output of some encoding."""

    def __init__(self, encoding: str):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def bytes(self) -> bytes:
        return self.buffer.getvalue()


@pytest.mark.full
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_the_table_is_printed_in_any_encoding_and_straight(encoding, result, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream := Stream(encoding))
    monkeypatch.setattr(sys, "stderr", Stream(encoding))
    spell_out()
    show(run_report(result), progress.console())
    text = stream.bytes().decode(encoding)
    assert ("χ" if encoding == "utf-8" else "chi") in text
    assert ("+-" if encoding == "ascii" else "±") in text
    rows = [line for line in text.splitlines() if line and line[0] in "|┃│"]
    assert len(rows) > len(result.verdicts)
    assert len({len(row) for row in rows}) == 1


@pytest.mark.full
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_says_the_same_in_any_encoding(encoding, result, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream := Stream(encoding))
    spell_out()
    folders.print_json(result.summary)
    assert json.loads(stream.bytes().decode(encoding)) == json.loads(folders.summary_json(result.summary))


def test_what_cannot_be_spelled_is_a_question_mark_and_a_name_of_a_file_keeps_its_bytes():
    codecs.register_error(HANDLER, spelling._handle)
    assert spelled("κ|χ|²/2, σ_min ≥ 1, 猫") == "kappa|chi|^2/2, sigma_min >= 1, ?"
    name = b"r\xe9sum\xe9".decode("utf-8", "surrogateescape")
    assert f"λ {name}".encode("ascii", HANDLER) == b"lambda r\xe9sum\xe9"


def test_where_there_is_no_terminal_lines_say_which_stage_it_is(capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.02)
    with progress.stages(False) as report:
        report("planning")
        time.sleep(0.15)
        doing("minimum of the loss")
        time.sleep(0.15)
        report("sampling")(30, 120)
        time.sleep(0.15)
    lines = capfd.readouterr().err.splitlines()
    assert "planning: 0 s" in lines
    assert "planning: 0 s, minimum of the loss" in lines
    assert "sampling: 0 s, 25%, about 0 s left" in lines
    with progress.stages(True) as report:
        report("planning")
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def with_laws(result, names, change):
    """The same with other invariants, whose laws are changed."""
    invariant = result.invariants["z"]
    laws = {name: change(law) for name, law in invariant.laws.items()}
    return dataclasses.replace(result, invariants={name: dataclasses.replace(invariant, laws=laws) for name in names})


def renamed(result, names, measure=None):
    """The same with other invariants, and another measure if one is given."""

    def change(law):
        return dataclasses.replace(law, about=law.about._replace(measure=measure or law.about.measure))

    return with_laws(result, names, change)


NAMES = [("z",), (r"$\lVert z \rVert$",), ("a_b^2 50% $x",), ("w_1", "w_2"), tuple(f"w_{i}" for i in range(5))]


@pytest.mark.full
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("measure", [None, "dw_1 dw_2", " ".join(f"dw_{i}" for i in range(20))])
def test_every_text_of_a_picture_is_whole_and_as_it_is(names, measure, result):
    picture = figure(renamed(result, names, measure))
    picture.canvas.draw()
    page = picture.bbox
    (legend,) = [*picture.legends, *(axes.get_legend() for axes in picture.axes if axes.get_legend())]
    titles = [axes._left_title for axes in picture.axes]
    labels = [label for axes in picture.axes if axes.axison for label in (axes.xaxis.label, axes.yaxis.label)]
    texts = [*picture.texts, *legend.get_texts(), legend.get_title(), *titles, *labels]
    assert any(names[0] in text.get_text() for text in texts)
    for text in (text for text in texts if text.get_text()):
        box = text.get_window_extent()
        assert page.x0 - 1 <= box.x0 <= box.x1 <= page.x1 + 1, text.get_text()
    shown = " ".join(" ".join(text.get_text().split()) for text in legend.get_texts())
    assert shown.count(": ") >= 3
    for name, law in result.invariants["z"].laws.items():
        assert f"{name} [{measure or law.about.measure}]" in shown
    plt.close(picture)


@pytest.mark.full
def test_ticks_of_residuals_are_round(result):
    picture = figure(result)
    picture.canvas.draw()
    ticks = [label.get_text() for label in picture.axes[1].get_yticklabels()]
    assert ticks == [*("−" + tick for tick in ticks[:0:-1][: len(ticks) // 2]), *ticks[len(ticks) // 2 :]]
    assert all(tick.strip("−0.")[:1] in ("1", "2", "5", "") for tick in ticks)
    plt.close(picture)


@pytest.mark.full
def test_no_number_is_minus_zero(result):
    result = with_laws(result, ["z"], lambda law: dataclasses.replace(law, c=-1e-5))
    result = dataclasses.replace(result, coefficient=Coefficient(-1e-5, 0.01, (-0.02, 0.02), 64))
    page = progress._Plain(width=200, file=io.StringIO())
    show(run_report(result), page)
    text = page.file.getvalue()
    assert "0.000" in text
    assert "-0.000" not in text


WIDE = Table(
    (
        Column("law", left=True), Column("measure", left=True, spare=6), Column("T", spare=4), Column("TV"),
        Column("floor", spare=1), Column("95% bounds", spare=5), Column("p", spare=2),
        Column("verdict", left=True, verdict=True),
    ),
    ((("pushforward", "dσ_S", "0.0806", "0.1085", "0.0014", "0.1066–0.1096", "<1e-15", "undecided (a)"),),),
    legend="a sentence that is longer than any narrow terminal, and is broken by nobody but the terminal itself",
)  # fmt: skip


def printed(table, width):
    page = progress._Plain(width=width, file=io.StringIO())
    show(Report("a title", (table,)), page)
    return page.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 72, 80, 120])
def test_a_table_keeps_distance_and_verdict_at_any_width(width):
    lines = printed(WIDE, width).splitlines()
    assert lines[-1] == WIDE.legend
    table = "\n".join(lines[:-1])
    assert max(map(len, lines[:-1])) <= width
    for kept in ("law", "TV", "verdict", "pushforward", "0.1085", "undecided (a)"):
        assert kept in table
    left = [name for name in ("floor", "p ", "T ", "95% bounds", "measure") if name not in table]
    assert left == ["floor", "p ", "T ", "95% bounds", "measure"][: len(left)]
    assert ("│" in table) == (width >= 80)
    if width == 120:
        assert left == []


@pytest.mark.parametrize("width", [30, 80, 120])
def test_a_table_that_can_spare_no_column_folds_its_cells_and_loses_none_of_them(width):
    cells = ("own & other", "0.5 [0.25, 1] (caption 0.333)", "3 of 4", "1.25e-30 [1e-40, 1e-20]")
    text = printed(simple_table("A table", ("model", "test error", "isolated", "loss"), [cells], "below"), width)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert max(map(len, rows)) <= width
    assert "…" not in text
    for place, cell in enumerate(cells):
        joined = "".join(row.strip("│").split("│")[place].strip() for row in rows)
        assert joined.replace(" ", "") == cell.replace(" ", "")
    assert (len(rows) == 1) == (width > 80)


def test_the_table_of_effects_spares_its_last_column_before_it_cuts_a_number():
    band = Band(0.0123, 0.00456, 0.0789)
    change = Effect("label noise", "noise", band, Ratio(0.34, 0.21, 0.55), settled=500, last_iterate=band)
    table = effects_table([Effect("none", "reference", band), change], "test error")
    sentence = "better: error × 0.34 (95% interval 0.21 to 0.55)"
    wide, broken, narrow = (printed(table, width) for width in (140, 115, 100))
    for text in (wide, broken, narrow):
        assert "0.0123 [0.00456, 0.0789]" in text
    assert (sentence in wide, sentence in broken, sentence in narrow) == (True, False, False)
    assert ["last noisy iterate" in text for text in (wide, broken, narrow)] == [True, True, False]
    bare = effects_table([change._replace(settled=0, last_iterate=None)], "test error")
    assert "last noisy iterate" not in printed(bare, 140)


def test_a_cell_is_coloured_by_its_verdict():
    page = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="standard")
    show_table(WIDE, page)
    assert "\x1b[1;33mundecided (a)" in page.file.getvalue()


def contrast(colour, background):
    """As WCAG 2 defines it, of two colours in 0 to 255."""

    def luminance(triplet):
        parts = [part / 255 for part in triplet]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", [terminal.GREEN, terminal.RED, terminal.ORANGE])
@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255)])
def test_a_colour_can_be_read_on_light_and_on_dark(colour, background):
    assert contrast(Color.parse(colour).get_truecolor(), background) > 3.8
    assert contrast((205, 205, 0), (255, 255, 255)) < 1.8  # the yellow of xterm


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_is_told_the_answer_first_and_no_line_is_wider(width):
    report = run_report(small_result())
    page = progress._Plain(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    show(report, page)
    text = page.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    said = (
        "The draws do not obey the naive law to within TV 0.01 (c = 1.020 ± 0.050); whether they obey the exact law, "
    )
    assert " ".join(text.split()).startswith(said)
    piped = progress._Plain(width=width, file=io.StringIO())
    show(report, piped)
    assert piped.file.getvalue().splitlines()[0] == report.lead


def test_a_bar_says_what_runs_how_far_and_how_long_still(monkeypatch):
    screen = progress._Plain(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "_Plain", lambda **_: screen)
    with progress.stages(False) as report:
        moved = report("sampling")
        for done in range(1, 4):
            moved(done, 4)
            time.sleep(0.12)
    told = [line.removeprefix("\x1b[2K").strip() for line in screen.file.getvalue().splitlines()]
    (line,) = {line for line in told if "75%" in line and "left" in line}
    assert re.fullmatch(r"sampling ━+.* 75% 0:00:00 about \d s left.*", line)
    assert len(line) <= 80


def test_a_sentence_in_place_of_a_number_pushes_no_column_out():
    row = WIDE.sections[0][0]
    told = ("mine", "dz", "–", "diverged at this T: 3 of 16 seeds, the first by step 400", "", "", "", "")
    text = printed(dataclasses.replace(WIDE, sections=((row, told),)), 120)
    assert "floor" in text
    assert "diverged at this T: 3 of 16 │" in text


def test_brackets_in_a_name_are_no_markup(capsys):
    """Rich reads [bold] in a string as a style, and [/b] as the end of one that was not begun."""
    table = simple_table("Of [red]names[/b]", ("law", "TV [x]"), [("mine[bold]", "0.1"), ("a[/b]", "0.2")])
    show(Report("title", (table,)), Console(width=80))
    out = capsys.readouterr().out
    assert all(text in out for text in ("mine[bold]", "a[/b]", "Of [red]names[/b]", "TV [x]"))
