"""Draws of one's own: what is taken, how few long chains are cut, and what is said of right and of wrong draws."""

import importlib
import json

import arviz
import jax
import numpy as np
import pytest
import scipy
import xarray as xr
from jsonschema import Draft202012Validator

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.cli.judge import main
from langevin_ib.errors import DrawsError
from langevin_ib.models import Chart, build_model, measure_only
from langevin_ib.output.folders import summary_json
from langevin_ib.output.page import page
from langevin_ib.output.report import run_report
from langevin_ib.runs.arrays import given
from langevin_ib.runs.draw_files import read_draws
from langevin_ib.runs.schema import summary_schema
from langevin_ib.statistics.batches import BATCH_TIMES, batching, slowest_of
from langevin_ib.statistics.records import Absent

STIFF = {"beta": 10.0, "confine": "stiff", "kappa": 10.0}


def autoregressive(rng, shape, memory):
    """Chains x' = memory x + √(1 − memory²) ξ, stationary, along the last axis."""
    noise = rng.normal(size=shape)
    noise[..., 1:] *= np.sqrt(1 - memory**2)
    return scipy.signal.lfilter([1.0], [1.0, -memory], noise, axis=-1)


def covered(length, rng, *, chains=4, draws=4000, memory=0.8, replicates=2000):
    """How often a 95% interval of the mean, by t over batches of a length, has the mean in it."""
    x = autoregressive(rng, (replicates, chains, draws), memory)
    means = x[..., : draws // length * length].reshape(replicates, -1, length).mean(axis=2)
    units = means.shape[1]
    half = scipy.stats.t.ppf(0.975, units - 1) * means.std(axis=1, ddof=1) / np.sqrt(units)
    return np.mean(np.abs(means.mean(axis=1)) < half)


def test_batches_of_four_chains_have_error_bars_that_cover():
    """2000 replicates: with 95% within 0.5%, 93% is refused once in 10⁵ times. Of batches that are short, far fewer."""
    rng, time = np.random.default_rng(0), (1 + 0.8) / (1 - 0.8)
    rule = batching(4, 4000, time)
    assert rule.per_chain * rule.length <= 4000
    assert rule.length >= BATCH_TIMES * time
    assert 0.93 < covered(rule.length, rng) < 0.97
    assert covered(4, rng) < 0.75


def test_the_time_in_which_a_chain_forgets_is_measured():
    """Of the slower of two functions, and of a spread whose mean is forgotten at once."""
    rng = np.random.default_rng(1)
    fast, slow = autoregressive(rng, (4, 8000), 0.3), autoregressive(rng, (4, 8000), 0.9)
    name, time = slowest_of({"fast": fast, "slow": slow})
    assert name == "slow"
    assert 15 < time < 35  # 19, the largest of four estimates and of two functions
    spread = np.exp(0.5 * autoregressive(rng, (4, 8000), 0.95)) * rng.normal(size=(4, 8000))
    assert slowest_of({"spread": spread}).time > 5


def test_many_chains_are_units_and_few_are_cut():
    assert batching(64, 1000, 900.0) == (1, 1000)
    assert batching(4, 1000, 100.0) == (1, 1000)  # which is too few, as the judge says
    per_chain, length = batching(4, 100_000, 10.0)
    assert (4 * per_chain, length) == (256, 1562)


@pytest.fixture(scope="module")
def chart():
    return Chart(build_model("uv"))


NORMAL = np.random.default_rng(2).normal(size=(4, 50, 2))
WRONG = {
    "no axes": (NORMAL[0], "draws: theta must have the shape (chain, draw, 2), got (50, 2)"),
    "another model": ({"w": NORMAL[..., 0]}, "draws: they must have the parameters of uv, theta (chain, draw, 2), or"),
    "chains and draws swapped": (np.zeros((50, 4, 2)), "draws: at least 10 draws of each chain are needed, got 4"),
    "one chain": (NORMAL[:1], "draws: at least 2 chains are needed"),
    "NaN": (np.where(np.arange(50)[:, None] == 7, np.nan, NORMAL), "draws: 8 of 400 numbers are not finite, the first"),
    "infinite": ({"z": np.full((4, 50), np.inf)}, "draws: 200 of 200 numbers are not finite"),
    "whole": (
        np.round(NORMAL),
        "draws: all numbers are whole, as indices, labels or counts are: parameters of a model",
    ),
    "no variation": ({"z": np.ones((4, 50))}, "draws: 4 of 4 chains do not move, the first is chain 0"),
    "a chain twice": (NORMAL[[0, 1, 0]], "draws: chains 0 and 2 have the same draws"),
    "words": ({"z": [["a", "b"]]}, "draws: z must be an array of numbers, got one of <U1"),
    "no chain": (NORMAL[:0], "draws: at least 2 chains are needed, for one cannot show whether it has settled, got 0"),
    "no chain of invariants": ({"z": NORMAL[:0, :, 0]}, "draws: at least 2 chains are needed"),
    "a missing entry": ({"theta[1]": NORMAL[..., 0]}, "theta: it must come with all of its 2 entries, got 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_draws_is_one_line(case, chart):
    draws, line = WRONG[case]
    with pytest.raises(DrawsError) as caught:
        given(draws, chart)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_parameters_and_invariants_are_taken_by_name(chart):
    many = Chart(build_model("hadamard", {"dim": 2}))
    u, v = NORMAL, NORMAL + 1.0
    flat = np.concatenate([u, v], axis=2)
    for draws in ({"v": v, "u": u, "lp": u[..., 0]}, flat, {"x": flat}):
        taken = given(draws, many)
        assert (taken.kind, taken.values.tolist()) == ("parameters", flat.tolist())
    assert given({"v": v, "u": u, "lp": u[..., 0]}, many).ignored == ("lp",)
    both = given({"z_1": u[..., 0], "z_2": u[..., 1]}, many)
    assert (both.kind, given({"z": u}, many).values.tolist()) == ("invariants", both.values.tolist())
    assert given({"z_2": u[..., 1]}, many).kind == "scalars"
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"theta": (("draw", "chain", "d"), NORMAL.swapaxes(0, 1))})})
    for draws in (NORMAL, jax.numpy.asarray(NORMAL), tree, tree["posterior"].to_dataset(), {"theta": NORMAL}):
        np.testing.assert_allclose(given(draws, chart).values, NORMAL, rtol=1e-6)
    assert given(NORMAL, chart, burn_in=10).values.shape == (4, 40, 2)


