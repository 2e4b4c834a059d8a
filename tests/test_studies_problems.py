"""Problems of the figures are those of the paper, and what trains them is gradient descent on them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from langevin_ib import design
from langevin_ib.design import operators
from langevin_ib.dynamics.noise import Noise
from langevin_ib.errors import ConfigError, DivergenceError
from langevin_ib.models.training import Examples, cast
from langevin_ib.session import Session
from langevin_ib.studies.parts import NOT_ITS_OWN, NOT_THE_PAPERS
from langevin_ib.studies.presets import PRESETS
from langevin_ib.studies.recipes import (
    SEGMENTS,
    completion,
    features,
    linear_problem,
    piecewise,
    sparse_spectrum,
    student,
    together,
    wavelet,
)
from langevin_ib.studies.recovery import Recovery, run_recovery
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm, descend_linear, descend_plain, recovered, train

SEED = 3
RARE = 1e-4  # false-positive rate of each statistical test, over both sides
MAKERS = {
    "relu": lambda seeds: student(PRESETS["figure-2"], seeds, SEED),
    "attention": lambda seeds: student(PRESETS["figure-3"], seeds, SEED, samples=1),
    "completion": lambda seeds: completion(seeds, SEED),
    "spectral": lambda seeds: sparse_spectrum(seeds, SEED),
    "piecewise": lambda seeds: piecewise(seeds, SEED),
    "wavelet": lambda seeds: wavelet(seeds, SEED),
}
SHAPES = {
    "relu": {"v": (16,), "W": (16, 3)},
    "attention": {"Q": (1, 16, 8), "K": (1, 16, 8), "V": (1, 16, 8)},
    "completion": {"U": (20, 20), "V": (20, 20)},
    "spectral": {"u": (64,), "v": (64,)},
    "piecewise": {"u": (200,), "v": (200,)},
    "wavelet": {"u": (128,), "v": (128,)},
}
DATA = {
    "relu": {"v": (16,), "W": (16, 3)},
    "attention": {"Q": (1, 16, 8), "K": (1, 16, 8), "V": (1, 16, 8)},
    "completion": {"target": (20, 20), "mask": (20, 20)},
    "spectral": {"x": (32, 64), "y": (32,)},
    "piecewise": {"x": (60, 200), "y": (60,)},
    "wavelet": {"x": (48, 128), "y": (48,)},
}
TRUTH = {"completion": (20, 20), "spectral": (64,), "piecewise": (200,), "wavelet": (128,)}


@pytest.mark.full
@pytest.mark.parametrize("name", MAKERS)
def test_shapes_are_the_papers_and_a_seed_has_its_task_and_start_whatever_their_number(name, x64):
    """At another scale it starts in the same direction."""
    few, many = (MAKERS[name](seeds) for seeds in (2, 3))
    before, after, twice = few.starts(), many.starts(), many.starts(2.0 * many.start_scale)
    assert {key: leaf.shape for key, leaf in after.items()} == {k: (3, *shape) for k, shape in SHAPES[name].items()}
    for key, leaf in after.items():
        assert leaf.dtype == jnp.float32
        np.testing.assert_array_equal(leaf[:2], before[key])
        assert not np.array_equal(leaf[0], leaf[1])
        np.testing.assert_allclose(twice[key], 2.0 * leaf, rtol=1e-6)
    for key, shape in DATA[name].items():
        assert many.tasks[key].shape == (3, *shape)
        np.testing.assert_array_equal(many.tasks[key][:2], few.tasks[key])
        assert not np.array_equal(many.tasks[key][0], many.tasks[key][2])
    if name in TRUTH:
        assert many.truth.shape == many.known.shape == (3, *TRUTH[name])
        np.testing.assert_array_equal(many.truth[:2], few.truth)
    else:
        assert many.truth is None
        assert np.isnan(many.known).all()
        with pytest.raises(ValueError, match="a student recovers nothing"):
            recovered(many, after)


@pytest.mark.full
def test_outgoing_weights_of_the_relu_student_have_random_signs(x64):
    """64 seeds × 16 signs: |z| < 3.9 in all but 1e-4 of keys; alternating ones would be the same in all seeds."""
    signs = np.sign(student(PRESETS["figure-2"], 64, SEED).starts()["v"])
    assert abs(signs.sum()) < 3.9 * np.sqrt(signs.size)
    assert len({tuple(row) for row in signs.tolist()}) == 64


@pytest.mark.full
@pytest.mark.parametrize("name", ["relu", "attention"])
def test_the_loss_of_a_step_is_the_mean_squared_error_over_all_entries(name, x64):
    """So that η is the paper's."""
    problem = MAKERS[name](1)
    training = problem.model.training
    task = cast({key: value[0] for key, value in problem.tasks.items()}, {"": jnp.ones(1)})
    params = jax.tree.map(lambda leaf: leaf[0].astype(float), problem.starts(0.5))
    fresh = training.population
    examples = fresh.examples(task, jax.random.normal(jax.random.key(0), (5, *fresh.shape)))
    error = training.predict(params, examples.x) - examples.y
    np.testing.assert_allclose(
        training.batch_loss(params, examples, fresh.weight), np.mean(np.square(error)), rtol=1e-12
    )


