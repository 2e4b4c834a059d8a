"""Attribution: growth and loss of charge told apart, all mechanisms from the same starts, no noise praised in vain."""

import dataclasses
import json
import tomllib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree
from odd_noises import WEIGHTS

from langevin_ib import attribute as command
from langevin_ib.config.noises import NoiseSettings
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.noise import Noise
from langevin_ib.errors import ConfigError
from langevin_ib.geometry import charges
from langevin_ib.models import build_model, stack_tasks
from langevin_ib.models.training import Examples, cast
from langevin_ib.output.attribution import (
    attribution_report,
    balance_figure,
    balance_sentences,
    balance_table,
    balance_title,
)
from langevin_ib.output.folders import summary_json
from langevin_ib.output.store import save_study
from langevin_ib.session import Session
from langevin_ib.statistics.seeds import Estimate
from langevin_ib.studies.balance import (
    DECAY,
    DESCENT,
    ISOTROPIZED,
    LABEL,
    LANGEVIN,
    MECHANISMS,
    SGD,
    Across,
    Diverged,
    Shares,
    across,
    describe,
)
from langevin_ib.studies.config import AttributionConfig, from_setup
from langevin_ib.studies.following import follow
from langevin_ib.studies.mechanisms import attribute, pair_generators
from langevin_ib.studies.meter import isotropic_temperature, noise_meter
from langevin_ib.studies.recorded import OFF_BY, Paths, Trained
from langevin_ib.studies.settling import arms, langevin, settle
from langevin_ib.studies.training import Arm, kernel_of, train

SMALL = {"steps": 60, "seeds": 8}
SEEDS = 12


def made(charge, size) -> Paths:
    """Paths of given χ and s, as vector pairs have them."""
    charge, size = np.broadcast_arrays(np.asarray(charge, float), np.asarray(size, float))
    ratio = np.arcsinh(charge / size)
    return Paths(charge, size, ratio, np.ones(charge.shape[:2]))


@pytest.fixture
def random_paths(x64) -> Paths:
    random = np.random.default_rng(0)
    return made(random.normal(size=(SEEDS, 5, 3)), np.exp(random.normal(size=(SEEDS, 5, 3))))


def attributed(**settings):
    """An attribution in a session of its own."""
    with Session().open() as session:
        return attribute(AttributionConfig(**settings), session)


@pytest.fixture(scope="module")
def found():
    """A model with a task for each seed, whose data sets differ in size."""
    return attributed(model="matrix", options={"observed": 0.6}, **SMALL)


def test_growth_and_charge_add_up_to_what_was_removed(random_paths):
    entry = describe(random_paths)
    assert entry.growth.value + entry.charge_change.value == pytest.approx(entry.removed.value, abs=1e-12)
    start = np.abs(random_paths.log_ratio[:, 0]).mean()
    assert entry.reduction.value == pytest.approx(entry.removed.value / start, abs=1e-12)


def test_growth_at_constant_charge_is_all_growth_and_decay_at_constant_size_none_of_it(x64):
    charge = np.random.default_rng(1).normal(size=(SEEDS, 1, 3))
    time = np.arange(5.0)[:, None]
    grown, decayed = made(charge, 0.1 * np.exp(time)), made(charge * np.exp(-time), 0.1)
    for paths, left, growth in ((grown, 1.0, 1.0), (decayed, np.exp(-4.0), 0.0)):
        entry = describe(paths)
        assert entry.charge_left.median == pytest.approx(left)
        assert entry.shares.growth.value == pytest.approx(growth, abs=1e-12)
        assert entry.shares.charge.value == pytest.approx(1.0 - growth, abs=1e-12)
        assert entry.reduction.value > 0.9
    assert describe(made(charge, 0.1 * np.exp(-time))).shares is None  # the imbalance grows


def test_mechanisms_are_compared_seed_by_seed(random_paths):
    """A difference that is the same in all seeds has no error, however much the seeds themselves differ."""
    shifted = random_paths.log_ratio.copy()
    size = np.abs(shifted[:, 0]).mean(axis=-1)[:, None]
    shifted[:, -1] = np.sign(shifted[:, -1]) * (np.abs(shifted[:, -1]) + 0.1 * size)
    compared = across({DESCENT: random_paths, SGD: random_paths._replace(log_ratio=shifted)})
    assert compared.added[SGD].value == pytest.approx(-0.1)
    assert compared.added[SGD].se < 1e-12


