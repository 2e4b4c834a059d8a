"""The kit that tests other people's samplers and plug-ins: right ones pass, and each planted mistake is named.

Keys are fixed; a right sampler is refused with the probability `level`, 1e-3 by default.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import langevin_ib
from langevin_ib.errors import ConfigError
from langevin_ib.models import uv
from langevin_ib.testing import (
    Check,
    ConformanceError,
    Sampler,
    check_invariance,
    check_kernel,
    check_law,
    check_model,
    check_noise,
    checks_of,
    effective_temperature,
    parametrize_with_checks,
    stateful,
)
from langevin_ib.testing.extrapolation import fit

T = 0.1
SMALL = {"temperature": T, "chains": 256, "steps": 800}
PLUGIN = Path(__file__).parent / "plugin"


def by_hand(noise, drift=1.0):
    def step(rng, x, gradient, h):
        return x - drift * h * gradient(x) + noise(h) * rng.normal(size=x.shape)

    return Sampler(step, backend="numpy", batched=True)


PLANTED = {
    "twice the variance": by_hand(lambda h: (4 * h * T) ** 0.5),
    "half the variance": by_hand(lambda h: (h * T) ** 0.5),
    "temperature enters twice in the noise": by_hand(lambda h: (2 * h) ** 0.5 * T),
    "temperature is left out": by_hand(lambda h: (2 * h) ** 0.5),
    "step size stands for its root: h √(2T)": by_hand(lambda h: h * (2 * T) ** 0.5),
    "step size is left out": by_hand(lambda h: (2 * T) ** 0.5),
    "drift is halved": by_hand(lambda h: (2 * h * T) ** 0.5, 0.5),
    "step size means h/2": by_hand(lambda h: (h * T) ** 0.5, 0.5),
    "step size means 2h": by_hand(lambda h: (4 * h * T) ** 0.5, 2.0),
    "h∇V/T": by_hand(lambda h: (2 * h * T) ** 0.5, 1 / T),
}


def test_a_right_step_in_numpy_passes_with_its_bias_and_its_bound():
    answer = effective_temperature(by_hand(lambda h: (2 * h * T) ** 0.5), **SMALL)
    assert answer.passed
    assert answer.verdict.startswith("T = 0.")
    assert "right" in answer.verdict
    oracle = 1 / (1 - answer.product / 2) - 1  # Euler and Maruyama's, exactly
    assert abs(answer.bias.value - oracle) < 4 * answer.bias.error
    assert answer.stable == pytest.approx(2.0, rel=0.07)


@pytest.mark.full(but=["0", "4"])
@pytest.mark.parametrize("words", PLANTED, ids=map(str, range(len(PLANTED))))
def test_a_planted_mistake_is_named(words):
    answer = effective_temperature(PLANTED[words], **SMALL)
    assert not answer
    assert words in answer.verdict


@pytest.mark.full
def test_a_step_in_jax_and_an_object_that_moves_itself():
    def step(key, x, gradient, h):
        return x - h * gradient(x) + jnp.sqrt(2 * h * T) * jax.random.normal(key, x.shape)

    class Walk:
        def __init__(self, rng, start, gradient, h):
            self.rng, self.x, self.gradient, self.h = rng, start, gradient, h

        def step(self):
            self.x += -self.h * self.gradient(self.x) + (4 * self.h * T) ** 0.5 * self.rng.normal(size=self.x.shape)
            return self.x

    assert effective_temperature(step, **SMALL).passed
    answer = effective_temperature(stateful(Walk), temperature=T, chains=32, steps=600)
    assert "twice the variance" in answer.verdict


def test_friction_that_enters_twice_is_named():
    """OBABO with the decay of a whole step in each half, the noise that of a half: T/2 at small steps."""

    def step(rng, state, gradient, h, twice=2.0):
        x, p = state
        kept, noise = np.exp(-twice * h / 2), np.sqrt(T * (1 - np.exp(-h)))
        p = kept * p + noise * rng.normal(size=x.shape) - h / 2 * gradient(x)
        x = x + h * p
        return x, kept * (p - h / 2 * gradient(x)) + noise * rng.normal(size=x.shape)

    def start(rng, x, gradient, h):
        return x, T**0.5 * rng.normal(size=x.shape)

    answer = effective_temperature(Sampler(step, start, lambda state: state[0], batched=True), **SMALL)
    assert "in a kinetic sampler friction enters twice" in answer.verdict


@pytest.mark.full
def test_an_acceptance_without_the_ratio_of_proposals_is_named():
    """Its law is exp(−2V/T), and it is bounded at every step."""

    def step(key, x, loss, h):
        move, coin = jax.random.split(key)
        there = x - h * jax.grad(loss)(x) + jnp.sqrt(2 * h * T) * jax.random.normal(move, x.shape)
        return jnp.where(jnp.log(jax.random.uniform(coin)) < (loss(x) - loss(there)) / T, there, x)

    answer = effective_temperature(Sampler(step, gives="loss"), **SMALL)
    assert "the acceptance leaves out the ratio of the proposals" in answer.verdict


def test_a_noisy_lion_has_no_temperature():
    """Its drift is a sign, its noise a Langevin step's."""

    def step(rng, state, gradient, h):
        x, m = state
        slope = gradient(x)
        moved = x - h * np.sign(0.9 * m + 0.1 * slope) + (2 * h * T) ** 0.5 * rng.normal(size=x.shape)
        return moved, 0.99 * m + 0.01 * slope

    lion = Sampler(step, lambda rng, x, gradient, h: (x, 0 * x), lambda state: state[0], batched=True)
    answer = effective_temperature(lion, **SMALL, step_size=0.01)
    assert not answer
    assert answer.verdict.startswith("It has no temperature: T is ")


