"""Lines of a run's report that explain what a newcomer met: c beside the law that agrees, χ, groups, what helps."""

import dataclasses

import pytest
from helpers import small_result

from langevin_ib.cli.command import with_options
from langevin_ib.config.processes import LangevinSettings, ProcessSettings, SgdSettings
from langevin_ib.output.report import findings
from langevin_ib.runs.doubts import convergence_doubts
from langevin_ib.runs.protocol import SliceDepartures
from langevin_ib.runs.verdicts import Group
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.records import Doubt

AGREES = {"exact": "agrees", "naive": "differs"}


def lines(**changes):
    return [line.text for line in findings(small_result(**changes))]


def remarks(c, low, high, **changes):
    coefficient = Coefficient(c, 0.05, (low, high), 64)
    return [line for line in lines(coefficient=coefficient, **changes) if line.startswith("the interval leaves out")]


def test_a_c_whose_interval_leaves_out_that_of_the_law_that_agrees_is_told_and_is_no_doubt():
    said = [
        "the interval leaves out 0.970, the c of the law exact, which agrees: of runs that obey it exactly one in 20 "
        "does so by chance, and runs with other seeds tell"
    ]
    assert remarks(1.14, 1.04, 1.24, verdicts=AGREES) == said
    assert remarks(0.86, 0.76, 0.96, verdicts=AGREES) == said
    assert remarks(1.05, 0.95, 1.15, verdicts=AGREES) == []  # 0.97 lies in it
    assert remarks(1.14, 1.04, 1.24) == []  # no law agrees
    doubts = (Doubt("r_hat", "the chains have not mixed"),)
    undecided = {"exact": "undecided", "naive": "undecided"}
    assert remarks(1.14, 1.04, 1.24, verdicts=undecided, doubts=doubts) == []


def test_of_a_law_that_is_a_limit_it_is_said_that_these_settings_may_be_off_it():
    base = small_result()
    seen = base.invariants["z"]
    exact = seen.laws["exact"]
    limit = dataclasses.replace(exact, about=exact.about._replace(role="limit"))
    invariants = {"z": dataclasses.replace(seen, laws=seen.laws | {"exact": limit})}
    (line,) = remarks(1.14, 1.04, 1.24, verdicts=AGREES, invariants=invariants)
    assert "it is the law of a limit, from which these settings may be some way off; of runs that obey it" in line
    (line,) = remarks(1.14, 1.04, 1.24, verdicts=AGREES)
    assert "limit" not in line


def test_of_several_laws_that_agree_each_may_explain_c():
    base = small_result()
    seen = base.invariants["z"]
    laws = {**seen.laws, "naive": dataclasses.replace(seen.laws["naive"], c=1.2)}
    invariants = {"z": dataclasses.replace(seen, laws=laws)}
    both = {"exact": "agrees", "naive": "agrees"}
    assert remarks(1.14, 1.04, 1.24, verdicts=both, invariants=invariants) == []
    (line,) = remarks(1.5, 1.4, 1.6, verdicts=both, invariants=invariants)
    assert "leaves out 1.200, the c of the law naive, the nearest of those that agree" in line


@pytest.mark.parametrize(("spread", "style", "end"), [
    (4e-16, "", "by 4e-16 over it, harmless here: the theorem's law is the same with either"),
    (0.3, "yellow", "by 0.3 over it, and the theorem's law with it"),
])  # fmt: skip
def test_a_slice_that_is_not_canonical_is_a_warning_where_it_changes_the_law(spread, style, end):
    protocol = dataclasses.replace(small_result().protocol, slice=SliceDepartures(0.1, 0.2, spread))
    (line,) = (line for line in findings(small_result(protocol=protocol)) if "not canonical" in line.text)
    assert line.text.startswith(
        "the slice is not canonical, for ∇χ is not the direction of the action: eq. (42) is off"
    )
    assert line.text.endswith(end)
    assert line.style == style


def test_a_verdict_of_laws_together_is_one_over_all_invariants_where_there_are_several():
    groups = (Group(("exact", "naive"), 1e-3, "undecided"),)
    end = "one verdict for them together{}, undecided"
    (line,) = (line for line in lines(groups=groups) if line.startswith("(a) "))
    assert end.format("") in line
    seen = small_result().invariants["z"]
    (line,) = (line for line in lines(groups=groups, invariants={"z_1": seen, "z_2": seen}) if line.startswith("(a) "))
    assert end.format(" over all invariants") in line


MIXING = {
    LangevinSettings: "many times the steps, a lower beta or a larger step_size",
    SgdSettings: "many times the steps or a larger lr, and where they collapse a smaller lr or less noise",
    ProcessSettings: "many times the steps",
}


@pytest.mark.parametrize("process", MIXING)
def test_what_helps_chains_that_hardly_mix_is_a_setting_of_their_process(process):
    (doubt,) = convergence_doubts(small_result().mixing._replace(r_hat=2.0), process=process)
    assert str(doubt).endswith(MIXING[process])
    options = with_options(str(doubt))
    assert "_" not in options
    assert ("--beta" in options, "--lr" in options) == (process is LangevinSettings, process is SgdSettings)


@pytest.mark.parametrize(("text", "said"), [
    ("raise law_draws", "raise --law-draws"),
    ("raise burn_in or steps", "raise --burn-in or --steps"),
    ("the step is not checked (step_check no)", "the step is not checked (--step-check no)"),
    ("run more steps or more chains", "run more steps or more chains"),
    ("model mine:step_size fails at step_size.py:3 in step_size(x)", None),
    ("use --precision 64", None),
    ("my_own_word and z_1", None),
])  # fmt: skip
def test_a_command_names_settings_as_its_options(text, said):
    assert with_options(text) == (said or text)
