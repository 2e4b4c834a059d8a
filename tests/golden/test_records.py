"""Results are records: a pickle gives an equal one, another number another one, whatever the process."""

import dataclasses
import pickle

import adapter
import cases
import numpy as np
import pytest
from comparing import STORED, slug

import langevin_ib
from langevin_ib import RunConfig

pytestmark = pytest.mark.full  # tests/test_result.py has the same of a result that is built by hand


@pytest.fixture(scope="module", params=["uv slab", "uv sgd label"])
def result(request):
    case = (cases.JUDGED | cases.LONG_JUDGED)[request.param]
    with adapter.replaying(adapter.read(STORED / f"{slug(request.param)}.npz")):
        return langevin_ib.run(RunConfig(**case))


def test_a_pickle_gives_an_equal_result(result):
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.to_dict() == result.to_dict()
    assert again.plan.reduction is not None


def test_a_result_of_another_number_is_another(result):
    name, invariant = next(iter(result.invariants.items()))
    moved = dataclasses.replace(invariant, mass=invariant.mass + 1e-12)
    assert dataclasses.replace(result, invariants={**result.invariants, name: moved}) != result
    assert dataclasses.replace(result, trace={**result.trace, "energy": result.trace["energy"] + 1e-6}) != result
    assert dataclasses.replace(result, plan=dataclasses.replace(result.plan, singular_ends=(True, True))) != result


def test_results_with_numbers_that_are_none_are_equal_to_themselves(result):
    mixing = result.mixing._replace(r_hat=float("nan"), ess=float("nan"))
    first, second = (dataclasses.replace(result, mixing=mixing) for _ in range(2))
    assert first == second
    assert first != result


def test_the_histogram_is_that_of_the_records(result):
    summary = result.to_dict()
    for name, invariant in result.invariants.items():
        np.testing.assert_array_equal(summary["invariants"][name]["empirical"], invariant.mass)
        assert invariant.mass.sum() == pytest.approx(1.0)
