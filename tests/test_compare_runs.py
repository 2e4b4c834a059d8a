"""Runs beside each other: which setting is the axis, what the table and the pictures say, what is refused."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from helpers import small_result
from test_page import Page

from langevin_ib import RunConfig
from langevin_ib.cli import compare as command
from langevin_ib.errors import UsageError
from langevin_ib.output.blocks import Lines
from langevin_ib.output.compare import Saved, compared, read_run, read_runs
from langevin_ib.output.compare_report import (
    comparison_answer,
    comparison_chart,
    comparison_figure,
    comparison_report,
    law_styles,
    runs_table,
    save_comparison,
)
from langevin_ib.output.folders import write_partial
from langevin_ib.output.plots import closed, line_style

STIFF = {"confine": "stiff"}
C = "c = 1.000 ± 0.050".replace(" ", "\N{NO-BREAK SPACE}")  # as a title has it


def summary_of(c=1.0, verdicts=(), doubts=(), **settings):
    """A run's summary, with these settings in place of its own."""
    summary = json.loads(json.dumps(small_result().to_dict()))
    config = RunConfig(**(small_result().plan.config.given | settings)).to_dict()
    summary |= {"config": config, "doubts": list(doubts), "verdicts": summary["verdicts"] | dict(verdicts)}
    for invariant in summary["invariants"].values():
        found = {"c": c, "se": 0.05, "ci95": [c - 0.1, c + 0.1]} if c is not None else {"c": None, "why": "no T"}
        invariant["correction"] = found
        for name, verdict in dict(verdicts).items():
            invariant["laws"][name]["verdict"] = verdict
    return summary


def saved(tmp_path, name, page=True, **given):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary_of(**given)), encoding="utf-8")
    if page:
        (folder / "report.html").write_text("<p>a page", encoding="utf-8")
    return folder


def runs(tmp_path, *given):
    return read_runs([saved(tmp_path, f"run {i}", **each) for i, each in enumerate(given)])


CASES = {
    "a number": ([{"beta": 5.0}, {"beta": 2.0}], ["beta"]),
    "words": ([{"confine": "hard", "integrator": "projected"}, STIFF], ["confine"]),
    "more values first": ([{"beta": 2.0, "kappa": 1.0}, {"beta": 3.0, "kappa": 1.0}, {"beta": 4.0, "kappa": 2.0}],
                          ["beta", "kappa"]),
    "numbers before words": ([{"beta": 2.0} | STIFF, {"beta": 3.0, "confine": "weight-decay"}], ["beta", "confine"]),
    "what is sampled before how": ([{"seed": 1, "beta": 2.0}, {"seed": 2, "beta": 2.0}, {"seed": 3, "beta": 4.0}],
                                   ["beta"]),
    "how alone": ([{"seed": 1}, {"seed": 2}], ["seed"]),
    "how before what is compared": ([{"seed": 1, "margin": 0.02}, {"seed": 2}], ["seed"]),
    "nothing": ([{}, {}], []),
}  # fmt: skip


@pytest.mark.parametrize(("given", "knobs"), CASES.values(), ids=CASES)
def test_the_axis_is_what_tells_runs_apart(tmp_path, given, knobs):
    assert list(compared(runs(tmp_path, *given)).knobs) == knobs


def test_options_of_a_model_are_settings_and_whole_numbers_are_written_so(tmp_path):
    first, second = summary_of(), summary_of()
    first["config"]["options"], second["config"]["options"] = {"width": 2.0, "samples": 8}, {"width": 4, "samples": 8}
    comparison = compared([Saved(tmp_path / "a", first), Saved(tmp_path / "b", second)])
    assert comparison.knobs == ("options.width",)
    assert [comparison.title(run) for run in comparison.runs] == ["options.width = 2", "options.width = 4"]


