"""Numbers that a change of the code's structure may not change: those that take longer, see `test_golden.py`."""

import adapter
import cases
import long_numbers
import pytest
from comparing import differences, load, plain
from test_golden import check_mala, check_seen, judged, path_differences, plan_differences, summary_differences

from langevin_ib import RunConfig

pytestmark = pytest.mark.full

LONG = {"relative": 1e-4, "absolute": 1e-7}  # steps in float32


@pytest.mark.parametrize("name", cases.LONG_PLANS)
def test_the_plan_is_the_stored_one(name):
    assert plan_differences(name, cases.LONG_PLANS[name]) == []


@pytest.mark.parametrize("name", cases.LONG_JUDGED)
def test_the_judge_says_of_the_stored_draws_what_it_said(name):
    assert summary_differences(name, judged(name, cases.LONG_JUDGED[name])) == []


@pytest.mark.parametrize("name", cases.LONG_PATHS)
def test_chains_take_the_stored_paths(name):
    assert path_differences(name, adapter.path_of(RunConfig(**cases.LONG_PATHS[name]))) == []


def test_a_percent_more_learning_rate_is_another_path():
    check_seen("sgd label", {"lr": 0.0202})


@pytest.mark.parametrize("name", cases.LONG_MALA)
def test_five_steps_of_mala_end_where_they_did_and_twice_the_same(name):
    check_mala(name, cases.LONG_MALA[name])


@pytest.mark.parametrize("name", long_numbers.NUMBERS)
def test_a_study_gives_the_stored_numbers(name):
    assert differences(load("long.json")[name], plain(long_numbers.NUMBERS[name]()), **LONG) == []
