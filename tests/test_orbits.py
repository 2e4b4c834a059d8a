"""Orbits followed by the action: how often they meet the slice, and what `follow_orbits` says where they do not."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib.models import build_model, uv
from langevin_ib.studies.orbits import follow_orbits

POINTS = jnp.array([[2.0, 0.5], [0.3, 3.0], [-1.0, -2.0]])


def test_each_orbit_meets_the_slice_once_at_the_section_and_moves_there_with_det_g(x64):
    found = follow_orbits(uv(), POINTS)
    assert found.crossings.tolist() == [1.0, 1.0, 1.0]
    assert found.invariance.max() < 1e-12
    assert found.section_gap[:2].max() < 1e-10
    assert found.square_speed_gap.max() < 1e-7
    # Of u, v < 0 the model's section is the representative with u, v > 0: −1, a discrete symmetry, lies between.
    assert found.section_gap[2] == pytest.approx(4.0)


@pytest.mark.full
def test_a_slice_that_is_met_twice_or_never_and_an_invariant_that_changes_are_seen(x64):
    """Controls: χ with two zeros on an orbit, χ without any, an `invariant` that is none."""
    model = uv()

    def charge(params):
        return jnp.log(params[:1] / params[1:])

    twice = dataclasses.replace(model, moment_map=lambda p: charge(p) ** 2 - 1.0)
    assert follow_orbits(twice, POINTS).crossings.tolist() == [2.0, 2.0, 2.0]
    never = dataclasses.replace(model, moment_map=lambda p: charge(p) ** 2 + 1.0)
    found = follow_orbits(never, POINTS)
    assert found.crossings.tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(found.section_gap).all()
    wrong = dataclasses.replace(model, invariants=lambda p: {"z": p[0] + p[1]})
    assert follow_orbits(wrong, POINTS).invariance.min() > 0.1


def test_a_group_of_more_dimensions_is_refused():
    with pytest.raises(ValueError, match="uv has a group of 2 dimensions, not of one"):
        follow_orbits(build_model("uv", {"depth": 3}), jnp.ones((1, 3)))
