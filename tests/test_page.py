"""Pages: one self-contained file each, well-formed, all text escaped; what a process of one's own has to say."""

import dataclasses
import json
from html.parser import HTMLParser
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import small_result

from langevin_ib import RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.laws.candidates import LawAbout
from langevin_ib.models import build_model
from langevin_ib.output.answer import answer
from langevin_ib.output.blocks import Column, Line, Lines, Linked, Picture, Report, Table, simple_table
from langevin_ib.output.histogram import figure
from langevin_ib.output.law_table import law_rows
from langevin_ib.output.page import page
from langevin_ib.output.report import findings, run_report
from langevin_ib.output.wording import TITLES, Wording, wording_of
from langevin_ib.runs.descent_details import ChargeSummary, SgdDetails
from langevin_ib.statistics.records import Meter

SCRIPT = '<script>alert("x")</script>'
VOID = {"meta", "img", "input"}
PNG = b"\x89PNG"


class Page(HTMLParser):
    """Reads a page, and fails where a tag is left open or closed by another one."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in VOID or not attrs or dict(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag):
        """The text within a tag, in order."""
        return [text for where, text in self.words if where == tag]


def read(report):
    """A report's page, checked for what every page has."""
    text = page(report, {picture.name: PNG for picture in report.pictures})
    found = Page(text)
    names = [name for name, _ in found.tags]
    assert text.startswith("<!doctype html>")
    assert dict(found.tags)["html"] == {"lang": "en"}
    assert found.of("title") == found.of("h1") == [report.title]
    assert names.count("h1") == 1
    assert {name for name in names if name[0] == "h" and name[1:].isdigit()} <= {"h1", "h2"}
    assert names.count("table") == names.count("thead")
    assert names.count("script") == 2 * any(picture.chart is not None for picture in report.pictures)
    assert not {"link", "iframe"} & set(names)
    for name, attributes in found.tags:
        if name == "img":
            assert attributes["alt"]
            assert attributes["src"].startswith("data:image/png;base64,iVBOR")
    assert "http" not in text
    return found


def everything(text):
    """A report with a text in each of its places."""
    columns = (Column(text, left=True), Column("verdict", verdict=True))
    return Report(
        text,
        (
            Picture("first", text, plt.figure),
            Picture("second", text, plt.figure),
            Table(columns, (((text, f"agrees {text}"), (text, "")), ((text, text),)), text, text),
            Lines((Line(text, "bold"), Line(text, "bold")), text),
            Lines((Line(text, "bold"), Line(text), Line(text, "yellow"))),
        ),
        appendix=(simple_table(text, (text,), [(text,)]),),
        config=text,
        lead=text,
        rerun=(text,),
    )


@pytest.mark.parametrize("text", [SCRIPT, "a & b", '" onerror="x', "κ|χ|²/2 < {{ 7 * 7 }} {% raw %}"])
def test_every_text_of_a_page_is_escaped_wherever_it_stands(text):
    found = read(everything(text))
    assert found.of("h2") == [text, text, text, "How to run it again", "Settings", "Versions"]
    assert found.of("th") == [text, "verdict", text]
    assert found.of("li") == [text, text]
    *shown, versions = found.of("p")
    assert shown == [text, text, text, text, text]
    assert versions.startswith("Python 3.")
    assert found.of("pre") == [text, text]
    assert [attributes["alt"] for name, attributes in found.tags if name == "img"] == [text, text]
    assert not [attributes for _, attributes in found.tags if "onerror" in attributes]


def test_a_line_has_its_style_as_a_class_in_lists_and_paragraphs():
    found = read(everything("x"))
    classes = [(name, attributes.get("class")) for name, attributes in found.tags if name in ("li", "p")]
    assert classes == [
        ("p", "lead"), ("p", None), ("li", "bold"), ("li", "bold"), ("p", "bold"), ("p", None), ("p", "yellow"),
        ("p", "dim"),
    ]  # fmt: skip
    (css,) = found.of("style")
    for style in ("conclusions", "dim", "yellow"):
        assert f".{style} {{" in css


