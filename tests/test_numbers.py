"""Numbers in prose against result files; controls: a changed digit, a missing key, a number without a mark."""

import json

import pytest

from langevin_ib.errors import UsageError
from sims.numbers import __main__ as command
from sims.numbers import prose, recipes, stored
from sims.numbers.prose import Exceptions, Exempt
from sims.numbers.stored import Number, Outcome, Stored

VALUES = {
    "c": Number(0.99841, error=0.0047, at="/c/c", error_at="/c/se"),
    "tv": Number(0.000789, bounds=(0.0, 0.00143), at="/tv", bounds_at=("/low", "/high")),
    "share": Number(0.8921, error=0.031, at="/share"),
    "ratio": Number(-0.1042, at="/ratio"),
}
OUTPUT = ("│ exact │ 0.0008 │ agrees │", "c = 0.998 ± 0.005")
GOOD = """# Page

The draws have c = 0.998 ± 0.005 <!-- number: main.c -->, at a distance of **TV 0.0008** <!-- number: main.tv -->
(0.0008 [0.0000, 0.0014] <!-- number: main.tv -->), 89.2 ± 3.1% <!-- number: main.share --> of it,
−0.104 <!-- number: main.ratio -->.

| law | c |
|---|---|
| slice | 0.998 ± 0.005 <!-- number: main.c --> |

<!-- output: main -->
```
│ exact │ 0.0008 │ agrees │
…
c = 0.998 ± 0.005
```

In 95% intervals, at T = 0.1 with η = 0.01, of 4096 chains, there is nothing measured.
"""


@pytest.fixture
def place(tmp_path):
    """A repository of one page and one result file."""
    results = tmp_path / "docs" / "results"
    Stored("python -m langevin_ib.sim", 0, VALUES, OUTPUT).write(results / "main.json")

    def faults(text, *exceptions, pages=None):
        path = tmp_path / "README.md"
        path.write_text(text, encoding="utf-8")
        found = prose.check([path], Exceptions(exceptions, pages or {}), root=tmp_path, results=results)
        return [str(fault) for fault in found.faults], [number.text for number in found.unmarked]

    return faults


def test_every_page_of_the_repository_quotes_what_its_result_files_say(capsys):
    """The README and the book: no false number, none without a mark, no exception that nothing needs."""
    assert command.main([]) == 0, capsys.readouterr().out


def test_a_page_with_the_right_numbers_passes(place):
    assert place(GOOD) == ([], [])


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("c = 0.998 ± 0.005 <", "c = 0.997 ± 0.005 <", "0.997 ± 0.005 is not main.c: the value is 0.99841"),
        ("c = 0.998 ± 0.005 <", "c = 0.998 ± 0.004 <", "the error is 0.0047"),
        ("TV 0.0008", "TV 0.0009", "0.0009 is not main.tv"),
        ("0.0000, 0.0014", "0.0000, 0.0015", "the interval is 0.0 to 0.00143"),
        ("89.2 ± 3.1%", "89.3 ± 3.1%", "89.3 ± 3.1% is not main.share"),
        ("−0.104", "0.104", "0.104 is not main.ratio"),
        ("| slice | 0.998", "| slice | 0.999", "0.999 ± 0.005 is not main.c"),
        ("│ exact │ 0.0008 │", "│ exact │ 0.0009 │", "the command did not print '│ exact │ 0.0009 │ agrees │'"),
    ],
)
def test_a_changed_digit_fails(place, right, wrong, says):
    faults, _ = place(GOOD.replace(right, wrong))
    assert len(faults) == 1
    assert says in faults[0]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("main.d", "no number 'd' in main: it has c, tv, share, ratio"),
        ("mine.c", "no result file mine.json"),
        ("main", "no number 'main'"),
    ],
)
def test_a_missing_key_fails(place, key, says):
    faults, _ = place(GOOD.replace("number: main.ratio", f"number: {key}"))
    assert len(faults) == 1
    assert says in faults[0]


