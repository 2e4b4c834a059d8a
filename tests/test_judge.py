"""The judge on draws that nobody sampled: verdicts, what withholds them, and the order of doubts."""

import dataclasses
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import pytest

from langevin_ib import RunConfig
from langevin_ib.ensemble.records import Schedule
from langevin_ib.laws.candidates import KnownLaw, LawAbout, Masses
from langevin_ib.runs.doubts import health_doubts
from langevin_ib.runs.judge import judge
from langevin_ib.runs.plan import Plan, build_reduction
from langevin_ib.runs.process import Check, Draws, Prepared
from langevin_ib.runs.verdicts import StepCheck
from langevin_ib.stages import Engine, Stillness
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Counted, Moments, Sample, Stretch, Sums, WindowCounts

CHAINS, DRAWS, KEPT = 128, 2000, 40
EDGES = np.linspace(0.3, 2.0, 7)
RIGHT = np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.1])
WRONG = RIGHT[::-1]


def sample_of(mass, *, inside=True, seed=0) -> Sample:
    """Independent chains whose draws fall into the bins with these probabilities, or all outside the window."""
    rng = np.random.default_rng(seed)
    stretches = []
    for _ in range(2):
        counts = rng.multinomial(DRAWS // 2, mass, size=CHAINS) * int(inside)
        n = np.full(CHAINS, DRAWS // 2)
        windows = {"z": WindowCounts(counts, np.zeros(CHAINS, int), n - counts.sum(axis=1))}
        sums = Sums(rng.normal(0.0, 1.0, CHAINS), n)
        moments = Moments(n, 1.0 + 0.01 * rng.standard_normal((CHAINS, 1)), np.full((CHAINS, 1), 0.1))
        stretches.append(Stretch(Counted(windows, sums, sums), None, moments, moments))
    first, last = stretches

    def both(a, b):
        return type(a)(*(x + y for x, y in zip(a, b, strict=True)))

    window = both(first.counted.windows["z"], last.counted.windows["z"])
    sums = both(first.counted.statistic, last.counted.statistic)
    whole = Stretch(Counted({"z": window}, sums, sums), None, first.value._replace(n=2 * first.value.n), first.charge)
    trace = {"value": 1.0 + 0.3 * rng.standard_normal((CHAINS, KEPT, 1))}
    ends = np.abs(rng.standard_normal((CHAINS, 2))) + 0.5
    return Sample(
        ("z",),
        tuple(stretches),
        whole,
        trace,
        {},
        ends,
        Stillness(np.zeros(CHAINS, int), np.zeros(CHAINS, int)),
        Engine(1, 256),
    )


class Unfitted:
    """A law of which no temperature fits the draws."""

    about = LawAbout("fitted", "dσ_S", "", "fitted")

    def masses(self, sample):
        return Absent("fitted", f"at no temperature has it the mean loss of {sample.draws} draws")


def law(name, mass, role="limit"):
    return KnownLaw(LawAbout(name, "dσ_S", "", role), {"z": Masses(mass, None, 1.0)})


def prepared(**changes) -> Prepared:
    config = RunConfig(chains=CHAINS, steps=400, window=(0.3, 2.0), bins=6, margin=0.02, reference="none")
    plan = Plan(config, build_reduction(config), Schedule(100, 4, 74, (37, 74)), {"z": EDGES}, (False, False))
    ready = Prepared(
        plan=plan,
        candidates=(law("exact", RIGHT, "own"), law("naive", WRONG, "control"), Unfitted()),
        missing=("law slice: not here",),
        doubts=(),
        coefficient=lambda statistic: Coefficient(1.0, 0.01, (0.98, 1.02), CHAINS),
        share=lambda scalar: None,
        stationary=True,
    )
    return dataclasses.replace(ready, **changes)


@dataclasses.dataclass(frozen=True)
class Remarks:
    """What a process says besides: a doubt."""

    doubts: tuple[Doubt, ...] = (Doubt("charge", "the process doubts"),)
    independent: Any = dataclasses.field(default_factory=dict)

    def to_dict(self, result):
        return {}


@pytest.fixture(scope="module")
def main():
    with jax.enable_x64(True):
        yield Draws(sample_of(RIGHT), 0.002, 1.0)


def test_without_a_doubt_the_right_law_agrees_and_the_wrong_one_differs(main):
    """One comparison of each kind at the fixed key; its level is 5%."""
    result = judge(prepared(), main)
    assert result.doubts == ()
    assert result.verdicts == {"exact": "agrees", "naive": "differs"}
    assert result.missing == (
        "law slice: not here",
        f"law fitted: at no temperature has it the mean loss of {CHAINS * DRAWS} draws",
    )
    assert (result.step_check, result.reference, result.joint, result.drift, result.nearest) == (None,) * 5
    assert result.invariants["z"].laws["naive"].comparison.p_value < 1e-9


def test_doubts_stand_in_the_order_of_preparation_checks_process_and_withhold_every_verdict(main):
    empty = sample_of(RIGHT, inside=False)
    checks = (Check("leimkuhler-matthews", empty, 0.001, 4 / 3), Check("blackjax.mala", empty, 0.01, reference=True))
    ready = prepared(doubts=(Doubt("law", "the laws are doubted"),))
    result = judge(ready, dataclasses.replace(main, checks=checks), Remarks())
    assert [doubt.text for doubt in result.doubts] == [
        "the laws are doubted",
        "no draw of the reference MALA fell into the window: it has not settled",
        "the process doubts",
    ]
    assert result.step_check == Absent("step", "no draw of the companion run fell into the window")
    assert result.reference is None
    assert result.verdicts == {"exact": "undecided", "naive": "undecided"}
    # The distances are those of the run without doubts.
    sure = judge(prepared(), main).invariants["z"].laws["exact"].comparison
    assert result.invariants["z"].laws["exact"].comparison == sure._replace(verdict="undecided")


class Bare:
    """What a process says that has neither doubts nor variances of independent batches."""

    def to_dict(self, result):
        return {"chains": result.run.chains}


class Doubtful(Bare):
    doubts = (Doubt("charge", "the process doubts"),)


class Independent(Bare):
    independent = MappingProxyType({"z": 0.5})


def test_details_need_no_doubts_and_no_variances(main):
    plain, bare, doubtful, independent = (
        judge(prepared(), main, details) for details in (None, Bare(), Doubtful(), Independent())
    )
    assert bare == dataclasses.replace(plain, details=bare.details)
    assert bare.to_dict()["chains"] == CHAINS
    assert doubtful.verdicts != bare.verdicts
    assert [doubt.text for doubt in doubtful.doubts] == ["the process doubts"]
    moment = independent.invariants["z"]
    assert moment.variance_to_independent == pytest.approx(moment.moments.variance / 0.5)
    assert bare.invariants["z"].variance_to_independent is None


def test_where_all_chains_end_in_a_point_nothing_is_doubted(main):
    result = judge(prepared(at_rest=True, doubts=(Doubt("law", "the laws are doubted"),)), main, Remarks())
    assert result.doubts == ()


def test_checks_are_held_against_the_draws_and_the_exact_law(main):
    """A companion and a reference of the draws' own law raise no doubt; those of another law do, each its own."""

    def judged(mass):
        other = sample_of(mass, seed=1)
        checks = (
            Check("leimkuhler-matthews", other, 0.001, 4 / 3),
            Check("blackjax.mala", other, 0.01, reference=True),
        )
        return judge(prepared(), dataclasses.replace(main, checks=checks))

    same, other = judged(RIGHT), judged(WRONG)
    assert same.doubts == ()
    assert isinstance(same.step_check, StepCheck)
    assert same.reference is not None
    assert same.reference.against_exact is not None
    abouts = [doubt.about for doubt in other.doubts]
    assert abouts[0] == "step"
    assert abouts[1:3] == ["mala", "mala"]
    assert "MALA and the exact law disagree" in other.doubts[2].text


def test_a_fitted_law_is_named_as_the_nearer_one_where_it_is(main):
    fitted = KnownLaw(LawAbout("fitted", "dσ_S", "", "fitted"), {"z": Masses(RIGHT, None, 0.4, 0.1)})
    result = judge(prepared(candidates=(law("sgd", WRONG, "own"), fitted)), main)
    assert result.nearest is not None
    assert (result.nearest.law, result.nearest.fitted_law, result.nearest.decided) == (
        "fitted",
        "fitted",
        True,
    )
    assert result.fits == {"fitted": {"temperature": 0.1, "c": 0.4}}
    swapped = judge(prepared(candidates=(law("sgd", RIGHT, "own"), fitted)), main)
    assert swapped.nearest is not None
    assert (swapped.nearest.law, swapped.nearest.decided) == ("sgd", False)


@pytest.mark.parametrize(
    ("info", "stood", "doubted"),
    [
        ({}, {0: 120}, True),  # a kernel that refuses nothing does not stand still
        ({"acceptance_rate": 0.6}, {0: 120}, False),
        ({"rejected": 0.01}, {0: 120}, True),  # a step that is rejected is a bias of an unadjusted kernel
        ({"acceptance_rate": 0.6}, {0: 1200}, True),  # for a tenth of the run
        ({"acceptance_rate": 0.6}, dict.fromkeys(range(CHAINS), 120), True),  # and so many chains are felt
    ],
)
def test_a_chain_that_stands_still_is_doubted_unless_it_was_refused_and_is_not_felt(info, stood, doubted):
    still = np.zeros(CHAINS, int)
    still[list(stood)] = list(stood.values())
    sample = dataclasses.replace(
        sample_of(RIGHT),
        info={name: np.full(CHAINS, value) for name, value in info.items()},
        still=Stillness(still, 2 * still),
        engine=Engine(1, 256, steps=(10_000,)),
    )
    assert [doubt.about for doubt in health_doubts(sample)] == ["frozen"] * doubted