def test_runs_stand_in_the_order_of_a_numeric_axis_and_else_as_given(tmp_path):
    comparison = compared(runs(tmp_path, {"beta": 5.0}, {"beta": 2.0}))
    assert [run.name for run in comparison.runs] == ["run 1", "run 0"]
    comparison = compared(runs(tmp_path / "words", {"confine": "weight-decay"}, STIFF))
    assert [run.name for run in comparison.runs] == ["run 0", "run 1"]


def test_the_figure_has_c_with_its_interval_the_laws_c_and_their_distances(tmp_path):
    comparison = compared(runs(tmp_path, {"beta": 2.0, "c": 0.9}, {"beta": 40.0, "c": 1.1}))
    above, below = closed(comparison_figure(comparison)).axes
    (bars,) = above.containers
    assert [list(axis) for axis in bars.lines[0].get_data()] == [[2, 40], [0.9, 1.1]]
    (segments,) = (line.get_segments() for line in bars.lines[2])
    np.testing.assert_allclose([segment[:, 1] for segment in segments], [[0.8, 1.0], [1.0, 1.2]])
    assert [text.get_text() for text in above.texts] == ["exact"]  # naive has no c
    assert (below.get_xlabel(), below.get_xscale(), below.get_yscale()) == ("beta", "log", "log")
    assert [bars.get_label() for bars in below.containers] == ["exact", "naive"]
    assert list(below.containers[1].lines[0].get_ydata()) == [0.31, 0.31]


def test_words_are_beside_each_other_without_a_line_between_them(tmp_path):
    comparison = compared(runs(tmp_path, STIFF, {"confine": "weight-decay"}))
    above, below = closed(comparison_figure(comparison)).axes
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["stiff", "weight-decay"]
    assert {bars.lines[0].get_linestyle() for axes in (above, below) for bars in axes.containers} == {"None"}