@pytest.mark.full
@pytest.mark.parametrize("name", ["uv", "hadamard", "relu", "attention", "matrix"])
def test_the_ratio_is_arsinh_of_charge_over_size_and_the_generators_rescale_pairs(name, x64):
    model = build_model(name, {"depth": 3} if name == "uv" else {})
    for params in starts(model):
        exact = jnp.arcsinh(model.moment_map(params) / charges.pair_size(model, params))
        np.testing.assert_allclose(charges.log_ratio(model, params), exact, atol=1e-9)
        assert pair_generators(model, params).all()


@pytest.mark.full
def test_a_rotation_and_what_mixes_columns_rescale_no_pair(x64):
    assert not pair_generators(build_model("rotation"), jnp.array([0.8, 0.3])).any()
    model = build_model("matrix", {"group": "gl", "rows": 2, "cols": 2, "rank": 2})
    assert pair_generators(model, starts(model)[0]).sum() == 2


@pytest.mark.full
def test_tasks_that_are_filled_up_have_the_same_loss_and_noise(x64):
    model = build_model("matrix", {"observed": 0.5})
    training = model.training
    tasks = [training.draw_task(np.random.default_rng([0, i])) for i in range(3)]
    assert len({len(task["x"]) for task in tasks}) > 1
    stacked = stack_tasks(tasks)

    @jax.jit
    def at(task, params):
        noise = gradient_noise(training, Noise("label", label_noise=1.0), params, task)
        whole = training.batch_loss(params, Examples(task["x"], task["y"]), task["weight"])
        return whole, training.risk(task, params), noise.covariance

    for i, (task, params) in enumerate(zip(tasks, starts(model, 3), strict=True)):
        filled = jax.tree.map(lambda leaf, i=i: leaf[i], dict(stacked))
        for own, grown in zip(at(cast(task, params), params), at(cast(filled, params), params), strict=True):
            np.testing.assert_allclose(grown, own, atol=1e-12)


@pytest.mark.full
def test_minibatches_reach_every_example_of_a_longer_task(x64):
    """Mean of 200 000 draws: the gradient to 1% of its length, which it is not without those beyond the model's n."""
    model = build_model("matrix", {"observed": 0.3, "seed": 1})
    tasks = [model.training.draw_task(np.random.default_rng([0, i])) for i in range(8)]
    longest = int(np.argmax([len(task["x"]) for task in tasks]))
    own = model.training.size
    assert own < len(tasks[longest]["x"])
    params = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), starts(model, 1)[0])
    like = jax.tree.map(lambda leaf: leaf[0], params)
    filled = jax.tree.map(lambda leaf: leaf[longest], stack_tasks(tasks))
    kernel = sgd(model, like, noise=Noise("minibatch", 200_000), lr=1.0)
    noise = jax.tree.map(lambda leaf: leaf[longest], kernel.draw(jax.random.key(0), 8))
    moved = kernel.step(noise, kernel.init(like, filled), filled)[0].position
    step = ravel_pytree(like)[0] - ravel_pytree(moved)[0]
    task = tasks[longest]
    wanted = ravel_pytree(jax.grad(lambda p: model.training.risk(task, p))(like))[0]
    cut = {**task, "mask": task["mask"] * (np.cumsum(task["mask"]).reshape(task["mask"].shape) <= own)}
    short = ravel_pytree(jax.grad(lambda p: model.training.risk(cut, p))(like))[0]
    assert jnp.linalg.norm(step - wanted) < 0.02 * jnp.linalg.norm(wanted)
    assert jnp.linalg.norm(short - wanted) > 0.05 * jnp.linalg.norm(wanted)


@pytest.mark.full
def test_mechanisms_begin_together_and_gradient_descent_is_langevin_without_temperature(x64):
    problem, config = settle(
        AttributionConfig(model="uv", options={"samples": 4}, noise="minibatch", steps=20, seeds=8)
    )
    protocols = {name: arms(config)[name] for name in (DESCENT, SGD, ISOTROPIZED)} | {"cold": langevin(config, 0.0)}
    paths = {name: train(problem, arm, stage=name).flat for name, arm in protocols.items()}
    for path in paths.values():
        np.testing.assert_array_equal(path[:, 0], np.asarray(problem.starts()))
    np.testing.assert_allclose(paths["cold"], paths[DESCENT], atol=1e-12)
    assert np.abs(paths[SGD] - paths[DESCENT])[:, -1].max() > 1e-3