@pytest.mark.full
@pytest.mark.parametrize("name", ["spectral", "piecewise"])
def test_the_loss_of_recovery_is_the_mean_squared_error(name, x64):
    problem = MAKERS[name](1)
    params = jax.tree.map(lambda leaf: leaf[0].astype(float), problem.starts(0.5))
    task = {key: value[0] for key, value in problem.tasks.items()}
    w = np.asarray(problem.recover(params))
    x = features_of(problem)[0]
    np.testing.assert_allclose(problem.model.training.risk(task, params), np.mean((x @ w - task["y"]) ** 2), rtol=1e-10)
    np.testing.assert_allclose(
        problem.model.training.batch_loss(params, Examples(task["x"], task["y"]), task["weight"]),
        np.mean((x @ w - task["y"]) ** 2), rtol=1e-10,
    )  # fmt: skip


def features_of(problem):
    """X of y ≈ X w, of the problem's features A w."""
    x = np.asarray(problem.tasks["x"])
    found = problem.truth.shape[1]
    return x if found == 64 else x @ operators.gradient(found).matrix


def test_the_spectral_truth_has_three_amplitudes_none_of_them_constant():
    w = sparse_spectrum(64, SEED).truth
    assert ((w != 0).sum(axis=1) == 3).all()
    assert (w[:, 0] == 0).all()
    size = np.abs(w[w != 0])
    assert 1.0 <= size.min() < 1.05
    assert 1.95 < size.max() <= 2.0
    assert 0.3 < (w[w != 0] > 0).mean() < 0.7


def test_the_piecewise_truth_has_four_segments():
    x = piecewise(2, SEED).truth
    assert SEGMENTS == ((50, 1.0), (70, -1.5), (40, 0.5), (40, 2.0))
    np.testing.assert_array_equal(x[0], [1.0] * 50 + [-1.5] * 70 + [0.5] * 40 + [2.0] * 40)
    np.testing.assert_array_equal(x[0], x[1])


def within(values, scale):
    """Whether Σ values²/scale² is in the central 1 − 10⁻⁴ of chi square, or its normal limit."""
    low, high = stats.chi2.ppf([RARE / 2, 1 - RARE / 2], values.size)
    return low < np.sum(values**2) / scale**2 < high


@pytest.mark.parametrize("name", ["spectral", "piecewise"])
def test_noise_of_the_data_has_the_papers_size(name):
    """Over 64 seeds, with a false-positive rate of 10⁻⁴; a size of 0.115 is rejected."""
    problem = MAKERS[name](64)
    residual = problem.tasks["y"] - np.einsum("snd,sd->sn", features_of(problem), problem.truth)
    assert within(residual, 0.1)
    assert not within(residual, 0.115)


