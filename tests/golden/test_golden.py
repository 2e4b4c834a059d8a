"""Numbers that a change of the code's structure may not change: quick ones.

Pinned are the plan of small runs, the judge on stored draws, paths of the unadjusted kernels, and steps of MALA. A
change that is meant is made by `remake.py`, in a commit of its own that says why. Those that take longer stand in
`test_golden_long.py`.
"""

import adapter
import cases
import numpy as np
import pytest
from comparing import STORED, differences, load, plain, slug

import langevin_ib
from langevin_ib import RunConfig

PLAN = {"relative": 0.0, "absolute": 0.0}
# Integrals over bins, by compiled programs; and what follows from a minimum that is searched for to 1e-8.
PLAN_LOOSE = {"^/masses/": (1e-9, 1e-12), "^/rates/": (1e-6, 1e-12)}
SUMMARY = {"relative": 1e-12, "absolute": 1e-14}  # arithmetic on stored sums
# A quantile of noise that is drawn through the square root of a covariance, whose zero eigenvalues (histograms sum to
# one) are rounding: 1e-18 of the processor's own makes 1e-9 of it. With other instructions, 2.5e-10 was seen.
SUMMARY_LOOSE = {"/tv_lower95$": (0.0, 1e-8)}
PATH = {"relative": 1e-5, "absolute": 1e-9}
# Of chains in float32, by a JAX that rounds otherwise than that of the stored numbers.
OTHER = {"relative": 1e-4, "absolute": 1e-9}
CROSSINGS = 4  # bin crossings of all chains together that a reassociated step may cause, of 2400 draws


def plan_differences(name, case):
    """Of a case's plan from the stored one; where a law is sampled, its draws are the stored ones too."""
    file = STORED / f"{slug(name)}.npz"
    if file.exists():
        with adapter.replaying(adapter.read(file)):
            plan = adapter.planned(RunConfig(**case))
    else:
        plan = adapter.planned(RunConfig(**case))
    return differences(load("plans.json")[name], plain(plan), **PLAN, loose=PLAN_LOOSE)


def judged(name, case, change=lambda kept: kept):
    """The summary of a run whose draws are the stored ones, as JSON gives it back."""
    with adapter.replaying(change(adapter.read(STORED / f"{slug(name)}.npz"))):
        return plain(adapter.summary_of(langevin_ib.run(RunConfig(**case))))


def summary_differences(name, summary):
    return differences(load(f"{slug(name)}.json"), summary, **SUMMARY, loose=SUMMARY_LOOSE)


@pytest.mark.parametrize("name", cases.PLANS)
def test_the_plan_is_the_stored_one(name):
    assert plan_differences(name, cases.PLANS[name]) == []


@pytest.mark.parametrize("name", cases.JUDGED)
def test_the_judge_says_of_the_stored_draws_what_it_said(name):
    assert summary_differences(name, judged(name, cases.JUDGED[name])) == []


def test_one_draw_in_another_bin_is_seen():
    def moved(kept):
        counts = kept["sampling/segments/0/law/windows/z/counts"]
        counts[0, np.argmax(counts[0])] -= 1
        counts[0, -1] += 1
        return kept

    lines = summary_differences("uv stiff", judged("uv stiff", cases.JUDGED["uv stiff"], moved))
    assert any("/empirical/" in line for line in lines)
    assert any(line.startswith("/invariants/z/laws/exact/tv:") for line in lines)


def another_jax():
    """Whether the stored numbers are those of another version of JAX."""
    return adapter.build()["jax"] != load("build.json")["jax"]


def path_differences(name, path):
    """Of c, sums, ends at 1e-5, and of the counts, of which a few may have crossed into another bin."""
    stored, path = load("paths.json")[name], plain(path)
    counts, others = stored.pop("counts"), path.pop("counts")
    lines = differences(stored, path, **(OTHER if another_jax() and "float32" in name else PATH))
    for scalar, bins in counts.items():
        crossed = int(np.abs(np.array(others[scalar]) - bins).sum())
        if crossed > 2 * CROSSINGS:
            lines.append(f"/counts/{scalar}: {bins} stored, {others[scalar]} new")
    return lines


def check_seen(name, change):
    """That the comparison tells a run with another setting from the stored one by everything that it looks at."""
    lines = path_differences(name, adapter.path_of(RunConfig(**{**cases.PATHS[name], **change})))
    for place in ("/c/", "/ends/", "/statistic/", "/loss/"):
        assert any(line.startswith(place) for line in lines) or (place == "/c/" and "sgd" in name)
    assert sum(line.startswith("/ends/") for line in lines) >= 16


def check_mala(name, case):
    ends, again = (adapter.mala_ends(**case) for _ in range(2))
    np.testing.assert_array_equal(ends, again)
    np.testing.assert_allclose(ends, load("mala.json")[name], rtol=1e-5)


@pytest.mark.parametrize("name", cases.MALA)
def test_five_steps_of_mala_end_where_they_did_and_twice_the_same(name):
    check_mala(name, cases.MALA[name])
