"""The sentence that a run is led by: for every combination of verdicts, and never more than they say."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers import small_result

from langevin_ib.laws.candidates import LawAbout
from langevin_ib.output.answer import answer, standing_of
from langevin_ib.runs.verdicts import DriftStretch, Group, LawResult
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Comparison
from langevin_ib.statistics.records import Absent, Doubt

VERDICTS = ("agrees", "differs", "undecided")
NAMES = ("exact", "slice", "printed")
WITHIN = "to within TV 0.01"
C = "(c = 1.020 ± 0.050)"
MASS = np.array([0.1, 0.5, 0.3, 0.1])


def law(name, verdict, tv):
    comparison = Comparison(tv, 0.004, tv / 2, 2 * tv, 0.2, verdict)
    return LawResult(LawAbout(name, "dz", "p", "limit"), MASS, 0 * MASS, None, None, comparison, 0.0)


def result_of(verdicts, groups=(), **changes):
    """A run of these verdicts, with distances that rise in the order of the laws."""
    laws = {name: law(name, verdict, 0.01 * place) for place, (name, verdict) in enumerate(verdicts.items(), 1)}
    base = small_result(verdicts=verdicts, groups=tuple(groups), **changes)
    invariants = {name: dataclasses.replace(seen, laws=laws) for name, seen in base.invariants.items()}
    return dataclasses.replace(base, invariants=invariants)


def said(verdicts, groups=(), **changes):
    return answer(result_of(dict(zip(NAMES, verdicts, strict=False)), groups, **changes))


def test_one_law_agrees():
    text = f"The draws obey the slice law {WITHIN} {C}, not the exact or printed law."
    assert said(("differs", "agrees", "differs")) == text
    assert said(("agrees",)) == f"The draws obey the exact law {WITHIN} {C}."


def test_several_agree_and_the_margin_does_not_tell_them_apart():
    together = [Group(("exact", "slice"), 4e-4, "agrees")]
    text = f"The draws obey the exact or slice law {WITHIN}, which does not tell these apart {C}, not the printed law."
    assert said(("agrees", "agrees", "differs"), together) == text
    assert said(("agrees", "undecided", "differs"), together) == text  # one verdict for them together
    apart = said(("agrees", "agrees", "differs"))
    assert apart == text.replace("exact or slice law", "exact law as well as the slice law")


def test_where_all_agree_the_run_tells_nothing():
    text = f"The draws obey every law here {WITHIN} {C}, so that the run tells nothing between them."
    assert said(("agrees",) * 3) == said(("agrees",) * 3, [Group(NAMES, 0.0, "agrees")]) == text


def test_none_agrees():
    least = "the least distance measured is TV 0.0100, to the exact law"
    text = f"The draws obey none of the 3 laws here {WITHIN} {C}: {least}."
    assert said(("differs",) * 3) == text
    text = f"The draws do not obey the exact law {WITHIN} {C}: the distance measured is TV 0.0100."
    assert said(("differs",)) == text


def test_undecided():
    assert said(("undecided",) * 3) == f"This run cannot decide which law the draws obey {WITHIN} {C}."
    text = (
        f"The draws do not obey the printed law {WITHIN} {C}; whether they obey the exact or slice law, this run "
        "cannot decide."
    )
    assert said(("undecided", "undecided", "differs")) == text
    text = (
        f"The draws obey the exact law {WITHIN} {C}, not the printed law; whether they obey the slice law too, this "
        "run cannot decide."
    )
    assert said(("agrees", "undecided", "differs")) == text


def laws_in(text):
    """The laws that a piece of a sentence names."""
    return {name for name in NAMES if name in text}


@pytest.mark.parametrize("verdicts", list(itertools.product(VERDICTS, repeat=3)))
def test_no_sentence_says_more_than_its_verdicts(verdicts):
    text = said(verdicts)
    by = {each: {name for name, got in zip(NAMES, verdicts, strict=True) if got == each} for each in VERDICTS}
    decided, _, open_ = text.partition("whether they obey")
    obeyed, _, refused = decided.partition(", not ")
    if by["agrees"] == {*NAMES}:
        assert "obey every law here" in text
    elif by["differs"] == {*NAMES}:
        assert "obey none of the 3 laws here" in text
    elif by["undecided"] == {*NAMES}:
        assert text.startswith("This run cannot decide which law the draws obey")
    elif by["agrees"]:
        assert (laws_in(obeyed), laws_in(refused), laws_in(open_)) == (by["agrees"], by["differs"], by["undecided"])
    else:
        assert obeyed.startswith("The draws do not obey")
        assert (laws_in(obeyed), laws_in(open_)) == (by["differs"], by["undecided"])
    assert text.endswith(".")
    assert text.count("(c = ") == 1


@pytest.mark.parametrize("verdicts", list(itertools.product(VERDICTS, repeat=2)))
def test_a_doubt_leaves_no_verdict_whatever_the_numbers(verdicts):
    mixed = Doubt("r_hat", "the chains have not mixed: R-hat 1.2 > 1.1; run more steps", 1.2, 1.1)
    assert said(verdicts, doubts=(mixed,)) == "No verdict: the chains have not mixed: R-hat 1.2 > 1.1."
    text = said(verdicts, doubts=(mixed, mixed, mixed))
    assert text == "No verdict: the chains have not mixed: R-hat 1.2 > 1.1 (and 2 more doubts)."


def test_a_c_that_is_not_estimated_is_not_named():
    absent = Absent("c", "log det G is constant")
    assert (
        said(("agrees", "differs"), coefficient=absent) == f"The draws obey the exact law {WITHIN}, not the slice law."
    )


def test_unconfined_draws_are_told_with_their_condition_and_their_drift():
    base = small_result()
    protocol = base.protocol.__class__(**{**vars(base.protocol), "conditioned_on": "|χ| < 0.1", "stationary": False})
    stretch = DriftStretch((0.0, 1.0), Coefficient(0.0, 0.1, (-0.2, 0.2), 64), 0.9, 0.1, 1.0, 0.0, 0.1)
    text = said(("agrees", "differs"), protocol=protocol, drift=(stretch,))
    assert text == (
        f"The draws with |χ| < 0.1 obey the exact law {WITHIN} {C}, not the slice law; all draws together drift, and "
        "have no law."
    )


def test_of_several_invariants_each_has_to_agree():
    base = small_result()
    edges = next(iter(base.plan.edges.values()))
    plan = dataclasses.replace(base.plan, edges={"z_1": edges, "z_2": edges})
    assert f"{WITHIN} in every invariant" in said(("agrees", "differs"), plan=plan)
    assert "least distance" not in said(("differs", "differs"), plan=plan)  # not every invariant is shown


def test_without_a_law_there_is_no_verdict_to_tell():
    base = small_result()
    bare = dataclasses.replace(base, verdicts={}, missing=("law slice: no noise at the minimum",))
    assert answer(bare) == "There is no law here to hold the draws against: law slice: no noise at the minimum."
    assert answer(dataclasses.replace(bare, missing=())) == "There is no law here to hold the draws against."


def test_a_group_stands_as_one():
    groups = [Group(("exact", "slice"), 1e-3, "undecided")]
    standing = standing_of({"exact": "differs", "slice": "undecided", "hard": "differs"}, groups)
    assert standing == ((), (("hard",),), (("exact", "slice"),))


def with_c(result, **cs):
    """The same, with what the laws' c are."""
    invariants = {
        name: dataclasses.replace(
            seen, laws={law: dataclasses.replace(row, c=cs.get(law)) for law, row in seen.laws.items()}
        )
        for name, seen in result.invariants.items()
    }
    return dataclasses.replace(result, invariants=invariants)


def test_a_limit_within_the_margin_whose_c_is_another_is_not_said_to_be_obeyed():
    """c = 1.02 ± 0.05; the control: a c inside the interval, and a law of the protocol's own."""
    verdicts, group = {"exact": "agrees", "slice": "agrees", "printed": "differs"}, Group(NAMES[:2], 4e-4, "agrees")
    result = result_of(verdicts, [group])
    said_of = f"The draws obey the exact law {WITHIN} {C}, not the printed law; the slice law is as near, but its c"
    assert answer(with_c(result, slice=0.0)) == f"{said_of} is not theirs."
    assert answer(with_c(result, slice=1.0)) == answer(result)
    alone = with_c(result_of({"slice": "agrees", "printed": "differs"}), slice=0.0)
    assert answer(alone) == (
        f"The slice law is that of the draws {WITHIN}, but its c is not theirs {C}; they do not obey the printed law."
    )