def test_measurements_are_normalised_and_points_uniform():
    """Entries of A ~ N(0, 1/60), over 8 seeds, false-positive rate 10⁻⁴; 1/64 is rejected. Points by Kolmogorov."""
    A = features_of(piecewise(8, SEED))
    assert within(A, 60**-0.5)
    assert not within(A, 64**-0.5)
    t = np.arccos(np.clip(sparse_spectrum(64, SEED).tasks["x"][:, :, 1], -1.0, 1.0)) / np.pi  # t or 1 − t, times 2
    assert stats.kstest(t.ravel(), "uniform").pvalue > RARE
    assert stats.kstest(t.ravel() ** 1.2, "uniform").pvalue < RARE


def test_matrices_have_rank_two_and_a_fifth_of_their_entries_is_observed():
    """25 600 entries of 64 masks, false-positive rate 10⁻⁴; a share of 0.215 is rejected."""
    problem = completion(64, SEED)
    sigma = np.linalg.svd(problem.truth, compute_uv=False)
    np.testing.assert_allclose(sigma[:, :2], [[15.0, 5.0]] * 64, rtol=1e-10)
    assert sigma[:, 2:].max() < 1e-10
    mask = problem.tasks["mask"]
    assert set(np.unique(mask)) == {0.0, 1.0}
    np.testing.assert_array_equal(problem.tasks["target"], problem.truth)
    for share, accepted in ((0.2, True), (0.215, False)):
        low, high = stats.binom.ppf([RARE / 2, 1 - RARE / 2], mask.size, share)
        assert (low <= mask.sum() <= high) == accepted


@pytest.mark.full
def test_problems_of_several_shares_are_put_side_by_side(x64):
    parts = [completion(2, SEED, observed=share, size=4, spectrum="2,1") for share in (0.4, 0.9)]
    joined = together(parts)
    assert joined.seeds == 4
    for key in ("target", "mask"):
        np.testing.assert_array_equal(joined.tasks[key], np.concatenate([part.tasks[key] for part in parts]))
    np.testing.assert_array_equal(joined.truth, np.concatenate([part.truth for part in parts]))
    ends = train(joined, Arm(Noise("none"), 0.02, 20), stage="joined").ends
    # Seeds of the first part are those that they are alone.
    alone = train(parts[0], Arm(Noise("none"), 0.02, 20), stage="alone").ends
    np.testing.assert_allclose(ends["U"][:2], alone["U"], rtol=0, atol=1e-6)


def exact():
    """A small problem of each kind on noiseless data of a user's, with parameters that recover the truth."""
    random = np.random.default_rng(0)
    w, t = np.array([0.0, 1.5, 0.0, -2.0, 0.0]), random.uniform(size=4)
    yield sparse_spectrum(2, SEED, data={"t_train": t, "y_train": features(t, 5) @ w, "w_true": w}), w
    x, A = np.array([1.0, 1.0, -2.0, -2.0, 0.5, 0.5]), random.normal(size=(4, 6))
    z = np.diff(x, prepend=0.0)
    yield piecewise(2, SEED, data={"A": A, "y": A @ x, "x_true": x}), z
    T, mask = np.outer([1.0, -2.0, 0.5, 1.0], [1.0, 2.0, -1.0]), np.ones((4, 3))
    mask[0, 1] = mask[2, 2] = 0.0
    yield completion(2, SEED, data={"T_observed": np.where(mask, T, 7.0), "mask": mask, "T_true": T}), T