def test_files_have_what_was_written_into_them(tmp_path, chart):
    np.savez(tmp_path / "a.npz", theta=NORMAL)
    data = xr.Dataset({"theta": (("chain", "draw", "dim"), NORMAL)})
    xr.DataTree.from_dict({"posterior": data}).to_netcdf(tmp_path / "tree.nc", engine="h5netcdf")
    data.to_netcdf(tmp_path / "root.nc", engine="h5netcdf")
    rows = [[c, d, *NORMAL[c, d]] for d in range(50) for c in range(4)]
    lines = ["chain,draw,theta[0],theta[1]", *(",".join(map(repr, map(float, row))) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    for name in ("a.npz", "tree.nc", "root.nc", "a.csv"):
        np.testing.assert_array_equal(given(tmp_path / name, chart).values, NORMAL)
    (tmp_path / "short.csv").write_text("chain,z\n0,1\n0,2\n1,3")
    (tmp_path / "bad.csv").write_text("chain,z\n0,one")
    (tmp_path / "bare.csv").write_text("z\n1")
    for name in ("none.npz", "a.txt", "bad.csv", "bare.csv", "short.csv"):
        with pytest.raises(DrawsError, match=name):
            read_draws(tmp_path / name)
    for kind in (".npz", ".nc", ".csv"):
        (tmp_path / f"junk{kind}").write_bytes(b"\x00junk\xff")
        with pytest.raises(DrawsError, match="junk"):
            read_draws(tmp_path / f"junk{kind}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nothing.npz"], "nothing.npz: it cannot be read (No such file or directory)"),
        (["a.npz", "--burn-in", "-1"], "--burn-in must be a whole number from 0, got -1"),
        (["a.npz", "--chains", "4"], "unrecognized arguments: --chains 4"),
        (["a.npz", "--beta", "-1"], "--beta must be a positive number, got -1"),
        (["a.npz", "--burn-in", "45"], "a.npz: at least 10 draws of each chain are needed, got 50, 45 of them dropped"),
        (["z.npz", "--confine", "none"], "z.npz: with confine none draws are judged at small |χ|"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong_and_writes_nothing(words, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", theta=NORMAL)
    np.savez("z.npz", z=NORMAL[..., 0])
    assert main([*words, "--out", "out"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith(f"python -m langevin_ib judge: error: {line}")
    assert not list(tmp_path.glob("out/uv-*"))


def test_settings_of_a_run_are_refused():
    with pytest.raises(langevin_ib.ConfigError, match="steps must be left out where the draws are given, got 3"):
        langevin_ib.judge(NORMAL, "uv", steps=3)


# ---- whole judgements: exact draws of uv, 64 chains of 3000, independent each ----


NEAR = 0.3  # |w| below which a disc is drawn from in place of the normal law


def exact(beta=10.0, kappa=10.0, seed=3, shape=(64, 3000)):
    """Draws of exp(−(L + κχ²/2)/T), independent, in NumPy alone: 192 000 of them.

    Of w = χ + iz = (u + iv)²/2, whose Jacobian is 2|w|, the law is normal over |w|. By rejection: from the normal law
    with probability NEAR/|w| outside a disc, inside it from 1/|w| by the normal density over its largest value there.

    The relative error of ⟨|∇V|²⟩/⟨ΔV⟩ is about √(2/n) = 0.32% for n draws, so that 3% of T is nine of them, and four
    identities at five standard errors together see seven with a probability of 98%.
    """
    rng, count = np.random.default_rng(seed), int(np.prod(shape))
    widths = np.array([1.0 / np.sqrt(beta * kappa), 1.0 / np.sqrt(beta)])  # of χ and of z
    peak = np.exp(-0.5 * beta * (1.0 - NEAR) ** 2)
    masses = np.array([2.0 * np.pi * np.prod(widths) / NEAR, peak * 2.0 * np.pi * NEAR])
    kept = np.zeros((0, 2))
    while len(kept) < count:
        outer = rng.normal(size=(2 * count, 2)) * widths + [0.0, 1.0]
        angle, radius = rng.uniform(0.0, 2.0 * np.pi, 2 * count), NEAR * rng.uniform(size=2 * count)
        inner = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        distance = np.hypot(*outer.T)
        chance = np.exp(-0.5 * np.sum(((inner - [0.0, 1.0]) / widths) ** 2, axis=1)) / peak
        from_disc = rng.uniform(size=2 * count) < masses[1] / masses.sum()
        accepted = np.where(from_disc, chance, np.where(distance > NEAR, NEAR / distance, 0.0))
        drawn = np.where(from_disc[:, None], inner, outer)[rng.uniform(size=2 * count) < accepted]
        kept = np.concatenate([kept, drawn])
    root = np.sqrt(2.0 * (kept[:count] @ [1.0, 1.0j])) * rng.choice([-1.0, 1.0], count)
    return np.stack([root.real, root.imag], axis=1).reshape(*shape, 2)


@pytest.fixture(scope="module")
def right():
    return langevin_ib.judge(exact(), "uv", **STIFF)


def valid(result):
    """Whether its summary obeys the schema."""
    summary = json.loads(summary_json(result.to_dict()))
    return [f"{e.json_path}: {e.message}" for e in Draft202012Validator(summary_schema()).iter_errors(summary)] == []


@pytest.mark.full
def test_right_draws_agree_with_their_law_and_have_a_page(right, tmp_path):
    assert right.doubts == right.against == ()
    assert (right.verdicts["exact"], right.verdicts["hard"]) == ("agrees", "differs")
    law = right.invariants["z"].laws["exact"]
    assert abs(right.coefficient.c - law.c) < 4 * right.coefficient.se
    measured = right.details.temperature(right)
    assert abs(measured.value - 0.1) < 4 * measured.se < 0.002
    assert valid(right)
    text = page(run_report(right), {"histogram": b""})
    assert "identities of the stationary law" in text
    assert "64 chains × 3000 draws" in text
    folder = right.save(tmp_path)
    assert RunConfig.from_dict(json.loads((folder / "summary.json").read_text())["config"]).kappa == 10.0
    again = given(folder / "draws.nc", Chart(build_model("uv")))  # what a run leaves can be judged
    assert (again.kind, again.values.shape[0]) == ("invariants", 64)


@pytest.mark.full
@pytest.mark.parametrize(("wrong", "identity"), [({"beta": 10.0 / 1.03}, "energy"), ({"kappa": 11.0}, "spread")])
def test_a_temperature_off_by_3_percent_or_another_confinement_does_not(wrong, identity):
    result = langevin_ib.judge(exact(**wrong), "uv", **STIFF)
    assert set(result.verdicts.values()) == {"undecided"}
    assert any(f"the identity {identity} is" in str(doubt) for doubt in result.doubts)
    measured = result.details.temperature(result)
    if identity == "energy":
        assert abs(measured.value - 0.103) < 4 * measured.se
        assert str(result.doubts[0]).startswith("⟨|∇V|²⟩/⟨ΔV⟩ of the draws is 0.103")
        assert run_report(result).lead.startswith("No verdict: ⟨|∇V|²⟩/⟨ΔV⟩ of the draws is 0.103")
    assert valid(result)


@pytest.mark.full
def test_invariants_alone_are_held_against_laws_and_what_is_missing_is_said():
    """Right ones agree; said to be of a chain held on the slice they speak against that law alone."""
    z = {"z": exact(kappa=100.0).prod(axis=2)}
    right = langevin_ib.judge(z, "uv", **STIFF | {"kappa": 100.0})
    assert (right.verdicts["exact"], right.doubts, right.details.kind) == ("agrees", (), "invariants")
    assert isinstance(right.identities[0], Absent)
    held = langevin_ib.judge(z, "uv", beta=10.0, confine="hard")
    assert held.doubts == ()
    assert held.verdicts["exact"] == "differs"
    assert any("that of the exact law" in str(doubt) for doubt in held.against)
    assert held.verdicts["slice"] == "agrees"
    lead = run_report(held).lead
    assert lead.startswith("The draws do not obey the exact law, which they are said to have")
    assert "they obey the slice law" in lead
    assert valid(held)


@pytest.mark.full
def test_four_chains_are_cut_and_chains_that_have_not_settled_are_found():
    """By a copula each of four chains has the law's draws in the order of an autoregressive one."""
    rng, pool = np.random.default_rng(4), exact().reshape(-1, 2)
    pool = pool[np.argsort(pool.prod(axis=1))]
    slow = autoregressive(rng, (4, 10_000), 0.5)
    draws = pool[(scipy.stats.norm.cdf(slow) * len(pool)).astype(int)]
    result = langevin_ib.judge(draws, "uv", **STIFF)
    assert result.doubts == ()
    assert (result.details.batches, result.details.chains) == (64, 4)
    assert result.mixing.traced[0] == 4
    law = result.invariants["z"].laws["exact"]
    assert law.comparison.p_value > 1e-3
    assert abs(result.coefficient.c - law.c) < 4 * result.coefficient.se
    apart = np.stack(
        [chain[np.argsort(chain.prod(axis=1))[k::4]][rng.permutation(2500)] for k, chain in enumerate(draws)]
    )
    apart[0] *= 1.5
    unmixed = langevin_ib.judge(apart, "uv", **STIFF)
    assert any(doubt.about == "r_hat" for doubt in unmixed.doubts)
    assert set(unmixed.verdicts.values()) == {"undecided"}


@pytest.mark.full
def test_draws_of_sgd_are_held_against_its_laws():
    rng, lr, s = np.random.default_rng(5), 0.02, 2.0
    p, rows = 0.8 + 0.3 * rng.normal(size=(64, 2)), []
    for step in range(2000 + 400 * 10):
        p = p - lr * (p.prod(axis=1) - 1.0 - s * rng.normal(size=64))[:, None] * p[:, ::-1]
        rows += [p] if step >= 2000 and step % 10 == 0 else []
    draws = np.stack(rows, axis=1)
    result = langevin_ib.judge(draws, "uv", sampler="sgd", lr=lr, label_noise=s)
    assert result.doubts == ()
    assert result.invariants["z"].laws["map"].comparison.p_value > 1e-3
    assert result.nearest.law == "map"
    assert valid(result)
    wrong = langevin_ib.judge(draws, "uv", sampler="sgd", lr=lr, label_noise=1.2 * s)
    assert wrong.invariants["z"].laws["map"].comparison.p_value < 1e-3


@pytest.mark.full
def test_of_isotropic_noise_the_step_is_that_of_euler_and_maruyama():
    """Five standard errors of the mean of |θ|²/2 after a step fail in 6e-7 of keys; noise 1.4 times as strong does."""
    rng, lr, decay, rows = np.random.default_rng(6), 0.05, 0.3, []
    # Σ = s² J Jᵀ at the minimum z = 1 − λ, |J|² = 2z; isotropic it is half its trace in each direction.
    s, p = 1.0, np.sqrt(0.7) + 0.2 * rng.normal(size=(64, 2))
    for step in range(200 + 400 * 5):
        noise = s * np.sqrt(0.7) * rng.normal(size=(64, 2))
        p = p - lr * ((p.prod(axis=1) - 1.0)[:, None] * p[:, ::-1] + decay * p + noise)
        rows += [p] if step >= 200 and step % 5 == 0 else []
    settings = {"sampler": "sgd", "noise": "isotropic", "lr": lr, "confine": "weight-decay", "weight_decay": decay}
    right, wrong = (langevin_ib.judge(np.stack(rows, axis=1), "uv", label_noise=x, **settings) for x in (s, 1.4 * s))
    assert abs(right.identities[0].errors) < 5.0 < abs(wrong.identities[0].errors)


@pytest.mark.full
def test_without_laws_draws_are_measured_and_their_temperature_is():
    model = measure_only(
        "bowl",
        loss=lambda p: 0.5 * jax.numpy.sum(p**2),
        init=lambda key: jax.random.normal(key, (3,)),
        scalars=lambda p: {"first": p[0]},
    )
    draws = np.sqrt(0.1) * np.random.default_rng(7).normal(size=(64, 1000, 3))
    right, hot = (langevin_ib.judge(scale * draws, model, beta=10.0) for scale in (1.0, 1.03**0.5))
    assert (right.doubts, right.verdicts) == ((), {})
    assert abs(right.learning.all_draws.value - 1.5) < 4 * right.learning.all_draws.se
    assert run_report(right).lead.startswith("Measured, and held against no law: E[ℓ]/T = 1.")
    measured = hot.details.temperature(hot)
    assert abs(measured.value - 0.103) < 4 * measured.se
    assert str(hot.doubts[0]).startswith("⟨|∇V|²⟩/⟨ΔV⟩ of the draws is 0.10")
    assert valid(right)
    with pytest.raises(DrawsError, match="draws: without a law parameters are needed, got first"):
        langevin_ib.judge({"first": draws[..., 0]}, model, beta=10.0)


@pytest.mark.full
def test_draws_of_pytorch_are_judged(tmp_path):
    """Those of the page's script, where PyTorch is installed; `python -m sims.own_draws` has a wrong T beside them."""
    pytest.importorskip("torch")
    importlib.import_module("sgld_torch").main(tmp_path / "right.npz", draws=600)
    assert langevin_ib.judge(tmp_path / "right.npz", "uv", **STIFF).doubts == ()


def test_arviz_reads_the_draws_of_ones_own():
    """Its names of dimensions are those that are asked for."""
    data = arviz.convert_to_dataset({"theta": NORMAL})
    assert {"chain", "draw"} <= set(data["theta"].dims)