@pytest.mark.full
def test_langevin_takes_euler_and_maruyamas_step(x64):
    problem, config = settle(AttributionConfig(lr=0.01, **SMALL))
    like = problem.starts()[0]
    kernel = kernel_of(problem, langevin(config, 0.3), like)
    noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(0), 1))
    plain = euler_maruyama(problem.model.loss, like, temperature=0.3, step_size=0.01)
    wanted = plain.step(noise[1], plain.init(like, None), None)[0].position
    np.testing.assert_allclose(kernel.step(noise, kernel.init(like, None), None)[0].position, wanted, atol=1e-15)


def test_langevin_has_no_momentum_and_the_step_of_the_rate():
    config = AttributionConfig(lr=0.01, momentum=0.9, steps=20)
    assert langevin(config, 0.3) == Arm(Noise("none"), config.rate, 20, temperature=0.3)
    assert config.rate == pytest.approx(0.1)


def test_label_noise_adds_to_the_variance_of_the_datas():
    config = AttributionConfig(noise="fresh", data_noise=0.3, label_noise=0.4, weight_decay=0.1, lr=0.01, steps=20)
    protocols = arms(config)
    assert protocols[SGD].noise.label_noise == 0.3
    assert protocols[LABEL].noise.label_noise == pytest.approx(0.5)
    assert protocols[ISOTROPIZED].noise == dataclasses.replace(protocols[SGD].noise, isotropized=True)
    assert [arm.weight_decay for arm in protocols.values()] == [0, 0, 0, 0, 0.1]


@pytest.mark.full
def test_the_temperature_is_that_of_the_noise_meter(x64):
    """η tr Σ/2q with tr Σ = (2(z − y)² + s²)|θ|²/B of fresh examples, to 15%: four and a half standard errors of 160
    variances of 31 degrees each, failed in 1e-5 of keys. The control is the same noise in batches twice as large.
    """
    config = AttributionConfig(noise="fresh", batch_size=8, data_noise=2.0, label_noise=1.0, lr=0.01, steps=20, seeds=8)
    for batch, within in ((8, True), (16, False)):
        problem, settled = settle(dataclasses.replace(config, batch_size=batch))
        arm, start = arms(settled)[SGD], np.asarray(problem.starts())
        still = Trained(np.arange(21.0), np.repeat(start[:, None], 21, axis=1), start[0], 0.0)
        trace = (2.0 * (start.prod(axis=-1) - 1.0) ** 2 + 4.0) * (start**2).sum(axis=-1)
        ratio = isotropic_temperature(problem, arm, still).mean() / (0.01 * trace / 8 / 4.0).mean()
        assert (abs(ratio - 1.0) < 0.15) == within
        meter = noise_meter(problem, arm, still)
        np.testing.assert_allclose(meter.trace, trace / batch)
        np.testing.assert_allclose(meter.orbit_share, 0.0, atol=1e-12)


@pytest.mark.full
def test_label_noise_takes_the_charge_of_uv_at_the_predicted_rate_and_gradient_descent_does_not(x64):
    """dχ = −(ηs²/B)χ dt: the mean rate over 64 seeds has an error of 0.3% and a bias of 2% (what the product's own
    variance adds to the noise), so that 5% is failed in about 1e-20 of keys; the control is gradient descent, whose
    charge stays within 5%.
    """
    problem, config = settle(
        AttributionConfig(noise="fresh", label_noise=4.0, lr=0.01, steps=4000, seeds=64, weight_decay=0.01)
    )
    rate = {}
    for name in (LABEL, DESCENT):
        paths = follow(problem, train(problem, arms(config)[name], stage=name))
        left = np.abs(paths.charge[:, -1, 0] / paths.charge[:, 0, 0])
        rate[name] = -np.log(left).mean() / config.time
    assert rate[LABEL] == pytest.approx(0.01 * 4.0**2 / 4, rel=0.05)
    assert 0.0 <= rate[DESCENT] * config.time < 0.05


