"""Laws against their closed forms, in the measure that each is written in."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special

from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.errors import LawError
from langevin_ib.laws import Reduction, bin_masses, build_laws, family, formula
from langevin_ib.laws.law import law_kinds
from langevin_ib.laws.named.exact import exact
from langevin_ib.models import uv

T = 0.1
Z = np.linspace(0.05, 2.5, 80)


def log_gibbs(z, y=1.0):
    return -((z - y) ** 2) / (2 * T)


def assert_same_law(log_density, wanted, tolerance=1e-10):
    """Equal up to a normalisation."""
    difference = log_density - wanted
    assert np.ptp(difference) < tolerance


def reduction(confinement=None, depth=2, target=1.0):
    return Reduction(uv(target, depth), confinement or stiff(100.0), T)


@pytest.mark.parametrize(
    ("depth", "c", "power"), [(2, 1.0, -1), (2, 0.0, -1 / 2), (2, -1.0, 0), (3, 1.0, -4 / 3), (3, -1.0, 0)]
)
def test_the_family_is_the_power_of_z_that_the_theory_gives(depth, c, power):
    law = family(reduction(depth=depth), c, "f")
    assert law.measure == "dσ_S"
    assert_same_law(law.log_density(Z), log_gibbs(Z) + power * np.log(Z))


def test_for_uv_printed_is_hard_and_naive_is_pushforward_though_their_measures_differ():
    r = reduction()
    assert_same_law(r.law(formula(r, "printed")).log_density(Z), family(r, 0.0, "hard").log_density(Z))
    assert_same_law(r.law(formula(r, "naive")).log_density(Z), family(r, -1.0, "pushforward").log_density(Z))
    assert r.law(formula(r, "printed")).measure == r.law(formula(r, "naive")).measure == "dz"


@pytest.mark.full(only=["0.5", "400.0"])
@pytest.mark.parametrize("kappa", [0.5, 4.0, 40.0, 400.0])
def test_exact_under_stiff_confinement_is_the_scaled_bessel_function(kappa):
    a = kappa * Z**2 / (4 * T)
    assert_same_law(exact(reduction(stiff(kappa))).log_density(Z), log_gibbs(Z) + np.log(special.k0e(a)))


@pytest.mark.parametrize("lam", [0.01, 0.3, 3.0])
def test_exact_under_weight_decay_is_the_bessel_function(lam):
    x = lam * Z / T
    wanted = log_gibbs(Z) + np.log(special.k0e(x)) - x
    assert_same_law(exact(reduction(weight_decay(lam))).log_density(Z), wanted)


@pytest.mark.full
def test_exact_on_the_negative_branch_is_its_mirror_image():
    positive = exact(reduction(stiff(4.0), target=1.0)).log_density(Z)
    negative = exact(reduction(stiff(4.0), target=-1.0)).log_density(-Z)
    np.testing.assert_allclose(positive, negative, rtol=1e-12)


def test_exact_on_a_slab_is_the_inverse_hyperbolic_sine():
    law = exact(reduction(unconfined()).on_slab(0.1))
    assert_same_law(law.log_density(Z), log_gibbs(Z) + np.log(np.arcsinh(0.1 / Z)))


@pytest.mark.full
def test_exact_at_depth_three_is_the_integral_over_the_orbit():
    """∫ e^{−C/T} over u v w = z is ∫∫ du dv / |uv|: another route to the same number, by scipy."""
    kappa = 10.0

    def marginal(z):
        def integrand(a, b):
            u, v = math.exp(a), math.exp(b)
            w = z / (u * v)
            chi = 0.5 * (u * u - v * v), 0.5 * (v * v - w * w)
            return math.exp(-kappa * (chi[0] ** 2 + chi[1] ** 2) / (2 * T))

        middle = math.log(z) / 3
        return integrate.dblquad(integrand, middle - 2, middle + 2, middle - 2, middle + 2, epsabs=1e-9)[0]

    z = np.array([0.6, 1.3])
    wanted = log_gibbs(z) + np.log([marginal(x) for x in z])
    assert_same_law(exact(reduction(stiff(kappa), depth=3)).log_density(z), wanted, tolerance=1e-6)


@pytest.mark.full
def test_the_marginal_tends_to_the_slice_law_as_the_confinement_stiffens():
    distances = []
    for kappa in (4.0, 40.0, 400.0):
        r = reduction(stiff(kappa))
        edges = np.linspace(0.2, 2.2, 21)
        distances.append(0.5 * np.abs(bin_masses(exact(r), edges) - bin_masses(family(r, 1.0, "slice"), edges)).sum())
    assert distances[0] > 5 * distances[1] > 25 * distances[2]


def test_under_weight_decay_the_reduced_loss_has_the_penalty():
    r = reduction(weight_decay(0.3))
    assert_same_law(family(r, 0.0, "hard").log_density(Z), log_gibbs(Z) - 0.3 * Z / T - 0.5 * np.log(Z))


def test_bin_masses_are_integrals_also_in_coarse_bins_and_at_a_singular_end():
    edges = np.array([0.0, 0.3, 2.5])
    law = exact(reduction(weight_decay(0.3)))

    def density(z):
        return math.exp(log_gibbs(z)) * special.k0(0.3 * z / T)

    wanted = np.array([integrate.quad(density, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges)])
    np.testing.assert_allclose(bin_masses(law, edges, (True, False)), wanted / wanted.sum(), atol=1e-9)


@pytest.mark.parametrize(("depth", "power"), [(2, "1.00"), (3, "1.33")])
def test_a_law_that_is_not_normalisable_says_where_and_how_it_diverges(depth, power):
    law = family(reduction(depth=depth), 1.0, "slice")
    with pytest.raises(LawError, match=rf"slice \[dσ_S\] is not normalisable .* \|z − 0\|\^\(−{power}\) at z = 0"):
        bin_masses(law, np.linspace(0.0, 2.0, 9), (True, False))


def test_laws_that_do_not_exist_for_a_protocol_are_named_with_the_reason():
    laws, missing = build_laws(reduction(unconfined()), law_kinds(("exact", "slice")))
    assert [law.name for _, law in laws] == ["slice"]
    assert "not normalisable" in missing[0]
    _, missing = build_laws(reduction(depth=6), law_kinds(("exact",)))
    assert "group of dimension 5" in missing[0]
