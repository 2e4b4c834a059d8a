"""A result as a value: equal where its numbers are, through a pickle, and not where one differs."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from helpers import small_result

from langevin_ib.models import uv
from langevin_ib.output.folders import summary_json
from langevin_ib.statistics.records import Absent, Doubt


def other_mass(result):
    """The same but for one bin of one law."""
    invariant = result.invariants["z"]
    law = invariant.laws["exact"]
    changed = dataclasses.replace(law, mass=law.mass + np.array([1e-12, 0.0, 0.0, 0.0]))
    return {"z": dataclasses.replace(invariant, laws=invariant.laws | {"exact": changed})}


CHANGES = {
    "a number": lambda result: {"run": dataclasses.replace(result.run, draws=4801)},
    "a bin": lambda result: {"invariants": other_mass(result)},
    "a name": lambda result: {"verdicts": {"exact": "undecided", "other": "differs"}},
    "a doubt": lambda result: {"doubts": (Doubt("r_hat", "the chains have not mixed"),)},
    "none for one": lambda result: {"step_check": None},
    "a reason for a number": lambda result: {"coefficient": Absent("c", "log det G is constant")},
    "a setting": lambda result: {
        "plan": dataclasses.replace(result.plan, config=result.plan.config.replace(margin=0.02))
    },
    "the trace": lambda result: {"trace": {"value": result.trace["value"] + 1.0}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_results_are_equal_where_their_numbers_are(change):
    result = small_result()
    assert result == small_result()
    assert result != small_result(**CHANGES[change](result))
    assert result != result.summary


def test_a_number_that_is_missing_equals_itself():
    result = small_result()
    stuck = small_result(mixing=result.mixing._replace(r_hat=float("nan")))
    assert stuck == dataclasses.replace(stuck)
    assert stuck != result


def test_a_pickle_is_equal_of_a_model_that_was_given_as_an_object_too(x64):
    result = small_result()
    result.summary  # noqa: B018 - kept, and not pickled
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert "summary" not in again.__dict__
    plan = result.plan
    own = small_result(plan=dataclasses.replace(plan, config=plan.config.replace(model=uv(), target=None, depth=None)))
    again = pickle.loads(pickle.dumps(own))
    assert again.plan.reduction is None
    assert again == own
    assert again != result


def test_a_result_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(small_result())


def test_the_summary_is_plain_and_kept():
    result = small_result()
    assert result.summary is result.summary
    assert result.summary == result.to_dict() == json.loads(summary_json(result.to_dict()))
