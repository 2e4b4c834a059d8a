"""Coordinates in which a law is bounded at the end of a branch: exponents, Jacobian; and that MALA gets there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.confinements.hard import hard
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.ensemble.records import Stage
from langevin_ib.laws import Reduction, formula
from langevin_ib.models import relu
from langevin_ib.models.base import POSITIVE, Model, SliceTerms
from langevin_ib.runs import quotient as reduced
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.stretched import SINGULAR, into, log_jacobian, out_of, stretches

# γ = (κ + p)/p, κ = (q − p − 1)/2 − c/2 of THEORY's densities s^κ in dw.
CASES = [
    ("relu", None, "hard", 1 / 2),
    ("relu", None, "slice", 1 / 3),
    ("attention", None, "hard", 3 / 4),
    ("matrix", {"rows": 2, "cols": 5}, "slice", None),  # κ = 1/2: bounded, nothing to do
    ("matrix", {"group": "gl", "rank": 3}, "hard", None),  # cut, as below: the window keeps away from it
    ("hadamard", None, "hard", None),
]


@pytest.mark.full(but=["hadamard-None-hard-None"])
@pytest.mark.parametrize(("name", "options", "law", "power"), CASES)
def test_the_exponent_of_a_singular_row_is_that_of_the_closed_form(name, options, law, power, x64):
    reduction = build_reduction(RunConfig(model=name, options=options, confine="weight-decay"))
    windows = dict.fromkeys(reduction.model.cut, (0.2, 3.0))
    found = stretches(reduction, formula(reduction, law), windows)
    if power is None:
        assert found == ()
        return
    (one,) = found
    np.testing.assert_allclose(one.power, power, atol=1e-4)
    x = reduction.chart.of(reduction.model.init(jax.random.key(3)))
    y = into(found, x)
    np.testing.assert_allclose(out_of(found, y), x, rtol=1e-12)
    jacobian = jnp.linalg.slogdet(jax.jacfwd(lambda y: out_of(found, y))(y))[1]
    np.testing.assert_allclose(log_jacobian(found, y), jacobian, atol=1e-10)
    assert float(jnp.max(jnp.abs(y - x))) > 0.01


def half_line(end=0.0, shift=0.0):
    """ℓ = (z − end) + …, χ as of uv: the law hard is (z − end)^(−1/2) e^{−(z − end)/T}, a Gamma law of shape ½."""

    def loss(params):
        return params["u"] * params["v"] + 0.5 * (params["n"] + shift) ** 2

    return Model(
        name="half-line",
        group="rescaling",
        group_dim=1,
        loss=loss,
        act=lambda t, p: {**p, "u": p["u"] * jnp.exp(t[0]), "v": p["v"] * jnp.exp(-t[0])},
        moment_map=lambda p: (0.5 * (p["u"] ** 2 - p["v"] ** 2))[None],
        invariants=lambda p: {"z": p["u"] * p["v"] + end, "n": p["n"]},
        section=lambda z: {"u": jnp.sqrt(z["z"] - end), "v": jnp.sqrt(z["z"] - end), "n": z["n"]},
        init=lambda key: dict(zip("uvn", jax.random.uniform(key, (3,), minval=0.5, maxval=1.5), strict=True)),
        branches={"z": ((end, np.inf),)},
        slice_terms=lambda z: SliceTerms(
            jnp.log(2 * (z["z"] - end)), -0.5 * jnp.log(2 * (z["z"] - end)), z["z"] - end + 0.5 * (z["n"] + shift) ** 2
        ),
    )


def test_a_density_that_is_steep_at_0_but_finite_is_not_stretched(x64):
    """e^{−(n + 1)²/2T} at T = 1e-5 falls by a tenth from n = 1e-8 to 1e-6. Control: one look takes that for a power."""
    reduction = Reduction(half_line(shift=1.0), hard(), 1e-5)
    (found,) = stretches(reduction, formula(reduction, "hard"), {})
    assert found.places.tolist() == [[0]]  # z alone
    np.testing.assert_allclose(found.power, 0.5, atol=2e-2)

    def log_p(n):
        return float(formula(reduction, "hard").log_density(reduction.terms_at(jnp.array([1.0, n]))))

    assert -1 < (log_p(1e-6) - log_p(1e-8)) / np.log(100.0) < -SINGULAR


@pytest.mark.parametrize("end", [0.0, 1.5])
def test_a_users_half_line_is_stretched_at_its_end(end, x64):
    reduction = Reduction(half_line(end), hard(), 0.5)
    ((index, ends, power),) = stretches(reduction, formula(reduction, "hard"), {})
    assert index.tolist() == [[0]]
    assert ends.tolist() == [[end]]
    np.testing.assert_allclose(power, 0.5, atol=1e-6)


def drawn(reduction, law, center, monkeypatch, records=250):
    monkeypatch.setattr(reduced, "CHAINS", 256)
    monkeypatch.setattr(reduced, "RECORDS", records)
    monkeypatch.setattr(reduced, "ENOUGH", 0)
    monkeypatch.setattr(reduced, "TUNING", ((0.57, 300),))
    return reduced.sample_mala(
        reduction, formula(reduction, law), {}, np.asarray(center), key=jax.random.key(0), with_orbit=False,
        stage=Stage,
    )  # fmt: skip


def share_below(draws, name, edge):
    """Share of the draws below an edge, and its standard error by chains."""
    by_chain = (draws.scalars[name] < edge).mean(axis=1)
    return by_chain.mean(), by_chain.std(ddof=1) / by_chain.size**0.5


@pytest.mark.full
def test_mala_reaches_the_singular_end_and_without_the_stretch_does_not(x64, monkeypatch):
    """Mass of the Gamma law below 1e-3 of its scale, 3.6%: within 4.5 standard errors, which fails in 7e-6 of keys."""
    reduction = Reduction(half_line(), hard(), 0.5)
    wanted = stats.gamma.cdf(1e-3, 0.5)
    mean, se = share_below(drawn(reduction, "hard", [1.0, 0.0], monkeypatch), "z", 5e-4)
    assert abs(mean - wanted) < 4.5 * se
    assert se < 0.1 * wanted
    monkeypatch.setattr(reduced, "stretches", lambda *_: ())
    mean, se = share_below(drawn(reduction, "hard", [1.0, 0.0], monkeypatch), "z", 5e-4)
    assert abs(mean - wanted) > 4.5 * se or se > 0.2 * wanted


@pytest.mark.full
def test_mala_has_the_law_of_a_neuron_that_weight_decay_takes_to_zero(x64, monkeypatch):
    """Without data ℓ + C = ½ r s² + λ s: the law hard is s^{d/2 − 1} e^{−(ℓ + C)/T} ds, here by quadrature."""
    model = relu(inputs=3, width=1, gain=0.0, ridge=0.3)
    reduction = Reduction(model, weight_decay(0.3), 0.5)
    draws = drawn(reduction, "hard", [0.5, 0.5, 0.5], monkeypatch)
    s = np.linspace(0, 12, 400_001)[1:]
    density = s**0.5 * np.exp(-(0.15 * s**2 + 0.3 * s) / 0.5)
    for edge in (0.01, 0.1, 1.0):
        mean, se = share_below(draws, "s_1", edge)
        assert abs(mean - density[s < edge].sum() / density.sum()) < 4.5 * se  # three of them: 2e-5 of keys
    plain = dataclasses.replace(model, branches={"s_1": (POSITIVE,)})
    assert stretches(Reduction(plain, weight_decay(0.3), 0.5), formula(reduction, "hard"), {"s_1": (0.1, 2.0)}) == ()