def test_numbers_in_a_cell_stay_together_and_a_sentence_is_broken():
    number, sentence = "0.0123 [0.00456, 0.0789]", "better: error × 0.34 (95% interval 0.21 to 0.55)"
    found = read(Report("x", (simple_table("", ("run", "a", "b"), [("own", number, sentence)]),)))
    assert [attributes.get("class") for name, attributes in found.tags if name == "td"] == ["left", None, "sentence"]
    (css,) = found.of("style")
    assert "td { white-space: nowrap; }" in css
    assert "td.sentence { white-space: normal;" in css


def test_cells_are_coloured_by_their_verdict_and_sections_are_bodies_of_their_own():
    found = read(everything("x"))
    cells = [attributes.get("class") for name, attributes in found.tags if name == "td"]
    assert cells == ["left", "agrees", "left", None, "left", "x", "left"]
    assert [name for name, _ in found.tags].count("tbody") == 3


def test_the_page_of_a_run_names_its_laws_and_escapes_them():
    result = small_result(missing=(f"law {SCRIPT}: is not asked for",))
    invariant = result.invariants["z"]
    laws = dict(invariant.laws)
    laws[SCRIPT] = dataclasses.replace(
        laws.pop("naive"), about=LawAbout(SCRIPT, "d<z>", "exp(−ℓ/T) < 1 & p > 0", "control", None)
    )
    invariants = {"z": dataclasses.replace(invariant, laws=laws)}
    result = dataclasses.replace(result, invariants=invariants, verdicts={})
    report = run_report(result)
    found = read(report)
    assert SCRIPT in found.of("td")
    assert "exp(−ℓ/T) < 1 & p > 0" in found.of("td")
    assert f"law {SCRIPT}: is not asked for" in found.of("p")
    command, settings = found.of("pre")
    assert command.startswith("python -m langevin_ib.sim --config config.toml")
    assert json.loads(settings) == result.plan.config.to_dict()
    assert found.of("p")[0] == report.lead == answer(result)
    assert [picture.name for picture in report.pictures] == ["histogram"]


def test_a_run_without_laws_has_no_table():
    result = small_result(verdicts={})
    bare = dataclasses.replace(result.invariants["z"], laws={})
    report = run_report(dataclasses.replace(result, invariants={"z": bare}))
    assert not [block for block in (*report.blocks, *report.appendix) if isinstance(block, Table)]
    assert "table" not in [name for name, _ in read(report).tags]


class Own:
    """Details of a process of one's own."""

    doubts, independent = (), MappingProxyType({})

    def to_dict(self, result):
        return {"own": result.run.chains}


def test_details_of_ones_own_are_told_as_any_other_run_and_can_have_their_own_lines():
    plain, result = small_result(), small_result(details=Own())
    assert findings(result) == findings(plain)
    assert run_report(result).title == run_report(plain).title

    class Told(Own):
        pass

    @wording_of.register
    def _(details: Told) -> Wording:
        lines = (Line(f"its own {type(details).__name__}"),)
        return Wording(subject=lambda _: "a process of one's own", own=lambda _: lines, step="ε")

    result = small_result(details=Told())
    texts = [line.text for line in findings(result)]
    assert "its own Told" in texts
    assert any("400 steps of ε = 0.002" in text for text in texts)
    assert run_report(result).title == "uv: z in [0.3, 2], a process of one's own"
    assert findings(small_result(details=Own())) == findings(plain)


def test_a_column_that_the_table_of_laws_cannot_fill_is_refused_when_it_is_declared():
    class Columned(Own):
        pass

    @wording_of.register
    def _(details: Columned) -> Wording:
        del details
        return Wording(columns=tuple(map(Column, TITLES)))

    (rows,) = law_rows(small_result(details=Columned()))
    assert {len(row) for row in rows} == {len(TITLES)}
    with pytest.raises(ValueError, match=f"among {', '.join(TITLES)}, got friction"):
        Wording(columns=(Column("law"), Column("friction")))