@pytest.mark.full
def test_a_right_step_of_few_chains_is_not_said_to_be_wrong():
    """200 right steps at the default level, 1e-3: two or more said to be wrong have probability below 0.02.

    Where h, or T itself, was judged without a test, 13 of 279 were said to be wrong.
    """
    right = by_hand(lambda h: (2 * h * T) ** 0.5)
    few = {"temperature": T, "chains": 24, "steps": 250}
    answers = [effective_temperature(right, seed=seed, **few) for seed in range(200)]
    assert sum(answer.decided and not answer.passed for answer in answers) < 2
    undecided = [answer for answer in answers if not answer.decided]
    assert len(undecided) < 30
    assert all("undecided" in answer.verdict and not answer.passed for answer in undecided)


@pytest.mark.parametrize("words", ["twice the variance", "step size stands for its root: h √(2T)"])
def test_a_mistake_is_named_with_few_chains_too(words):
    answer = effective_temperature(PLANTED[words], temperature=T, chains=48, steps=1000)
    assert answer.decided
    assert words in answer.verdict


def test_the_extrapolation_keeps_its_level():
    """600 replicates of Euler's bias: T₀ is off by over 3 errors in 0.27% of them, in 8 or more with p < 1e-3."""
    rng = np.random.default_rng(0)
    x = np.repeat([0.2, 0.1, 0.05], 3) * np.tile([0.25, 0.5, 1.0], 3)
    errors = np.full(9, 0.003)
    z = []
    for _ in range(600):
        found = fit(x, 1 / (1 - x / 2) + errors * rng.normal(size=9), errors).temperature
        z.append((found.value - 1) / found.error)
    assert np.sum(np.abs(z) > 3) < 8
    assert 0.9 < np.std(z) < 1.1
    assert np.mean(z) < 0.15