@pytest.mark.full
def test_the_summary_has_every_mechanism_and_says_what_it_stands_on(found):
    summary, balance = json.loads(summary_json(found.to_dict())), found.balance
    mechanisms, run = summary["balance"]["mechanisms"], summary["balance"]["run"]
    assert tuple(mechanisms) == tuple(summary["rows"]) == MECHANISMS
    assert len(balance_sentences(balance)) == len(MECHANISMS) + 1
    assert "minibatches of 4, 8 seeds" in balance_title(balance)
    assert [row[0] for row in balance_table(balance).sections[0]] == ["start", *MECHANISMS]
    for name, entry in mechanisms.items():
        assert entry["charge_left"]["median"] > 0  # with the ratio, always
        assert entry["ratio_factor"]["median"] >= 1
        assert len(entry["curves"]["loss"]["median"]) == len(run["record_steps"]) == SMALL["steps"] + 1
        assert summary["rows"][name][OFF_BY] == entry["ratio_factor"]
        assert len(summary["by_seed"][name]["loss"]) == SMALL["seeds"]
    assert run["record_steps"][-1] == SMALL["steps"]
    assert set(summary["balance"]["across"]["added"]) == set(MECHANISMS[1:])
    assert any("with replacement" in note for note in summary["notes"])
    assert any("filled up" in note for note in summary["notes"])
    assert 0 <= summary["balance"]["noise"]["typical"]["orbit_share"] < 1e-12
    assert summary["balance"]["noise"]["isotropic_orbit_share"] == pytest.approx(2 / 12)
    assert summary["config"] == summary["balance"]["config"]


@pytest.mark.full
def test_the_report_has_picture_table_sentences_and_notes(found):
    picture, table, said, details = attribution_report(found).blocks
    assert table.legend.startswith("medians over seeds")
    assert [line.text for line in said.lines] == balance_sentences(found.balance)
    assert [line.text for line in details.lines][-len(found.notes) :] == list(found.notes)
    panels = balance_figure(found.balance).axes
    assert [len(axes.lines) for axes in panels] == [len(MECHANISMS)] * 3
    assert picture.name == "attribution"
    with pytest.raises(ValueError, match="other does not ask"):
        attribution_report(dataclasses.replace(found, name="other", balance=None))