@pytest.mark.full
@pytest.mark.parametrize("index", range(3))
def test_users_data_are_used_as_given(index, x64):
    """Gradient descent that starts at the truth of noiseless data stays; with other data it leaves."""
    problem, truth = list(exact())[index]
    if truth.ndim == 2:
        left, sigma, right = np.linalg.svd(truth, full_matrices=False)
        point = {"U": left * np.sqrt(sigma), "V": right.T * np.sqrt(sigma)}
        assert {"target", "mask", "x", "y", "weight"} == set(problem.tasks)
        assert problem.tasks["y"].shape == (2, 10)
    else:
        point = {"u": np.sqrt(np.abs(truth)), "v": np.sign(truth) * np.sqrt(np.abs(truth))}
    model = dataclasses.replace(problem.model, init=lambda key: jax.tree.map(jnp.asarray, point))
    problem = dataclasses.replace(problem, model=model)
    np.testing.assert_allclose(recovered(problem, problem.starts()), problem.truth, atol=1e-6)
    still = train(problem, Arm(Noise("none"), 1e-2, 40), stage="at the truth", rows=1)
    np.testing.assert_allclose(recovered(problem, still.ends), problem.truth, atol=1e-5)
    shifted = {**problem.tasks, "y": problem.tasks["y"] + 0.1}
    if "target" in shifted:
        shifted["target"] = shifted["target"] + 0.1
    other = dataclasses.replace(problem, tasks=shifted)
    moved = train(other, Arm(Noise("none"), 1e-2, 40), stage="elsewhere", rows=1)
    assert np.abs(recovered(problem, moved.ends) - problem.truth).max() > 1e-3


@pytest.mark.full
def test_seeds_on_a_users_data_differ_by_their_starts_alone_and_the_truth_may_be_missing(x64):
    data = {"T_observed": np.ones((2, 2)), "mask": np.eye(2)}
    for seed in range(12):  # the mask that the model draws for itself is empty for some seed
        problem = completion(2, seed, data=data)
    assert problem.truth is None
    assert np.isnan(problem.known).all()
    np.testing.assert_array_equal(problem.tasks["mask"], [np.eye(2)] * 2)
    assert not np.array_equal(*problem.starts()["U"])
    without = sparse_spectrum(2, SEED, data={"t_train": np.linspace(0, 1, 5), "y_train": np.ones(5)})
    assert without.tasks["x"].shape == (2, 5, 64)


def linear(n, d, seeds=2):
    random = np.random.default_rng(n)
    return random.normal(size=(seeds, n, d)), random.normal(size=(seeds, n)), random.normal(size=(seeds, d))


def loop(x, y, w, lr, steps):
    for _ in range(steps):
        w = w - lr * 2.0 * np.einsum("snd,sn->sd", x, np.einsum("snd,sd->sn", x, w) - y) / y.shape[1]
    return w


@pytest.mark.parametrize(("n", "d"), [(4, 6), (6, 4), (5, 5)])
def test_plain_descent_in_closed_form_is_the_loop(n, d):
    """Also where there is a null space, n < d, in which w stays."""
    x, y, start = linear(n, d)
    lr, steps = 0.9 * 2.0 / np.linalg.eigvalsh(2.0 * np.swapaxes(x, 1, 2) @ x / n).max(), 40
    found = descend_linear(x, y, start, lr, steps)
    np.testing.assert_allclose(found, loop(x, y, start, lr, steps), rtol=0, atol=1e-10)
    assert np.abs(found - descend_linear(x, y, start, lr, steps - 1)).max() > 1e-8
    np.testing.assert_array_equal(descend_linear(0.0 * x, y, start, 1.0, 5), start)


def test_plain_descent_refuses_a_rate_that_diverges():
    x, y, start = linear(4, 6)
    largest = np.linalg.eigvalsh(2.0 * np.swapaxes(x, 1, 2) @ x / 4).max()
    assert np.isfinite(descend_linear(x, y, start, 0.999 * 2.0 / largest, 10_000)).all()
    with pytest.raises(ConfigError, match=r"plain_lr must be below 2/λ = .* for the plain model"):
        descend_linear(x, y, start, 1.001 * 2.0 / largest, 10)
    assert np.abs(loop(x, y, start, 1.01 * 2.0 / largest, 3000)).max() > 1e6


def test_the_plain_model_starts_small_and_each_seed_elsewhere():
    two, three = (sparse_spectrum(seeds, SEED, frequencies=5, points=4) for seeds in (2, 3))
    few, many = (descend_plain(problem, problem.tasks["x"], 1e-3, 0, 1e-4) for problem in (two, three))
    np.testing.assert_array_equal(many[:2], few)
    assert 0 < np.abs(many).max() < 1e-3
    assert not np.array_equal(many[0], many[1])
    x, y = three.tasks["x"], three.tasks["y"]
    np.testing.assert_allclose(descend_plain(three, x, 1e-2, 50, 1e-4), loop(x, y, many, 1e-2, 50), rtol=0, atol=1e-12)