def test_runs_at_one_place_are_series(tmp_path):
    given = [{"beta": beta, "kappa": kappa} for kappa in (1.0, 2.0) for beta in (2.0, 3.0, 4.0)]
    above, *below = closed(comparison_figure(compared(runs(tmp_path, *given)))).axes
    assert [bars.get_label() for bars in above.containers] == ["kappa = 1", "kappa = 2"]
    assert [axes.get_legend().get_title().get_text() for axes in below] == ["kappa = 1", "kappa = 2"]
    for axes in below:  # no law has two points at one place
        assert [list(bars.lines[0].get_xdata()) for bars in axes.containers] == [[2, 3, 4]] * 2
    settings = itertools.product((2.0, 3.0, 4.0, 5.0), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    many = [dict(zip(("beta", "kappa", "target"), values, strict=True)) for values in settings]
    assert len(closed(comparison_figure(compared(runs(tmp_path / "many", *many)))).axes) == 2


def test_runs_without_c_have_distances_alone_and_runs_without_laws_c_alone(tmp_path):
    comparison = compared(runs(tmp_path, {"beta": 2.0, "c": None}, {"beta": 3.0, "c": None}))
    (axes,) = closed(comparison_figure(comparison)).axes
    assert axes.get_ylabel() == "TV from the law, 95%"
    report = comparison_report(comparison, tmp_path)
    assert "c is not estimated: no T" in [line.text for block in report.blocks for line in getattr(block, "lines", ())]
    assert comparison.to_dict()["runs"][0]["c"] is None
    bare = summary_of()
    bare["verdicts"] = bare["invariants"]["z"]["laws"] = {}
    other = bare | {"config": bare["config"] | {"beta": 3.0}}
    comparison = compared([Saved(tmp_path / "a", bare), Saved(tmp_path / "b", other)])
    (axes,) = closed(comparison_figure(comparison)).axes
    assert axes.get_ylabel() == "c of the draws"
    save_comparison(comparison, tmp_path / "out")


ANSWERS = {
    "all": ([{"verdicts": {"exact": "agrees"}}] * 2, "The draws agree with exact in 2 of 2 runs."),
    "some": ([{"verdicts": {"exact": "agrees", "naive": "agrees"}}, {"verdicts": {"exact": "agrees"}}],
             "The draws agree with exact in 2, with naive in 1 of 2 runs."),
    "none": ([{"verdicts": {"exact": "differs"}}] * 2,
             "In none of the 2 runs is a law found to agree; 2 differ from every law."),
    "undecided is not none": ([*({"verdicts": {"exact": verdict}} for verdict in
                                 ("undecided", "agrees", "undecided", "differs")), {"doubts": ["R-hat 2"]}],
                              "The draws agree with exact in 1 of 5 runs; 2 are undecided (exact); 1 differs from "
                              "every law; 1 is in doubt, without a verdict."),
    "a doubt": ([{"verdicts": {"exact": "agrees"}}, {"doubts": ["R-hat 2"]}],
                "The draws agree with exact in 1 of 2 runs; 1 is in doubt, without a verdict."),
}  # fmt: skip


@pytest.mark.parametrize(("given", "said"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_counts_verdicts(tmp_path, given, said):
    assert comparison_answer(runs(tmp_path, *given)) == said


def test_the_table_says_what_differs_what_holds_and_leads_to_each_page(tmp_path):
    found = runs(
        tmp_path / "runs",
        {"beta": 2.0, "verdicts": {"exact": "agrees"}},
        {"beta": 3.0, "doubts": ["a", "b"], "page": 0},
    )
    table = runs_table(compared(found), tmp_path / "out" / "compare-1")
    titles = ["run", "beta", "c ± s.e.", "laws that hold (TV)", "doubts"]
    assert [column.title for column in table.columns] == titles
    ((first, second),) = table.sections
    assert first[0].href == "../../runs/run%200/report.html"
    assert not hasattr(second[0], "href")  # it has no page
    assert first[1:] == ("2", "1.000 ± 0.050", "exact 0.0123", "–")
    assert second[1:] == ("3", "1.000 ± 0.050", "no verdict, 2 doubts", "2")


STANDINGS = {
    "agrees and undecided": ({"exact": "agrees", "naive": "undecided"}, "exact 0.0123; undecided: naive 0.3100"),
    "undecided": ({"exact": "undecided", "naive": "differs"}, "undecided: exact 0.0123"),
    "none": ({"exact": "differs", "naive": "differs"}, "none; nearest: exact 0.0123"),
}


@pytest.mark.parametrize(("verdicts", "said"), STANDINGS.values(), ids=STANDINGS)
def test_none_holds_only_where_every_law_differs(tmp_path, verdicts, said):
    table = runs_table(compared(runs(tmp_path, {"beta": 2.0, "verdicts": verdicts}, {"beta": 3.0})), tmp_path)
    assert table.sections[0][0][3] == said


def with_c_of(run, **cs):
    """Laws of the run renamed, with these c."""
    for invariant in run.summary["invariants"].values():
        exact = invariant["laws"]["exact"]
        invariant["laws"] |= {law: exact | {"c": c, "verdict": "agrees"} for law, c in cs.items()}
    run.summary["verdicts"] |= dict.fromkeys(cs, "agrees")
    return Saved(run.folder, run.summary)


def test_a_law_within_the_margin_that_has_another_c_is_none_that_holds(tmp_path):
    """c = 1 ± 0.05; `slice`, which has c = 1, is the control."""
    agrees = {"verdicts": {"exact": "agrees"}}
    first, second = runs(tmp_path, {"beta": 2.0} | agrees, {"beta": 3.0} | agrees)
    first = with_c_of(first, hard=0.0, slice=1.0)
    assert (first.holding, first.of_another_c) == (["exact", "slice"], ["hard"])
    assert comparison_answer([first, second]) == (
        "The draws agree with exact in 2, with slice in 1 of 2 runs; 1 is within the margin of a law whose c is not "
        "theirs (hard)."
    )
    comparison = compared([first, second])
    held = "exact 0.0123, slice 0.0123; c not theirs: hard 0.0123"
    assert runs_table(comparison, tmp_path).sections[0][0][3] == held
    assert comparison.to_dict()["runs"][0]["of_another_c"] == ["hard"]


def test_a_negative_c_has_a_minus_sign(tmp_path):
    comparison = compared(runs(tmp_path, {"beta": 2.0, "c": -0.1}, {"beta": 3.0}))
    assert runs_table(comparison, tmp_path).sections[0][0][2] == "−0.100 ± 0.050"


def test_protocols_are_a_column_only_where_no_setting_in_the_table_says_them(tmp_path):
    def with_protocols(given, *confinements):
        found = runs(tmp_path / "".join(confinements), *given)
        for run, confinement in zip(found, confinements, strict=True):
            run.summary["protocol"]["confinement"] = confinement
        comparison = compared(found)
        lines = next(block for block in comparison_report(comparison, tmp_path).blocks if isinstance(block, Lines))
        return [column.title for column in runs_table(comparison, tmp_path).columns][1:-3], lines.lines[0].text

    by_beta = [{"beta": 2.0}, {"beta": 3.0}]
    assert with_protocols(by_beta, "A", "A") == (["beta"], "protocol of all runs: langevin, A")
    assert with_protocols(by_beta, "A", "B")[0] == ["beta", "protocol"]
    by_name = [STIFF, {"confine": "weight-decay"}]
    assert with_protocols(by_name, "A", "C") == (["confine"], "confine = stiff: langevin, A")


def sweep_of(place, *rows):
    """A folder of a sweep beside the folders of its runs."""
    folder = place / "sweep-1"
    folder.mkdir()
    lines = ["member,folder,status,scalar", *(f"{number},{name},{status},z" for number, name, status in rows)]
    (folder / "sweep.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_a_sweep_stands_for_its_runs_that_are_done(tmp_path):
    first, second, third = (saved(tmp_path, f"run {i}", beta=2.0 + i) for i in range(3))
    folder = sweep_of(tmp_path, (1, "run 0", "done"), (1, "run 0", "done"), (2, "", "failed"), (3, "run 1", "done"))
    assert [run.name for run in read_runs([folder])] == ["run 0", "run 1"]
    assert [run.name for run in read_runs([folder, third, second])] == ["run 0", "run 1", "run 2"]
    with pytest.raises(UsageError, match="is given twice"):
        read_runs([folder, folder])
    (folder / "sweep.csv").write_text("member\n1\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"whose sweep\.csv is damaged"):
        read_runs([folder, first])
    alone = sweep_of(tmp_path / first.name, (1, first.name, "done"))
    with pytest.raises(UsageError, match=r"of a run, got .*, which is not there"):
        read_runs([alone])


def test_a_law_has_the_colour_of_its_name_and_one_of_ones_own_another(tmp_path):
    summary = summary_of()
    laws = summary["invariants"]["z"]["laws"]
    summary["invariants"]["z"]["laws"] = {"sgd": laws["exact"], "slice": laws["naive"], "fitted": laws["naive"]}
    found = [Saved(tmp_path / "a", summary_of()), Saved(tmp_path / "b", summary)]
    styles = law_styles(found)
    assert (styles["exact"], styles["naive"], styles["slice"]) == tuple(line_style(place) for place in (0, 5, 1))
    assert len(set(styles.values())) == len(styles) == 5
    assert law_styles(found[1:])["sgd"] == line_style(0)


def test_the_panels_are_each_runs_histograms(tmp_path):
    found = runs(tmp_path, {"beta": 2.0}, {"beta": 3.0, "doubts": ["a"]})
    chart = comparison_chart(compared(found))
    assert [panel.title for panel in chart.panels] == [
        f"beta = 2, {C}", f"beta = 3, {C}, in doubt",
    ]  # fmt: skip
    many = dataclasses.replace(found[0], summary=json.loads(json.dumps(found[0].summary)))
    one = many.summary["invariants"]["z"]
    many.summary["invariants"].update({f"z_{i}": one for i in range(30)})
    chart = comparison_chart(compared([many, found[1]]))
    assert [panel.scalar for panel in chart.panels] == ["z", "z"]


def test_the_command_writes_a_page_a_file_and_pictures(tmp_path, capsys):
    folders = [str(run.folder) for run in runs(tmp_path / "runs", {"beta": 2.0, "c": 0.9}, {"beta": 5.0})]
    assert command.main([*folders, "--out", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    said = capsys.readouterr().out
    assert "2 runs of uv, which differ in beta" in said
    assert f"saved in {folder}" in said
    assert {path.name for path in folder.iterdir()} == {"compare.json", "compare.png", "histograms.png", "report.html"}
    written = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    assert (written["axis"], written["differ"]) == ("beta", ["beta"])
    assert [(run["folder"], run["settings"], run["c"]) for run in written["runs"]] == [
        ("run 0", {"beta": 2}, 0.9), ("run 1", {"beta": 5}, 1.0),
    ]  # fmt: skip
    found = Page((folder / "report.html").read_text(encoding="utf-8"))
    links = [attributes["href"] for name, attributes in found.tags if name == "a"]
    assert [(folder / link.replace("%20", " ")).exists() for link in links] == [True, True]
    assert command.main([*folders[::-1], "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    assert command.main([*folders, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert list((tmp_path / "out").iterdir()) == [folder]


def test_what_is_no_run_is_refused_in_one_line_and_nothing_is_written(tmp_path, capsys):
    good = saved(tmp_path, "good")
    old, study, damaged, lacking = (saved(tmp_path, name) for name in ("old", "study", "damaged", "lacking"))
    (old / "summary.json").write_text(json.dumps(summary_of() | {"schema_version": 2}))
    (study / "summary.json").write_text(json.dumps({"schema_version": 3, "study": "fig5"}))
    (damaged / "summary.json").write_text("{")
    (lacking / "summary.json").write_text(json.dumps({"schema_version": 5, "config": {}}))
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    saved(tmp_path / "runs", "uv-1")
    write_partial(tmp_path / "partial", tmp_path / "states", {"partial": True})
    wrong = {
        "nowhere": "which is not there",
        "file": "which is a file",
        "empty": "which has no summary.json\n",
        "runs": f"which has no summary.json itself: give {tmp_path}/runs/uv-*\n",
        "damaged": "which has a summary.json that is damaged",
        "lacking": "which has a summary.json that is damaged",
        "partial": "must be the folder of a whole run, got",
        "study": "which is that of a study, fig5",
        "old": "must have a summary.json of version 4, got",
    }
    for name, said in wrong.items():
        assert command.main([str(good), str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("python -m langevin_ib.compare: error: RUN must ")
        assert said in error
        assert str(tmp_path / name) in error
        assert error.count("\n") == 1
    for few, said in (([good], "must be the folders of 2 runs or more, got 1"), ([good, good], "is given twice")):
        assert command.main([*map(str, few), "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert command.main(["--out", str(tmp_path / "out")]) == 2
    assert "RUN" in capsys.readouterr().err
    assert command.main([str(good), str(saved(tmp_path, "other")), "--out", str(tmp_path / "file")]) == 2
    assert "--out must be a folder that can be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_of_the_package_is_read(tmp_path):
    trace = {
        "value": np.zeros((2, 3, 1)), "charge": np.zeros((2, 3, 1)), "energy": np.zeros((2, 3)),
        "potential": np.zeros((2, 3)),
    }  # fmt: skip
    folder = small_result(trace=trace).save(tmp_path)
    run = read_run(folder)
    assert (run.agreeing, run.doubts, list(run.distances)) == ([], [], ["exact", "naive"])
    with pytest.raises(UsageError, match="is given twice"):
        read_runs([folder, folder / ".." / folder.name])