@pytest.mark.parametrize(
    ("step", "settings", "message"),
    [
        (lambda key, x, gradient, h: x, {}, "step must be one whose randomness comes from its key"),
        (
            lambda key, x, gradient, h: x - h * gradient(x) + np.random.normal(size=x.shape),  # noqa: NPY002
            {},
            "step must be one whose randomness comes from its key alone, got another state for the same key",
        ),
        (
            Sampler(lambda rng, x, gradient, h: x - h * gradient(x) + rng.normal(size=x.shape[1:]), batched=True),
            {},
            "step must be one with random numbers of each chain's own, got 64 chains that move as one",
        ),
        (
            lambda key, x, gradient, h: (x + jax.random.normal(key, x.shape), 1),
            {},
            "step must be one that returns a state like that of `init`",
        ),
        (lambda key, x, gradient, h: x[:2], {}, "step must be one that keeps the position's shape (8,), got (2,)"),
        (lambda key, x, gradient, h: key.nothing, {}, "step must be a function (key, state, gradient, step_size)"),
        (by_hand(lambda h: h), {"temperature": -1.0}, "temperature must be a positive number, got -1.0"),
        (
            by_hand(lambda h: h),
            {"chains": 15},
            "chains must be a whole number from 16, as errors are those of chains, got 15",
        ),
        (by_hand(lambda h: h), {"level": 2.0}, "level must be a probability, got 2.0"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(step, settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        effective_temperature(step, **{**SMALL, **settings})
    assert "\n" not in str(caught.value)


def metropolis(law, wrong=0.0):
    def step(key, x):
        move, coin = jax.random.split(key)
        proposed = x + 0.3 * jax.random.normal(move)
        accepted = jnp.log(jax.random.uniform(coin)) < law.log_prob(proposed) - law.log_prob(x) + wrong
        return jnp.where(accepted, proposed, x)

    return step


def test_a_law_stays_under_metropolis_and_not_without_its_correction():
    """A right step is refused with probability 1e-5."""
    law = langevin_ib.law("slice", beta=10.0)
    right = check_invariance(metropolis(law), law, key=jax.random.key(0), steps=3)
    assert right.passed
    assert right.level == 1e-5
    wrong = check_invariance(metropolis(law, 1.0), law, key=jax.random.key(0), steps=3)
    assert not wrong
    assert "The law does not stay" in wrong.verdict


def test_a_step_with_randomness_from_elsewhere_is_refused_and_one_that_gives_no_number_fails():
    def elsewhere(key, x):
        return 0.7 * x + 0.51**0.5 * np.random.normal(size=np.shape(x))  # noqa: NPY002

    with pytest.raises(ConfigError, match="randomness comes from its key alone, got another state for the same key"):
        check_invariance(elsewhere, dist.Normal(), key=0)
    assert not check_invariance(lambda key, x: x * jnp.nan, dist.Normal(), key=0, draws=64)
    still = check_invariance(lambda key, x: x, dist.Normal(), key=0, draws=64)
    assert still.verdict.endswith("No chain moved.")


@pytest.mark.full
def test_the_sequential_test_keeps_its_level():
    """At level 0.2, 20 right steps: more than 10 refusals have probability below 1e-3."""

    def turn(key, x):
        return jnp.where(jax.random.bernoulli(key), -x, x)

    passed = [
        bool(check_invariance(turn, dist.Normal(), key=jax.random.key(seed), draws=64, level=0.2)) for seed in range(20)
    ]
    assert sum(passed) > 9


def test_every_check_of_a_plug_in_runs_as_its_own_test_and_an_expected_failure_that_passes_is_one(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    expected = {"cold": "h is divided", "weak order": "h is divided", "record": "there is none"}
    names = {check.name: check for check in checks_of("kernel", "extra_kinds:SLOWED", expected)}
    names["cold"]()  # fails, as expected
    with pytest.raises(ConformanceError, match=r"record: was expected to fail \(there is none\), and passes"):
        names["record"]()
    with pytest.raises(ConfigError, match="expected_failures must be checks among record"):
        checks_of("kernel", "extra_kinds:SLOWED", {"clod": "a slip"})
    with pytest.raises(ConfigError, match="expected_failures must be a reason for cold"):
        checks_of("kernel", "extra_kinds:SLOWED", {"cold": " "})
    mark = parametrize_with_checks(("kernel", "extra_kinds:SLOWED"), expected_failures={"cold": "h is divided"})
    marks = {param.values[0].name: param.marks for param in mark.args[1]}
    assert marks["cold"][0].kwargs["strict"]
    assert not marks["record"]


def test_what_is_wrong_is_one_line(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    checks = {check.name: check for check in checks_of("kernel", "extra_kinds:SLOWED")}
    with pytest.raises(ConformanceError, match="kernel extra_kinds:SLOWED: cold: at T = 0 a step is not"):
        checks["cold"]()
    wrong = uv()
    with pytest.raises(ConformanceError, match="contract"):
        check_model(langevin_ib.models.with_moment_map(wrong, lambda p: jnp.ones(1)))
    with pytest.raises(ConfigError, match="kernel euler-maruyama"):
        check_noise("isotropic")
    for check in (check_kernel, check_law, check_noise):
        with pytest.raises(ConfigError):
            check("bogus")
    assert str(Check("law", "mine", "mass", lambda: None)) == "law mine: mass"


def test_the_package_imports_neither_the_kit_nor_pytest():
    code = (
        "import sys, langevin_ib; assert 'langevin_ib.testing' not in sys.modules and 'jax' not in sys.modules; "
        "import langevin_ib.testing; assert 'pytest' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=120)


@pytest.mark.full
def test_a_plug_in_tests_itself_by_one_decorator():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", str(PLUGIN)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(PLUGIN), str(PLUGIN.parents[1])))},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
