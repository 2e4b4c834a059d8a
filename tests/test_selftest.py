"""The self-test: passes here, and each check sees the fault that it is there for."""

import dataclasses

import jax.numpy as jnp
import pytest

from langevin_ib.cli import selftest as command
from langevin_ib.devices import usable_cores
from langevin_ib.ensemble import streams
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.selftest import CHECKS, Outcome, chains, numbers, p_values, selftest
from langevin_ib.session import Session
from langevin_ib.statistics import compare


def outcomes(check):
    with Session().open() as session:
        return list(CHECKS[check](session))


@pytest.mark.full
def test_all_checks_pass(capfd):
    assert command.main([]) == 0
    *lines, last = capfd.readouterr().out.splitlines()
    assert all(line.startswith("pass  ") for line in lines)
    assert last == f"{len(lines)} of {len(lines)} checks have passed"


def two_points(bits, dtype):
    return jnp.where(bits & 4 == 0, jnp.asarray(1, dtype), jnp.asarray(-1, dtype))


def overconfident(test):
    """A test whose p-values are a quarter of what they should be."""
    return lambda *arguments: test(*arguments) / 4


FAULTS = {
    "reference words": (numbers, "next_word", lambda s: (streams.next_word(s)[0], streams.next_word(s)[1] ^ 1)),
    "bits": (numbers, "next_word", lambda s: (streams.next_word(s)[0], streams.next_word(s)[1] | 1)),
    "neighbouring chains": (numbers, "seeded", lambda key, which: streams.seeded(key, which // 2)),
    "increments": (numbers, "four_points", two_points),
    "levels": (compare, "p_value_of_law", overconfident(compare.p_value_of_law)),
    "levels of samples": (compare, "p_value_of_samples", overconfident(compare.p_value_of_samples)),
    "levels of a share": (compare, "p_value_of_share", overconfident(compare.p_value_of_share)),
    "power": (compare, "p_value_of_law", lambda counts, mass: 0.5),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_check_passes_and_sees_its_fault(fault, monkeypatch):
    """Of level and power 200 ensembles; by their keys, which are fixed, the sound ones pass."""
    monkeypatch.setattr(p_values, "REPLICATES", 200)
    check = fault.partition(" of ")[0]
    assert all(outcome.passed for outcome in outcomes(check))
    monkeypatch.setattr(*FAULTS[fault])
    assert not all(outcome.passed for outcome in outcomes(check))


@pytest.mark.full
def test_the_orders_see_another_integrator_and_another_temperature(monkeypatch):
    monkeypatch.setattr(chains, "INCREMENTS", ("four-point",))
    euler, leimkuhler = chains.euler_maruyama, chains.leimkuhler_matthews
    assert [outcome.passed for outcome in outcomes("integrators")] == [True, True]
    monkeypatch.setattr(chains, "euler_maruyama", leimkuhler)
    monkeypatch.setattr(chains, "leimkuhler_matthews", euler)
    assert [outcome.passed for outcome in outcomes("integrators")] == [False, False]

    def hot(*arguments, temperature, **others):
        return leimkuhler(*arguments, temperature=1.02 * temperature, **others)

    monkeypatch.setattr(chains, "leimkuhler_matthews", hot)
    assert [outcome.passed for outcome in outcomes("integrators")] == [False, False]


@dataclasses.dataclass
class Spoilt(Checkpoint):
    """Gives back another state than the one that was saved."""

    def load(self):
        saved = super().load()
        return None if saved is None else saved._replace(leaves=[saved.leaves[0] + 1, *saved.leaves[1:]])


@dataclasses.dataclass
class Forgetful(Checkpoint):
    """Never finds a state."""

    def load(self):
        return None


def test_resuming_sees_another_state_and_one_that_is_not_found(monkeypatch):
    monkeypatch.setattr(chains, "SOURCES", ("four-point",))
    assert [outcome.passed for outcome in outcomes("resume")] == [True]
    monkeypatch.setattr(chains, "Checkpoint", Spoilt)
    assert [outcome.passed for outcome in outcomes("resume")] == [False]
    monkeypatch.setattr(chains, "Checkpoint", Forgetful)
    with pytest.raises(OSError, match="began anew at step"):
        outcomes("resume")


def test_idle_cores_are_seen(monkeypatch):
    assert [outcome.passed for outcome in outcomes("cores")] == [True]
    monkeypatch.setattr(chains, "SCALAR_WIDTH", 100)  # as many chains as one block holds
    (fault,) = outcomes("cores")
    assert (fault.passed, fault.figure) == (False, len(usable_cores()) - 1)
    assert "cores was used: " in fault.what


def test_a_check_that_ends_in_an_error_has_failed(monkeypatch, capfd):
    def broken(session):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("langevin_ib.selftest.checks.CHECKS", {"increments": CHECKS["increments"], "broken": broken})
    seen = []
    found = selftest(seen.append)
    assert found == seen
    assert [(outcome.name, outcome.passed) for outcome in found] == [("increments", True), ("broken", False)]
    assert command.main([]) == 3
    assert capfd.readouterr().out.splitlines()[1:] == [
        "FAIL  broken: nan (at most 0), RuntimeError: no such instruction",
        "1 of 2 checks have passed; failed: broken",
    ]


def test_a_wrong_option_is_one_line(capfd):
    assert command.main(["--seed", "1"]) == 2
    assert capfd.readouterr().err == "python -m langevin_ib.selftest: error: unrecognized arguments: --seed 1\n"


def test_limits_are_said():
    assert str(Outcome("a", 0.5, 0.1, 1.0, "x")) == "pass  a: 0.5 (0.1 to 1), x"
    assert str(Outcome("a", 2.0, 3.0, float("inf"), "x")) == "FAIL  a: 2 (at least 3), x"