@pytest.mark.full
def test_the_run_folder_is_complete_and_reruns(found, tmp_path):
    report = attribution_report(found)
    folder = save_study(found, report, tmp_path / "new" / "place", settings=True)
    assert folder.name == f"attribution-matrix-{found.balance.config.digest()}"
    assert {path.name for path in folder.iterdir()} == {"config.toml", "summary.json", "attribution.png", "report.html"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    again = AttributionConfig(**tomllib.loads((folder / "config.toml").read_text(encoding="utf-8")))
    assert again == found.balance.config
    said = json.loads((folder / "summary.json").read_text())["sentences"]
    assert said == balance_sentences(found.balance)
    assert "gradient descent alone" in (folder / "report.html").read_text(encoding="utf-8")
    assert save_study(found, report, tmp_path / "new" / "place", settings=True) == folder


@pytest.mark.full
@pytest.mark.parametrize(("mechanism", "cause"), [(SGD, "its noise"), (DECAY, "weight decay")])
@pytest.mark.parametrize(
    ("band", "median95", "added", "said"),
    [
        ((0.99, 0.99, 0.99), (0.98, 1.0), (-0.01, 0.01), True),
        ((0.8, 1.0, 1.2), (0.95, 1.05), (0.0, 0.01), True),
        ((0.8, 1.0, 1.2), (0.89, 1.05), (0.0, 0.01), False),
        ((0.99, 0.99, 0.99), (0.98, 1.0), (0.01, 0.02), False),
        ((0.99, 0.99, 0.99), (0.98, 1.0), (-0.02, -0.01), False),
        ((0.99, 0.99, 0.99), (0.98, 1.0), (-0.01, 0.2), False),
        ((0.6, 1.0, 1.2), (0.95, 1.05), (-0.01, 0.01), False),
        ((0.8, 1.0, 1.4), (0.95, 1.05), (-0.01, 0.01), False),
        ((0.2, 0.2, 0.2), (0.1, 0.3), (-0.01, 0.01), False),
        ((7.0, 7.0, 7.0), (6.0, 8.0), (-0.01, 0.01), False),
    ],
)
def test_a_cause_is_ruled_out_only_if_it_keeps_the_charge_and_adds_nothing(
    mechanism, cause, band, median95, added, said, found
):
    """Charge kept in 90% of the seeds, and what is added to gradient descent's removal nothing within its interval.

    SGD is compared with gradient descent once, by the share in the last sentence; the others by what they add.
    """
    balance = found.balance
    left = dict(zip(("low90", "median", "high90"), band, strict=True)) | {"median95": median95}
    entry = balance.mechanisms[mechanism]
    reduction = entry.reduction._replace(value=0.5, low95=0.3, high95=0.7)
    entry = dataclasses.replace(entry, charge_left=entry.charge_left._replace(**left), reduction=reduction)
    more = balance.across.added[mechanism]._replace(low95=added[0], high95=added[1])
    told = balance_sentences(
        dataclasses.replace(
            balance,
            mechanisms={**balance.mechanisms, mechanism: entry},
            across=Across(
                Estimate(1.0, 0.1, 1.0 - added[1], 1.0 - added[0]), {**balance.across.added, mechanism: more}
            ),
        )
    )
    own, last = told[MECHANISMS.index(mechanism)], told[-1]
    assert (f"so it is not {cause} that balances" in (last if mechanism == SGD else own)) == said
    assert "|χ/χ(0)| = " in own
    assert ("than by gradient descent" in own or "against gradient descent" in own) == (mechanism != SGD)


def test_no_cause_is_ruled_out_of_a_balancing_that_was_not_seen(found):
    """Where what is removed may be nothing; where it is not, the same numbers rule it out, which is the control."""
    balance = found.balance
    entry = balance.mechanisms[LABEL]
    left = entry.charge_left._replace(low90=0.99, median=0.99, high90=0.99, median95=(0.98, 1.0))
    added = balance.across.added[LABEL]._replace(low95=-0.01, high95=0.01)
    for low95, said in ((0.3, True), (-0.1, False)):
        reduction = entry.reduction._replace(value=0.5, low95=low95, high95=0.7)
        changed = dataclasses.replace(
            balance,
            mechanisms={**balance.mechanisms, LABEL: dataclasses.replace(entry, charge_left=left, reduction=reduction)},
            across=dataclasses.replace(balance.across, added={**balance.across.added, LABEL: added}),
        )
        assert ("so it is not" in balance_sentences(changed)[MECHANISMS.index(LABEL)]) == said


@pytest.mark.full
@pytest.mark.parametrize(
    ("value", "se", "shown"),
    [(0.4, 0.1, "40.0%"), (-1e-5, 0.1, "0.0%"), (0.4, 0.31, "–"), (2.1, 0.1, "–"), (-1.1, 0.1, "–")],
)
def test_a_share_that_says_nothing_is_a_dash(value, se, shown, found):
    entry = found.balance.mechanisms[SGD]
    growth = Estimate(value, se, value - 2 * se, value + 2 * se)
    entry = dataclasses.replace(
        entry,
        reduction=entry.reduction._replace(low95=0.1, high95=0.2),
        shares=Shares(growth, Estimate(0.5, 0.1, 0.3, 0.7)),
    )
    balance = dataclasses.replace(found.balance, mechanisms={**found.balance.mechanisms, SGD: entry})
    assert balance_table(balance).sections[0][1 + MECHANISMS.index(SGD)][-2:] == (shown, "50.0%")
    sentence = balance_sentences(balance)[MECHANISMS.index(SGD)]
    assert ("too little to tell" in sentence) == (shown == "–")
    assert "-0.0" not in sentence


@pytest.mark.full
def test_a_mechanism_that_diverged_is_named_in_table_sentence_and_picture(found):
    entries = {**found.balance.mechanisms, LANGEVIN: Diverged("diverged at this T: 3 of 8 seeds")}
    balance = dataclasses.replace(found.balance, mechanisms=entries)
    assert balance_table(balance).sections[0][-1][:2] == (LANGEVIN, "diverged at this T: 3 of 8 seeds")
    assert balance_sentences(balance)[5].endswith("at the T of SGD's noise diverged at this T: 3 of 8 seeds")
    assert balance_figure(balance).axes[0].lines[-1].get_label() == "Langevin (diverged)"


NO_DIRECTION = ("in which there is no direction", "is not told")


def one_mechanism(random, start) -> Paths:
    """Runs that grow, shrink, keep, lose or gain charge, little or much, alike or each seed in its own way."""
    size, loss = (random.normal(scale=2.0) * random.integers(0, 2) for _ in range(2))
    wander = random.choice([0.01, 0.3, 1.5])
    size = np.exp(np.arange(2.0)[:, None] * (size + wander * random.normal(size=(SEEDS, 1, 2))))
    charge = start * np.exp(np.arange(2.0)[:, None] * (loss + wander * random.normal(size=(SEEDS, 1, 2))))
    return made(charge, size)


@pytest.mark.full
def test_no_direction_without_an_interval_that_has_it_and_no_comparison_twice(found, x64):
    """Random runs: every statement of a sentence is its own interval's, and the pair SGD, descent is compared once."""
    seen = set()
    for trial in range(60):
        random = np.random.default_rng(trial)
        start = random.normal(size=(SEEDS, 1, 2))
        paths = {name: one_mechanism(random, start) for name in MECHANISMS}
        entries = {name: describe(one) for name, one in paths.items()}
        compared_all = across(paths)
        run = dataclasses.replace(found.balance.run, seeds=SEEDS)
        told = balance_sentences(dataclasses.replace(found.balance, run=run, mechanisms=entries, across=compared_all))
        share = compared_all.descent_share
        for name, sentence in zip(MECHANISMS, told, strict=False):
            entry, added = entries[name], compared_all.added.get(name)
            imbalance, charge, *compared = sentence.split("; ")
            assert len(compared) == (added is not None and not (name == SGD and share is not None))
            low, high = entry.reduction.low95, entry.reduction.high95
            falls, grows = entry.charge_left.median95[1] < 1, entry.charge_left.median95[0] > 1
            assert ("makes the imbalance larger" in imbalance) == (high < 0)
            assert (NO_DIRECTION[0] in imbalance) == (low <= 0 <= high)
            assert ("charge falls (" in charge) <= falls
            assert ("charge grows (" in charge) <= grows
            assert (NO_DIRECTION[1] in charge) <= (not falls and not grows)
            for words in compared:
                assert ("ends lower" in words) == (added.low95 > 0)
                assert ("ends higher" in words) == (added.high95 < 0)
                assert (NO_DIRECTION[0] in words) == (added.low95 <= 0 <= added.high95)
            for words, kind in ((imbalance, "imbalance"), (charge, "charge"), *((one, "added") for one in compared)):
                ways = ("larger", NO_DIRECTION[0], "falls (", "grows (", NO_DIRECTION[1], "stays", "lower", "higher")
                seen |= {(kind, way) for way in ways if way in words}
        assert ("no share" in told[-1]) == (share is None)
        assert (entries[SGD].reduction.low95 > 0) == (share is not None)
    assert len(seen) == 9  # every way of saying it has come up


def test_setups_are_overridden_option_by_option():
    config = from_setup("figure-2", options={"width": 8}, steps=100)
    assert (config.options["width"], config.options["inputs"], config.steps, config.lr) == (8, 3, 100, 5e-5)
    assert AttributionConfig(**config.to_dict()) == config


def test_the_network_of_figure_2_starts_from_random_signs_unless_it_is_told_not_to():
    assert from_setup("figure-2").options["random_signs"] is True
    assert from_setup("figure-2", options={"random_signs": False}).options["random_signs"] is False


@pytest.mark.parametrize("name", ["label", "isotropic", "none"])
def test_a_noise_without_random_examples_is_none_to_ask_about(name):
    with pytest.raises(ConfigError, match="noise must be one of minibatch, fresh, bernoulli, "):
        AttributionConfig(noise=name)


def test_a_noise_of_ones_own_is_found_out_when_it_is_imported():
    settled = {"lr": 0.1, "steps": 20, "label_noise": 1.0}
    protocols = arms(AttributionConfig(noise="odd_noises:WEIGHTS", spread=0.5, **settled))
    assert protocols[SGD].noise.batches == "exponential weights"
    assert {protocols[name].noise.settings.spread for name in (SGD, ISOTROPIZED)} == {0.5}
    assert arms(AttributionConfig(noise="odd_noises:WEIGHTS", **settled))[SGD].noise.settings.spread == 1.0
    with pytest.raises(ConfigError, match="one whose examples are drawn at random, got test_attribution:QUIET"):
        arms(AttributionConfig(noise="test_attribution:QUIET", **settled))
    with pytest.raises(ConfigError, match="left out with noise test_attribution:LAZY, got"):
        arms(AttributionConfig(noise="test_attribution:LAZY", momentum=0.5, **settled))


@pytest.mark.parametrize("precision", [64, 32])
def test_a_noise_of_ones_own_is_held_against_its_draws_before_anything_is_trained(precision, x64):
    """Wrongly refused with probability below 2e-6: at two starts."""
    settings = {"model": "uv", "options": {"samples": 8}, "lr": 0.01, "weight_decay": 0.1, "precision": precision}
    _, config = settle(AttributionConfig(noise="odd_noises:WEIGHTS", **settings, **SMALL))
    assert config.noise == "odd_noises:WEIGHTS"
    for name, what in (("LEANING", "mean"), ("WEAK", "mean"), ("TWICE", "variance")):
        message = f"covariance that it states, got odd_noises:{name}: along a direction, at a point, their {what} is"
        with pytest.raises(ConfigError, match=message):
            settle(AttributionConfig(noise=f"odd_noises:{name}", **settings, **SMALL))


@pytest.mark.full
def test_a_noise_of_ones_own_is_asked_what_it_balances():
    found = attributed(model="uv", options={"samples": 8}, noise="odd_noises:WEIGHTS", **SMALL).balance
    assert "exponential weights, 8 seeds" in balance_title(found)
    assert len(balance_sentences(found)) == len(MECHANISMS) + 1
    assert found.mechanisms[SGD].removed != found.mechanisms[DESCENT].removed
    assert found.noise.temperature.value > 0
    assert found.noise.typical.orbit_share < 1e-12


@pytest.mark.full
def test_the_meter_has_the_covariance_of_a_noise_of_ones_own(x64):
    """Weights of standard deviation 1 have that of coins, E g gᵀ/n; minibatches have another."""
    trace = {}
    for noise in ("odd_noises:WEIGHTS", "bernoulli", "minibatch"):
        config = AttributionConfig(model="uv", options={"samples": 8}, noise=noise, lr=0.01, **SMALL)
        problem, settled = settle(config)
        start = np.asarray(problem.starts())
        trace[noise] = noise_meter(
            problem, arms(settled)[SGD], Trained(np.zeros(1), start[:, None], start[0], 0.0)
        ).trace
    np.testing.assert_allclose(trace["odd_noises:WEIGHTS"], trace["bernoulli"], rtol=1e-12)
    assert np.abs(trace["minibatch"] / trace["bernoulli"] - 1.0).min() > 0.01


BAD = {
    "too few seeds": (["--seeds", "4"], "--seeds must be a whole number from 8 to 4096, got 4"),
    "half a step": (["--steps", "0.5"], "--steps must be a whole number from 20"),
    "negative rate": (["--lr", "-1"], "--lr must be a positive number, got -1"),
    "rate of 400 digits": (["--lr", "1" + 400 * "0"], "--lr must be a positive number"),
    "momentum of one": (["--momentum", "1"], "--momentum must be a number from 0 to below 1, got 1"),
    "no label noise": (["--label-noise", "0"], "--label-noise must be a positive number, got 0"),
    "unknown noise": (
        ["--noise", "pink"],
        "--noise must be one of minibatch, fresh, bernoulli, ",
    ),
    "noise without a population": (
        ["--model", "matrix", "--noise", "fresh", "--set", "observed=0.5"],
        "--noise must be",
    ),
    "noise without a data set": (
        ["--model", "relu", "--noise", "minibatch", "--set", "population=yes"],
        "--noise must be fresh or none for relu here: it has no data set, got minibatch",
    ),
    "unknown model": (["--model", "transformer"], "--model must be one of attention"),
    "option that a model lacks": (["--model", "relu", "--set", "depth=3"], "--set must be made of options of relu"),
    "a task that cannot be drawn": (
        ["--model", "matrix", "--set", "observed=0.3", "seed=1", "--seeds", "256"],
        "--set must be such that every seed's task can be drawn, got ValueError: observed must be large enough",
    ),
    "unknown set-up": (["--setup", "figure-9"], "--setup must be one of figure-2, figure-3, figure-4, got figure-9"),
    "another model": (["--setup", "figure-2", "--model", "uv"], "--model must be relu with setup figure-2, got uv"),
    "no examples": (["--model", "tests.test_attribution:untrained"], "--model must be one that says what its examples"),
    "a setting of another noise": (["--noise", "fresh", "--spread", "2"], "unrecognized arguments: --spread 2"),
    "a noise of one's own, a bad value": (
        ["--noise", "odd_noises:WEIGHTS", "--spread", "-1"],
        "--spread must be a positive number, got -1",
    ),
    "a noise of one's own that there is none of": (
        ["--noise", "odd_noises:NOPE", "--spread", "2"],
        "--noise must be an attribute of module odd_noises, got odd_noises:NOPE",
    ),
    "unknown option": (["--sed", "4"], "unrecognized arguments: --sed 4"),
}


@dataclass(frozen=True)
class QuietSettings(NoiseSettings):
    """Of a noise without random examples."""

    takes = ()
    random_examples = False


@dataclass(frozen=True)
class LazySettings(NoiseSettings):
    """Of a noise that has no use for momentum."""

    takes = ()


QUIET = dataclasses.replace(WEIGHTS, settings=QuietSettings)
LAZY = dataclasses.replace(WEIGHTS, settings=LazySettings)


def untrained():
    """A model that says nothing of its examples."""
    return dataclasses.replace(build_model("uv"), training=None)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_nothing_is_written(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options, message = BAD[case]
    assert command.main([*options, "--out", "runs/deep"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("python -m langevin_ib.attribute: error: ")
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_settings_of_the_noise_that_is_chosen(capsys):
    texts = []
    for options in ([], ["--noise", "odd_noises:WEIGHTS"], ["--noise", "odd_noises:NOPE"]):
        with pytest.raises(SystemExit) as caught:
            command.main([*options, "--help-all"])
        assert caught.value.code == 0
        texts.append(" ".join(capsys.readouterr().out.split()))
    plain, own, wrong = texts
    assert "settings of --noise odd_noises:WEIGHTS: --spread X standard deviation of the weights [1]" in own
    assert "--spread" not in plain
    assert wrong == plain


@pytest.mark.full
def test_the_command_runs_and_langevin_may_diverge_but_no_other_mechanism(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("langevin_ib.studies.mechanisms.isotropic_temperature", lambda *_: np.full(8, 1e6))
    small = ["--steps", "60", "--seeds", "8", "--out", str(tmp_path / "runs")]
    assert command.main(["--lr", "30", *small]) == 3
    assert "gradient descent: 8 of 8 chains diverged" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert command.main(["--json", *small]) == 0
    summary = json.loads(capsys.readouterr().out)
    balance = summary["balance"]
    assert tuple(balance["mechanisms"]) == MECHANISMS
    assert "diverged at this T" in balance["mechanisms"][LANGEVIN]["diverged"]
    assert "diverged at this T" in summary["sentences"][5]
    assert LANGEVIN not in balance["across"]["added"]
    assert LANGEVIN not in summary["rows"]


@pytest.mark.full
def test_the_command_prints_the_table_and_where_it_is(found, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("langevin_ib.studies.mechanisms.attribute", lambda *_, **__: found)
    assert command.main(["--out", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in MECHANISMS)
    assert balance_sentences(found.balance)[0] in shown
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) in shown
    assert command.main(["--quiet", "--out", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.full
def test_a_pair_that_shrinks_to_nothing_is_an_error_not_a_number(x64):
    problem, _ = settle(AttributionConfig(model="rotation", **SMALL))
    with pytest.raises(ConfigError, match="steps must be few enough"):
        follow(problem, Trained(np.arange(2.0), np.zeros((8, 2, 2)), np.zeros(2), 0.0))