def test_a_mark_without_a_number_before_it_fails(place):
    assert "no number before the mark main.c" in place("It is one <!-- number: main.c -->.")[0][0]


def test_a_mark_is_that_of_the_last_number_before_it_alone(place):
    faults, unmarked = place("c = 0.5 ± 0.1, and c = 0.998 ± 0.005 <!-- number: main.c -->.")
    assert (faults, unmarked) == ([], ["c = 0.5 ± 0.1"])


@pytest.mark.parametrize(
    "text",
    [
        "0.95 ± 0.06", "TV 0.0021", "p = 5e-15", "950 M/s", "25 MB/s", "2.5 million steps per second", "× 12.2",
        "2.7 ×", "0.34 times", "93.5%", "0.016 [0.0055, 0.074]", "0.72 (0.68 to 0.76)", "TV = 0.5", "TV: 0.5",
        "TV ≤ 0.02", "is at 0.99", "R-hat 1.2", "89%", "ten times", "0.97 +/- 0.01", "p-value 1e-9", "p: 0.2",
        "c = −0.2", "none of 32 seeds", "31 of the 32 tasks",
    ],
)  # fmt: skip
def test_a_new_number_without_a_mark_fails_in_text_tables_and_blocks(place, text):
    for page in (f"It is {text}, as measured.", f"| a | {text} |", f"```\nit is {text}\n```"):
        faults, unmarked = place(page)
        assert not faults
        assert len(unmarked) == 1


def test_a_cell_of_a_table_that_is_a_decimal_fraction_alone_needs_a_mark(place):
    assert place("| a | 0.34 | 1.5 |") == ([], [" 0.34 ", " 1.5 "])
    assert place("| a | 34 | b 0.34 |") == ([], [])


@pytest.mark.parametrize(
    "text", ["95% intervals", "95% upper bound", "the band of 90% of them", "at level 5%", "lambda p: 0.5", "c = 1"]
)
def test_levels_and_settings_do_not_look_measured(place, text):
    assert place(f"It has {text} here.") == ([], [])


def test_markdown_of_notebooks_is_read_and_their_code_is_not(tmp_path):
    cells = [("markdown", ["# A\n", "It is TV 0.5."]), ("code", ["print('TV 0.7')"]), ("markdown", "p = 0.1")]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": source} for kind, source in cells]}))
    found = prose.check([path], Exceptions(), root=tmp_path, results=tmp_path)
    assert [(one.page, one.text) for one in found.unmarked] == [("a.ipynb", "TV 0.5"), ("a.ipynb", "p = 0.1")]
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"a\.ipynb is no notebook"):
        prose.check([path], Exceptions(), root=tmp_path, results=tmp_path)
    assert any(page.suffix == ".ipynb" for page in prose.pages())


@pytest.mark.parametrize("text", ["c = 1", "c = 1.0", "c = 1.00", "89%", "TV 0", "−0.1"])
def test_digits_go_down_to_the_error_unless_the_mark_says_rounded(place, text):
    key = {"c": "c", "8": "share", "T": "tv", "−": "ratio"}[text[0]]
    value = {"share": Number(0.8921, error=0.0031), "ratio": Number(-0.1042), "c": VALUES["c"], "tv": VALUES["tv"]}[key]
    quoted = prose.QUOTED.search(text)
    assert quoted
    assert "too few digits" in prose.difference(quoted, value)
    assert not prose.difference(quoted, value, rounded=True)
    faults, _ = place("c = 1 <!-- number: main.c -->")
    assert "too few digits" in faults[0]
    assert place("c = 1 <!-- number: main.c rounded -->") == ([], [])
    assert "is not main.c" in place("c = 2 <!-- number: main.c rounded -->")[0][0]