@pytest.mark.parametrize("noisy", [True, False])
def test_a_run_of_sgd_is_told_by_the_type_of_its_details(noisy):
    meter = Meter(1.0, 0.1, 2.0, 1.0, 0.0, 0.7)
    details = SgdDetails("label", "label noise", True, "own", 0.1, None, meter, noisy, {}, ChargeSummary(0.5, 0.1, 0.9))
    plain = small_result(details=details)
    config = RunConfig(sampler="sgd", lr=0.002, label_noise=2.0, chains=64)
    result = dataclasses.replace(plain, plan=dataclasses.replace(plain.plan, config=config))
    report = run_report(result)
    assert report.title.startswith("uv: z in [0.3, 2], SGD with η = 0.002, label noise")
    (table,) = (block for block in report.blocks if isinstance(block, Table))
    assert [column.title for column in table.columns] == [
        "law", "measure", "T", "c", "TV", "floor", "95% bounds", "p", "verdict",
    ]  # fmt: skip
    texts = [line.text for line in findings(result)]
    assert any("steps of η = 0.002" in text for text in texts)
    assert any("R-hat" in text for text in texts) == noisy
    assert any("noise at the minimum" in text for text in texts) == noisy
    assert any("rms χ in units of the pairs' size: 0.5" in text for text in texts)
    read(report)


@pytest.mark.parametrize("start", ["own", "slice", "earlier"])
def test_where_a_run_of_sgd_began_is_said_once(start):
    meter = Meter(1.0, 0.1, 2.0, 1.0, 0.0, 0.7)
    details = SgdDetails("label", "label noise", True, start, 0.1, None, meter, True, {}, ChargeSummary(0.5, 0.1, None))
    config = RunConfig(sampler="sgd", lr=0.002, label_noise=2.0, from_run="runs/other" if start == "earlier" else None)
    plain = small_result(details=details)
    result = dataclasses.replace(plain, plan=dataclasses.replace(plain.plan, config=config))
    said = [
        line.text for line in findings(result)
        if any(words in line.text for words in ("began", "own starts", "starts on the slice", "another run"))
    ]  # fmt: skip
    assert len(said) == 1
    assert (said[0] == "the chains began where those of runs/other ended") == (start == "earlier")


def test_a_result_saves_plots_and_shows_itself(tmp_path):
    open_before = plt.get_fignums()
    result = small_result(trace={
        "value": np.zeros((2, 3, 1)), "charge": np.zeros((2, 3, 1)), "energy": np.zeros((2, 3)),
        "potential": np.zeros((2, 3)),
    })  # fmt: skip
    folder = result.save(tmp_path)
    assert folder.parent == tmp_path
    assert (folder / "report.html").exists()
    picture = result.plot()
    assert plt.get_fignums() == open_before
    assert len(picture.axes) == 2
    picture.savefig(tmp_path / "closed.png")  # it can be drawn all the same
    kept = figure(result)
    assert plt.get_fignums() != open_before
    plt.close(kept)
    shown = result._repr_html_()
    names = [name for name, _ in Page(shown).tags]
    assert {"h1", "img", "table"} <= set(names)
    assert not {"html", "body", "style", "script"} & set(names)
    assert shown.strip() in (folder / "report.html").read_text(encoding="utf-8")
    assert plt.get_fignums() == open_before


def test_conclusions_come_first_where_there_is_no_answer():
    table, said = simple_table("", ("a",), [("1",)]), Lines((Line("said", "bold"),))
    tags = [name for name, _ in read(Report("x", (table, said))).tags]
    assert tags.index("ul") < tags.index("table")
    tags = [name for name, _ in read(Report("x", (table, said), lead="it is so")).tags]
    assert tags.index("ul") > tags.index("table")


def test_a_cell_can_lead_to_another_page():
    link = Linked("a <run>", "../a%20run/report.html")
    assert (link, f"{link}") == ("a <run>", "a <run>")
    found = read(Report("x", (simple_table("", ("run", "c"), [(link, "1")]),)))
    assert dict(found.tags)["a"] == {"href": "../a%20run/report.html"}
    assert found.of("a") == ["a <run>"]


def test_a_model_that_was_an_object_has_no_command_that_runs_it_again():
    result = small_result()
    config = result.plan.config.replace(model=build_model("uv"))
    report = run_report(dataclasses.replace(result, plan=dataclasses.replace(result.plan, config=config)))
    assert report.rerun == ()
    assert "How to run it again" not in page(report, {"histogram": PNG})


def test_the_settings_of_a_page_run_it_again(tmp_path):
    config = small_result().plan.config
    (tmp_path / "config.json").write_text(run_report(small_result()).config, encoding="utf-8")
    assert RunConfig.from_dict(read_settings(str(tmp_path / "config.json"))) == config
    assert "--config config.toml" in run_report(small_result()).rerun[0]