def products(x, y, w1, w2, lr, steps):
    """θ' = θ − η∇ mean (X(w₁ ⊙ w₂) − y)², at every step."""
    path = []
    for _ in range(steps + 1):
        path.append((w1, w2))
        force = 2.0 * np.einsum("snd,sn->sd", x, np.einsum("snd,sd->sn", x, w1 * w2) - y) / y.shape[1]
        w1, w2 = w1 - lr * force * w2, w2 - lr * force * w1
    return path


@pytest.mark.full
def test_training_without_noise_is_the_loop_of_both_factors(x64):
    problem = sparse_spectrum(2, SEED, frequencies=8, points=6, start_scale=0.3)
    found = train(problem, Arm(Noise("none"), 0.02, 200), stage="descent", rows=7)
    assert found.steps.tolist() == [0, 55, *range(84, 201, 29)]
    assert found.wall_s > 0
    u, v = (np.asarray(problem.starts()[name], float) for name in "uv")
    for lr, accepted in ((0.02, True), (0.01, False)):  # half the rate: the loss without the factor 2
        path = products(problem.tasks["x"], problem.tasks["y"], u, v, lr, 200)
        gap = max(
            np.abs(found.params[name][:, t] - path[int(n)][i]).max()
            for t, n in enumerate(found.steps)
            for i, name in enumerate("uv")
        )
        assert (gap < 1e-4) == accepted
    np.testing.assert_array_equal(found.ends["u"], found.params["u"][:, -1])
    np.testing.assert_allclose(recovered(problem, found.ends), np.asarray(found.ends["u"], float) * found.ends["v"])


@pytest.mark.full
def test_training_from_another_scale_starts_there_and_a_rate_too_large_is_an_error(x64):
    problem = sparse_spectrum(2, SEED, frequencies=5, points=4)
    short = train(problem, Arm(Noise("none"), 1e-3, 20, start_scale=0.5), stage="larger", rows=1)
    np.testing.assert_array_equal(short.params["u"][:, 0], problem.starts(0.5)["u"])
    with pytest.raises(DivergenceError, match=r"too fast: 2 of 2 chains diverged.* use a smaller lr"):
        train(problem, Arm(Noise("none"), 1e3, 20, start_scale=0.5), stage="too fast")


@pytest.mark.full
@pytest.mark.parametrize(
    "build",
    [
        partial(design.sparse, operators.haar(8)),
        partial(design.sparse, np.eye(8) + 0.5 * np.eye(8, k=1)),  # a matrix of one's own
        partial(design.sparse, operators.identity(8), depth=3),
        partial(design.sparse, operators.identity(8), groups=[0, 0, 1, 1, 2, 2, 3, 3]),
        partial(design.spectral, operators.identity(8), (2, 4)),
    ],
    ids=["haar", "matrix", "depth 3", "groups", "spectral"],
)
def test_any_design_is_trained_on_data_of_ones_own(build, x64):
    """Each seed has its own data, which decide its w; before training, the control, it is far from it."""
    random = np.random.default_rng(0)
    X, truth = random.normal(size=(2, 20, 8)), random.normal(size=(2, 8))
    y = np.einsum("snd,sd->sn", X, truth)
    problem = linear_problem(build, X, y, start_scale=0.3, truth=truth)
    trained = train(problem, Arm(Noise("none"), 0.02, 20_000), stage="mine", rows=2)
    first = recovered(problem, problem.starts())
    assert np.abs(recovered(problem, trained.ends) - truth).max() < 1e-3
    assert np.abs(first - truth).max(axis=1).min() > 0.3