def test_a_file_of_another_engine_or_of_none_is_a_fault_unless_it_is_an_exception(tmp_path):
    for key, engine in (("new", ""), ("old", "0")):
        Stored("python -m langevin_ib.sim", 0, VALUES, engine=engine).write(tmp_path / f"{key}.json")
    content = json.loads((tmp_path / "old.json").read_text())
    (tmp_path / "none.json").write_text(json.dumps({name: item for name, item in content.items() if name != "engine"}))
    assert stored.read("new", tmp_path).engine == stored.present_engine()
    faults = [str(fault) for fault in prose.engine_faults(Exceptions(), results=tmp_path)]
    assert len(faults) == 2
    assert "none.json:0: of an engine that it does not name" in faults[0]
    assert "old.json:0: of engine 0" in faults[1]
    let_pass = Exceptions(engines={"old": "an hour", "none": "an hour"})
    assert not prose.engine_faults(let_pass, results=tmp_path)
    needless = Exceptions(engines={"old": "", "none": "", "new": "", "gone": ""})
    said = [str(fault) for fault in prose.engine_faults(needless, results=tmp_path)]
    assert ["new.json" in said[0], "gone.json" in said[1], len(said)] == [True, True, 2]


def test_a_list_of_exceptions_has_engines_too(tmp_path):
    path = tmp_path / "exceptions.toml"
    path.write_text('[[engine]]\nfile = ["a", "atlas/b"]\nreason = "an hour"\n', encoding="utf-8")
    assert prose.read_exceptions(path).engines == {"a": "an hour", "atlas/b": "an hour"}


def test_words_of_a_result_file_are_taken_as_they_stand_there(place, tmp_path):
    Stored("", 0, {}, more={"doubts": ["χ = |a| moves (p < 1e-15)"]}).write(tmp_path / "docs" / "results" / "run.json")
    line = "| in doubt: χ = \\|a\\| moves (p < 1e-15) <!-- words: run --> |"
    assert place(line) == ([], [])
    assert place(line.replace("1e-15", "1e-14")) == ([], ["p < 1e-14"])


def test_an_exception_is_for_its_own_digits_and_is_a_fault_where_nothing_needs_it(place):
    exempt = Exempt("README.md", "in 2.7 × the time", "a ratio of two machines")
    assert place("It runs in 2.7 × the time.", exempt) == ([], [])
    faults, unmarked = place("It runs in 2.8 × the time.", exempt)
    assert unmarked == ["2.8 ×"]
    assert "an exception that nothing needs any more" in faults[0]


def test_a_page_whose_old_numbers_have_no_marks_is_checked_where_it_has_some(place):
    pages = {"README.md": "to be rewritten"}
    assert place("It is 0.5 ± 0.1, and 0.998 ± 0.005 <!-- number: main.c -->.", pages=pages) == ([], [])
    assert "is not main.c" in place("It is 0.5 ± 0.1, and 0.997 ± 0.005 <!-- number: main.c -->.", pages=pages)[0][0]
    assert "needs no exception any more" in place(GOOD, pages=pages)[0][0]


def test_marks_that_fit_a_number_are_found(tmp_path, place):
    results = tmp_path / "docs" / "results"
    assert prose.fitting("0.998 ± 0.005", results) == ["main.c"]
    assert prose.fitting("0.998 ± 0.006", results) == []


