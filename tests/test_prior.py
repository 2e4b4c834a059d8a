"""The prior example, small: its tasks, its numbers, its table."""

import numpy as np
import pytest

from sims.numbers import stored
from sims.studies import prior


def test_tasks_are_those_that_the_docstring_tells_of():
    one, again, other = prior.task_of("few", 3), prior.task_of("few", 3), prior.task_of("few", 4)
    np.testing.assert_array_equal(one.x, again.x)
    assert not np.array_equal(one.x, other.x)
    assert sorted(np.abs(one.w))[-4:] == [0.0, 2.0, 2.0, 2.0]
    assert (prior.task_of("many", 0).w != 0).all()
    assert (prior.task_of("mixed", 0).w != 0).sum() == 8


def test_the_table_has_means_errors_and_paired_differences():
    numbers = {"few": {"horseshoe": {"held-out error": [1.0, 3.0]}, "induced": {"held-out error": [2.0, 4.0]}}}
    first, second = prior.table(numbers)[1:]
    assert "2.000 ± 1.000" in first
    assert "minus" not in first
    assert "3.000 ± 1.000   minus horseshoe +1.000 ± 0.000" in second


def test_a_result_file_has_means_errors_and_every_seed(tmp_path):
    mixed = {"largest R-hat": [1.01, 1.02], "diverging": [0.0, 0.125]}
    horseshoe, induced = {"held-out error": [1.0, 3.0], **mixed}, {"held-out error": [2.0, 4.5], **mixed}
    numbers = {"few": {"horseshoe": horseshoe, "induced": induced}}
    prior.stored(numbers, 2, "python -m sims.prior --seeds 2").write(tmp_path / "prior.json")
    kept = stored.read("prior", tmp_path)
    assert kept.values["few_horseshoe_held_out_error"] == stored.Number(2.0, 1.0)
    assert kept.values["few_induced_held_out_error_gap"] == stored.Number(1.25, 0.25)
    assert kept.values["few_induced_worst_diverging"] == stored.Number(0.125)
    assert kept.more == {"seeds": 2, "by_seed": numbers}


def test_seeds_whose_chains_have_not_converged_are_counted_and_left_out_of_the_differences_beside():
    horseshoe = {"held-out error": [1.0, 3.0, 9.0], "largest R-hat": [1.01, 1.02, 1.2], "diverging": [0.0] * 3}
    induced = {"held-out error": [2.0, 4.5, 0.0], "largest R-hat": [1.01, 1.02, 1.03], "diverging": [0.0] * 3}
    values = prior.stored({"few": {"horseshoe": horseshoe, "induced": induced}}, 3, "").values
    assert values["few_horseshoe_worst_r_hat"] == stored.Number(1.2)
    assert (values["few_horseshoe_not_converged"].value, values["few_induced_not_converged"].value) == (1.0, 0.0)
    assert values["few_induced_held_out_error_gap_converged"] == stored.Number(1.25, 0.25)
    assert values["few_induced_held_out_error_gap"].value != 1.25


def test_one_seed_has_no_error_bar():
    with pytest.raises(SystemExit, match="two at least, for an error bar, got 1"):
        prior.main(["--seeds", "1"])


@pytest.mark.full
def test_a_small_one_runs():
    """Two seeds, 60 draws: finite numbers, shares between 0 and 1, all three priors, and kept at the end."""
    counts = []
    numbers = prior.study(2, ["few"], draws=60, keep=lambda _, seeds: counts.append(seeds))
    assert counts == [2]
    assert list(numbers["few"]) == ["horseshoe", "induced", "naive"]
    for by_seed in numbers["few"].values():
        assert all(np.isfinite(values).all() and len(values) == 2 for values in by_seed.values())
        assert all(0.0 <= value <= 1.0 for name in by_seed if "coverage" in name for value in by_seed[name])
        assert np.mean(by_seed["held-out error"]) < 6.0  # of the zero vector it is 13