def test_data_that_do_not_fit_a_design_are_refused_by_name():
    build = partial(design.sparse, operators.identity(3))
    for x, y, said in (
        (np.ones((4, 3)), np.ones((1, 4)), "x must be"),
        (np.ones((1, 4, 3)), np.ones(4), "y must be"),
        (np.ones((1, 4, 3)), np.ones((2, 4)), r"y must be of shape \(seed, n\) = \(1, 4\) as in x, got \(2, 4\)"),
    ):
        with pytest.raises(ValueError, match=said):
            linear_problem(build, x, y, start_scale=0.1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"noise": "none"}, r"noise must be a Noise, as Noise\('none'\), got 'none'"),
        ({"lr": -1.0}, "lr must be a positive number, got -1.0"),
        ({"steps": 0}, "steps must be a whole number from 1, got 0"),
        ({"steps": 1e3}, "steps must be a whole number from 1, got 1000.0"),
        ({"momentum": 1.0}, "momentum must be a number from 0 to below 1, got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must be a number from 0, got -0.1"),
        ({"temperature": -0.1}, "temperature must be a number from 0, got -0.1"),
        ({"start_scale": 0.0}, "start_scale must be a positive number, got 0.0"),
    ],
)
def test_an_arm_that_makes_no_sense_is_refused_by_name(values, said):
    settings = {"noise": Noise("none"), "lr": 0.1, "steps": 10}
    Arm(**settings)
    # By name where nothing checks types, as for users; under pytest some are refused by their types.
    checked = Arm.__post_init__
    with pytest.raises(ValueError, match=said):
        checked(_Loose(**{**Arm(**settings).__dict__, **values}))


class _Loose:
    """An arm's values, unchecked."""

    def __init__(self, **values):
        self.__dict__.update(values)


def test_starts_and_truths_that_do_not_fit_are_refused_by_name(x64):
    problem = sparse_spectrum(2, SEED, frequencies=5, points=4)
    with pytest.raises(ValueError, match="the scale of the starts must be positive, got 0"):
        problem.starts(0.0)
    arm = Arm(Noise("none"), 1e-3, 20, start_factors=(("w", 2.0),))
    with pytest.raises(ValueError, match="start_factors must name parameters among u, v, got w"):
        train(problem, arm, stage="wrong")
    build, x, y = partial(design.sparse, operators.identity(3)), np.ones((2, 4, 3)), np.ones((2, 4))
    with pytest.raises(ValueError, match="start_scale must be positive, got 0"):
        linear_problem(build, x, y, start_scale=0.0)
    with pytest.raises(ValueError, match=r"truth must be of shape \(seed, d\) = \(2, 3\), got \(1, 3\)"):
        linear_problem(build, x, y, start_scale=0.1, truth=np.ones((1, 3)))


def recovery(**changes):
    problem = sparse_spectrum(2, SEED, frequencies=5, points=4)
    fields = {
        "name": "mine", "unknown": "w", "problem": problem, "own_name": "own", "own": Arm(Noise("none"), 1e-3, 20),
        "error": "error", "metrics": {"error": lambda w: np.mean(w**2, axis=1)}, "needs_truth": frozenset(["error"]),
    }  # fmt: skip
    return Recovery(**{**fields, **changes})


def test_a_recovery_whose_metrics_are_not_there_or_no_number_a_seed_is_refused(x64):
    for changes in ({"error": "eror"}, {"needs_truth": frozenset(["x"])}):
        with pytest.raises(ValueError, match="error and needs_truth must be among the metrics error, got"):
            recovery(**changes)
    wide = recovery(metrics={"error": lambda w: w**2})
    with Session().open() as session, pytest.raises(ValueError, match=r"metric error must be of shape \(2,\)"):
        run_recovery(wide, Request(seeds=2, attribution=False), session)


def test_the_note_about_the_papers_caption_belongs_to_what_has_one(x64):
    request = Request(seeds=2, steps=20, attribution=False)
    with Session().open() as session:
        assert run_recovery(recovery(), request, session).notes == (NOT_ITS_OWN,)
        assert run_recovery(recovery(), Request(seeds=2, attribution=False), session).notes == ()
        captioned = recovery(caption={"own": {"error": 1.0}})
        assert run_recovery(captioned, request, session).notes == (NOT_THE_PAPERS,)
