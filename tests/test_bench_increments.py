"""The rule by which four points are held against normals, on counts whose law is known; sources of `stream_quality`."""

import numpy as np
import pytest

from langevin_ib.ensemble.accumulators import WindowSums
from sims.bench import stream_quality
from sims.bench.increments import TAILS, Truth, arm_of, decide, refine

EDGES = np.linspace(-2.0, 2.0, 21)
TESTS = 2 * (1 + len(TAILS))


def window(values, edges):
    """Of chains of draws."""
    counts = np.stack([np.histogram(row, edges)[0] for row in values])
    return WindowSums(counts, (values < edges[0]).sum(axis=1), (values >= edges[-1]).sum(axis=1))


def arm(rng, chains, draws, scale=1.0, cut=np.inf):
    """Independent normal draws, none of them beyond the cut."""
    values = scale * rng.standard_normal((chains, draws))
    values = np.where(np.abs(values) > cut, 0.0, values)
    refined, starts, at = refine(EDGES, np.array([-1.9, 1.9]))
    return {"x": arm_of(window(values, refined), Truth(refined, starts, at, np.ones(1), None, None))}


def test_the_rule_holds_is_open_and_fails():
    """`fails` has a false-positive rate of 5% by construction; the controls are a scale 3% off, and a missing tail."""
    rng = np.random.default_rng(5)
    normal = arm(rng, 1000, 4000)
    assert decide(normal, arm(rng, 1000, 4000), TESTS).word == "holds"
    assert decide(arm(rng, 100, 400), arm(rng, 100, 400), TESTS).word == "open"
    assert decide(normal, arm(rng, 1000, 4000, scale=1.03), TESTS).word == "fails"
    clipped = decide(normal, arm(rng, 1000, 4000, cut=2.5), TESTS)
    assert (clipped.word, clipped.where) == ("fails", "outside of x")


def test_a_refined_bin_is_the_sum_of_its_parts():
    rng = np.random.default_rng(6)
    values = rng.standard_normal((50, 200))
    refined, starts, at = refine(EDGES, np.array([-1.93, 1.87]))
    found = arm_of(window(values, refined), Truth(refined, starts, at, np.ones(1), None, None))
    np.testing.assert_array_equal(found.histogram.counts, window(values, EDGES).counts)
    inside = np.abs(values) < 2.0
    assert found.tails[2].value == pytest.approx(np.mean(values[inside] < -1.93))
    assert found.tails[3].value == pytest.approx(np.mean(values[inside] >= 1.87))
    assert found.tails[4].value == pytest.approx(np.mean(~inside))


def test_words_of_chains_are_taken_in_turn(monkeypatch):
    monkeypatch.setattr(stream_quality, "WORDS", 1024)

    def words(source):
        return np.frombuffer(next(stream_quality.blocks(source)), np.uint32)

    pair, one, many = (words(source) for source in ("neighbours", "one", "interleaved"))
    np.testing.assert_array_equal(pair[::2], one[:512])
    np.testing.assert_array_equal(many[:2], pair[:2])
    repeated = words("repeated")
    np.testing.assert_array_equal(repeated[::2], repeated[1::2])
