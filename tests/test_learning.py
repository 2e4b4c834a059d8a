"""λ̂ = (E ℓ − ℓ_min)/T of runs against quadrature that shares nothing with them, and what is said of ℓ_min."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from helpers import small_result

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.errors import ModelError
from langevin_ib.models import data_training, measure_only, uv
from langevin_ib.output.learning import learning_lines
from langevin_ib.output.report import findings
from langevin_ib.runs.lowest import LossDescent, loss_descent, lowest_loss
from langevin_ib.runs.plan import build_reduction
from langevin_ib.stages import Engine, Stillness
from langevin_ib.statistics.learning import LearningCoefficient, Lowest, Measured, learning_coefficient
from langevin_ib.statistics.records import Absent
from langevin_ib.statistics.sample import Counted, Moments, Sample, Stretch, Sums

WINDOW = (0.05, 1.5)
HAAR = {"model": "extra_kinds:off_axes", "confine": "extra_kinds:HAAR"}
# One test of each number at a fixed key: a right one is further off than this in one of 16 000.
LEVEL = 4.0


def mean_energy(power, low, high, temperature=0.1):
    """E ℓ/T of the density z^power e^(−ℓ/T), ℓ = z²/2, on an interval."""

    def moment(k):
        def density(z):
            energy = z * z / (2 * temperature)
            return energy**k * z**power * math.exp(-energy)

        return scipy.integrate.quad(density, low, high)[0]

    return moment(1) / moment(0)


def test_quadrature_gives_the_coefficients_in_closed_form():
    # z^(2λ − 1) e^(−z²/2T) on the half-line has E ℓ/T = λ.
    assert mean_energy(0.0, 0.0, 20.0) == pytest.approx(0.5)
    assert mean_energy(-0.5, 0.0, 20.0) == pytest.approx(0.25)


@pytest.mark.full
@pytest.mark.parametrize(
    ("settings", "power"),
    [
        (HAAR | {"integrator": "mala", "step_size": 0.1, "laws": ("pushforward",)}, 0.0),
        ({"target": 0.0, "confine": "hard", "step_check": False, "laws": ("hard",)}, -0.5),
    ],
)
def test_draws_at_a_singular_minimum_have_the_coefficient_of_their_c(settings, power):
    """uv at y = 0, where c = −1 and c = 0 leave z⁰ and z^(−1/2) before e^(−z²/2T): λ = 1/2 and 1/4."""
    config = RunConfig(window=WINDOW, chains=512, steps=20_000, reference="none", **settings)
    learning = langevin_ib.run(config).learning
    assert isinstance(learning, LearningCoefficient)
    every, window = learning.all_draws, learning.window
    assert max(every.se, window.se) < 0.01
    assert abs(every.value - mean_energy(power, 0.0, 20.0)) < LEVEL * every.se
    assert abs(window.value - mean_energy(power, *WINDOW)) < LEVEL * window.se
    # The coefficient of the other c, and that of a regular model where this is singular.
    other = -0.5 - power
    assert abs(every.value - mean_energy(other, 0.0, 20.0)) > 10 * every.se
    assert abs(window.value - mean_energy(other, *WINDOW)) > 10 * window.se
    assert learning.regular == 0.5
    assert learning.below == 0.0
    assert 0.0 <= learning.lowest.loss < 1e-12


def quadratic():
    """Six parameters, curvatures over a decade, and a minimum that is not 0."""
    curvatures = np.geomspace(1.0, 10.0, 6)
    return measure_only(
        "quadratic",
        loss=lambda p: 0.5 * jnp.sum(jnp.asarray(curvatures, p.dtype) * p**2) + 2.0,
        init=lambda key: jax.random.normal(key, (6,)),
        scalars=lambda p: {"first": p[0]},
    )


@pytest.mark.full
def test_a_regular_model_has_half_of_its_dimension_and_not_at_another_temperature():
    config = RunConfig(model=quadratic, chains=256, steps=8000, step_check=False)
    learning = langevin_ib.run(config).learning
    # Leimkuhler–Matthews has the variance T/κ of a quadratic at any step: λ̂ is q/2 at any T.
    assert learning.regular == 3.0
    assert learning.window is None
    assert learning.lowest.loss == pytest.approx(2.0, abs=1e-12)
    assert learning.all_draws.se < 0.01
    assert abs(learning.all_draws.value - 3.0) < LEVEL * learning.all_draws.se
    assert abs(1.03 * learning.all_draws.value - 3.0) > LEVEL * learning.all_draws.se  # a temperature 3% wrong


def a_sample(losses, lowest, counted=None):
    """Draws whose ℓ/T have these means in each chain, ten of each; `counted` are those of fewer."""
    means, n = np.asarray(losses, float), np.full(len(losses), 10)
    sums = Sums(10.0 * means, n) if counted is None else counted
    moments = Moments(n, means[:, None], 0.0 * means[:, None])
    whole = Stretch(
        Counted({}, sums, sums, sums), None, moments, moments,
        loss=Moments(n, means, 0.0 * means), lowest=np.full(means.size, lowest),
    )  # fmt: skip
    still = Stillness(np.zeros(means.size, int), np.zeros(means.size, int))
    return Sample(("z",), (whole,), whole, {}, {}, means, still, Engine(1, 256))


def test_a_mean_over_chains_less_the_minimum_with_its_error():
    found = learning_coefficient(
        a_sample([1.0, 2.0, 3.0], 0.5), Lowest(0.05, 0.0, 8), temperature=0.1, dimensions=(5, 2)
    )
    assert found.all_draws == pytest.approx((1.5, 1.0 / math.sqrt(3.0)))
    assert (found.window, found.regular, found.below, found.seen) == (None, 1.5, 0.0, pytest.approx(0.05))


def test_a_lower_loss_than_the_minimum_is_said_with_what_it_does_to_the_number():
    found = learning_coefficient(a_sample([1.0, 2.0], 0.2), Lowest(0.05, 1e-9, 8), temperature=0.1, dimensions=(2, 1))
    assert found.below == pytest.approx(0.03, rel=1e-3)
    lines = [line.text for line in learning_lines(small_result(learning=found))]
    assert "λ̂ is too low, by 0.3 at least" in lines[-1]
    # Rounding is no lower loss.
    near = learning_coefficient(
        a_sample([1.0, 2.0], 0.5 - 1e-7), Lowest(0.05, 0.0, 8), temperature=0.1, dimensions=(2, 1)
    )
    assert near.below == 0.0


def test_a_measure_that_cannot_be_normalised_has_a_window_alone():
    counted = Sums(np.array([4.0, 6.0]), np.array([4, 4]))
    sample = a_sample([1.0, 2.0], 0.5, counted)
    found = learning_coefficient(sample, Lowest(0.0, 0.0, 8), temperature=0.1, dimensions=(2, 1), improper="it drifts")
    assert found.all_draws == Absent("λ̂", "it drifts")
    assert found.window.value == pytest.approx(1.25)
    lines = [line.text for line in learning_lines(small_result(learning=found))]
    assert lines[1] == "no λ̂ over all draws: it drifts"


def test_the_change_at_half_the_step_is_that_of_the_means():
    found = learning_coefficient(
        a_sample([1.0, 2.0], 0.5), Lowest(0.0, 0.0, 8), temperature=0.1, dimensions=(2, 1),
        companion=a_sample([1.5, 2.5], 0.5),
    )  # fmt: skip
    assert found.step_change == pytest.approx((0.5, math.hypot(0.5, 0.5)))


def test_the_line_of_a_run():
    (line,) = [line.text for line in findings(small_result()) if "λ̂" in line.text]
    assert line == (
        "λ̂ = (E ℓ − ℓ_min)/T = 0.51 ± 0.02 over all draws, 0.49 ± 0.02 over those in the window; a regular model has "
        "(q − m)/2 = 0.5; ℓ_min = 1e-12 to 1e-13, by L-BFGS from 8 starts (lowest draw 2e-09); at h/2 λ̂ changes by "
        "+0.01 ± 0.03"
    )
    assert not [line for line in findings(small_result(learning=None)) if "λ̂" in line.text]


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        ({"confine": "weight-decay"}, "λ|θ|²/2, λ = 0.3"),
        ({"confine": "extra_kinds:TILTED"}, "|θ|⁴/4"),
        ({"confine": "extra_kinds:QUARTIC"}, None),  # vanishes on the slice, as `stiff` does
        ({"confine": "stiff"}, None),
    ],
)
def test_a_confinement_that_moves_the_minimum_is_told_by_what_laws_keep_of_it(settings, formula):
    plain = small_result()
    config = RunConfig(chains=64, **settings)
    plan = dataclasses.replace(plain.plan, config=config, reduction=build_reduction(config))
    told = [line.text for line in learning_lines(dataclasses.replace(plain, plan=plan))]
    lines = [text for text in told if "no learning coefficient" in text]
    assert lines == ([] if formula is None else [
        f"with C = {formula}, chains are where ℓ + C is least, and λ̂ has the height of ℓ above ℓ_min there, over T, in "
        "it: no learning coefficient unless C goes down with T"
    ])  # fmt: skip


def test_the_line_of_a_loss_without_an_end():
    """Of separable data, say, as the draws and the ray are told; with an end, the control, there is a number."""
    sample, lines = a_sample([1.0, 2.0], 0.5), {}
    for endless in (True, False):
        lowest = Lowest(0.0, 0.0, 8, endless=endless)
        learning = learning_coefficient(sample, lowest, temperature=0.1, dimensions=(2, 1))
        lines[endless] = [line.text for line in learning_lines(small_result(learning=learning))]
    assert lines[True] == [
        "no λ̂: ℓ has no minimum: from the lowest place that was found it falls along a ray, for ever"
    ]
    assert lines[False][0].startswith("λ̂ = (E ℓ − ℓ_min)/T = 1.5 ± 0.5 over the draws")


def test_the_lowest_loss_and_what_is_left():
    lowest, where = lowest_loss(uv())
    assert 0.0 <= lowest.loss <= 1e-15
    assert float(where[0] * where[1]) == pytest.approx(1.0)
    nowhere = dataclasses.replace(uv(), loss=lambda p: jnp.log(-1.0 - p[0] ** 2))
    with pytest.raises(ModelError, match="at none of its starts"):
        lowest_loss(nowhere)


def wells():
    """Two wells, the lower of which no start is in."""
    return measure_only(
        "wells",
        loss=lambda p: 0.2 * (p[0] ** 2 - 1.0) ** 2 + 0.2 * p[0] + 0.5 * p[1] ** 2,
        init=lambda key: jnp.array([0.9, 0.0]) + 0.02 * jax.random.normal(key, (2,)),
        scalars=lambda p: {"x": p[0]},
    )


def test_a_lower_basin_is_found_from_where_chains_ended():
    """Of nine chains one has left for the lower well; without it, the control, it is not found."""
    descent = LossDescent(wells())
    found, _ = descent.from_starts()
    ends = np.tile([0.9, 0.0], (8, 1))
    same, lower = descent.from_ends(found, ends), descent.from_ends(found, np.vstack([ends, [-1.0, 0.3]]))
    assert same.loss == pytest.approx(found.loss, abs=1e-12)
    assert lower.loss == pytest.approx(-0.21123457694, abs=1e-9)
    assert lower.ends == 8


def test_starts_and_ends_come_down_by_one_compiled_program():
    """The loss is traced for the first of them alone; for a model that is another record, the control, again."""
    traced = []

    def loss(p):
        traced.append(p)
        return uv().loss(p)

    reduction = build_reduction(RunConfig(model=lambda: dataclasses.replace(uv(), loss=loss)))
    traced.clear()
    found, _ = loss_descent(reduction).from_starts()
    first = len(traced)
    loss_descent(reduction.on_slab(0.1)).from_ends(found, np.ones((16, 2)))
    assert len(traced) == first > 0
    LossDescent(reduction.model).from_ends(found, np.ones((16, 2)))
    assert len(traced) > first


def test_a_loss_that_falls_for_ever_has_no_coefficient():
    """log(1 + e^(−z)) of uv, whose infimum is at infinity; with labels of both signs, the control, there is one."""
    labels = {"separable": [1.0, 1.0], "mixed": [1.0, -1.0]}
    found = {}
    for name, y in labels.items():
        training = data_training(lambda p, x: x * p[0] * p[1], [1.0, 2.0], y, "logistic")
        found[name], _ = lowest_loss(
            dataclasses.replace(uv(), loss=lambda p, t=training: t.risk(t.task, p), training=training)
        )
    assert found["separable"].endless
    assert not found["mixed"].endless
    assert not lowest_loss(uv(0.0))[0].endless
    sample = a_sample([1.0, 2.0], 0.5)
    absent = learning_coefficient(sample, found["separable"], temperature=0.1, dimensions=(2, 1))
    assert isinstance(absent, Absent)
    assert "no minimum" in absent.why


def test_a_mean_is_written_with_its_error():
    assert str(Measured(0.4987, 0.00123)) == "0.4987 ± 0.0012"