def test_an_exception_needs_a_reason(tmp_path):
    path = tmp_path / "exceptions.toml"
    path.write_text('[[exception]]\npage = "README.md"\ntext = "2.7 ×"\nreason = " "\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"no reason for '2\.7 ×'"):
        prose.read_exceptions(path)


def test_one_reason_may_be_that_of_several_numbers_each_of_which_is_needed(tmp_path, place):
    path = tmp_path / "exceptions.toml"
    path.write_text(
        '[[exception]]\npage = "README.md"\ntext = ["2.7 ×", "0.5 ± 0.1"]\nreason = "long"\n', encoding="utf-8"
    )
    numbers = prose.read_exceptions(path).numbers
    assert place("2.7 × and 0.5 ± 0.1", *numbers) == ([], [])
    faults, unmarked = place("2.7 × and 0.6 ± 0.1", *numbers)
    assert unmarked == ["0.6 ± 0.1"]
    assert "nothing needs any more: '0.5 ± 0.1'" in faults[0]


def test_a_result_file_comes_back_as_it_was_written(tmp_path):
    written = Stored(
        "python -m langevin_ib.sim", 3, VALUES, OUTPUT, "2026-01-02", {"jax": "1"}, "1", {"cell": "uv-stiff"}
    )
    written.write(tmp_path / "atlas" / "x.json")
    assert stored.read("atlas/x", tmp_path) == written
    assert json.loads((tmp_path / "atlas" / "x.json").read_text())["seed"] == 3


def test_a_remade_number_is_another_one_beyond_three_standard_errors():
    old = Stored("", 0, {"c": Number(1.0, 0.01), "n": Number(2.0)})
    assert not recipes.compared(old, Stored("", 0, {"c": Number(1.04, 0.01), "n": Number(2.001)}))
    assert recipes.compared(old, Stored("", 0, {"c": Number(1.05, 0.01), "n": Number(2.0)})) == [
        "c: 1.0 ± 0.01, now 1.05 ± 0.01"
    ]
    assert recipes.compared(old, Stored("", 0, {"c": Number(1.0, 0.01)})) == ["n: no longer there"]


def test_one_rule_compares_numbers_with_an_error_with_an_interval_and_with_neither():
    """|a − b| ≤ 3 standard errors of the difference and a thousandth; a band over seeds is no error."""
    for a, b, agree in [(1.0, 1.042, True), (1.0, 1.045, False)]:
        interval = [Number(x, bounds=(x - 0.0196, x + 0.0196)) for x in (a, b)]
        assert interval[0].agrees(interval[1]) is agree
        assert Number(a, 0.01).agrees(Number(b, 0.01)) is agree
        assert Number(a, 0.01).agrees(interval[1]) is agree
    band = {"bounds": (0.5, 1.5), "bounds_at": ("/row/low90", "/row/high90")}
    assert Number(1.0, **band).agrees(Number(1.0009, **band))
    assert not Number(1.0, **band).agrees(Number(1.01, **band))
    assert not Number(1.0).agrees(Number(1.01))


def test_a_recipe_takes_its_numbers_from_the_summary(monkeypatch):
    summary = {"c": {"c": 0.5, "se": 0.1}, "tv": 0.01, "low": 0.0, "high": 0.02}
    monkeypatch.setattr(stored, "run", lambda _: Outcome(0, summary, ("c = 0.5",), ""))
    made = recipes.make(recipes.Recipe("python -m x", {name: VALUES[name] for name in ("c", "tv")}, output=True))
    assert (made.values["c"].value, made.values["c"].error) == (0.5, 0.1)
    assert (made.values["tv"].bounds, made.output) == ((0.0, 0.02), ("c = 0.5",))
    with pytest.raises(UsageError, match=r"summary\.json has nothing at /share"):
        recipes.make(recipes.Recipe("python -m x", VALUES))


def test_a_file_is_that_of_its_recipe():
    found = recipes.read_recipes()
    made = [key for key in found if (stored.RESULTS / f"{key}.json").is_file()]
    assert "main" in made
    for key in made:
        recipe, kept = found[key], stored.read(key)
        assert kept.command == recipe.command
        assert list(kept.values) == list(recipe.values)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.md"], "no page nowhere.md"),
        (["--remake", "nothing"], "no result file nothing.json in results"),
        (["--remake", "engine"], "engine.json has numbers of a command without summary.json"),
    ],
)
def test_bad_input_is_one_line(arguments, says, capsys):
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.full
def test_a_command_is_run_and_its_numbers_come_out_again():
    """A small one, twice: the same seed gives the same numbers."""
    small = "python -m langevin_ib.sim --chains 64 --steps 4000 --reference none --step-check no"
    recipe = recipes.Recipe(small, {"c": Number(None, at="/invariants/z/correction/c")}, output=True)
    first, second = recipes.make(recipe), recipes.make(recipe)
    assert first.values == second.values
    assert first.output == second.output
