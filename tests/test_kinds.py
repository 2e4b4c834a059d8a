"""Every confinement, kernel and law that goes by a name has a complete record; one from outside is used like them."""

import dataclasses
import io
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small_result
from matplotlib.colors import to_hex
from rich.console import Console
from scipy import integrate

import langevin_ib
from langevin_ib.config import extensions
from langevin_ib.config.extensions import FOLDERS, PACKAGE, names, summary
from langevin_ib.config.run import LAWS as TABLE
from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.confinement import Confinement, confinement_kind
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import KernelKind, Target, kernel_kind
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.laws import Reduction, build_laws
from langevin_ib.laws.candidates import LawAbout
from langevin_ib.laws.law import LawKind, law_kind, law_kinds, weighed_kinds
from langevin_ib.models import uv
from langevin_ib.output.histogram import figure, styles
from langevin_ib.output.report import run_report
from langevin_ib.output.terminal import show
from langevin_ib.runs.plan import resolve
from langevin_ib.runs.predictions import quadrature
from langevin_ib.testing import checks_of, parametrize_with_checks

T = 0.1
CONFINEMENTS = ("hard", "hard-fixman", "none", "stiff", "weight-decay")
KERNELS = ("euler-maruyama", "leimkuhler-matthews", "mala", "projected")
LAWS = ("exact", "hard", "naive", "printed", "pushforward", "slice")
NOISES = ("bernoulli", "fresh", "label", "minibatch", "none")


def test_the_built_in_kinds_are_the_files_of_their_folders():
    for kind, known in {"confinement": CONFINEMENTS, "kernel": KERNELS, "law": LAWS}.items():
        built_in = tuple(sorted(stem.replace("_", "-") for stem in stems(kind)))
        assert names(kind)[: len(built_in)] == built_in
        assert set(known) <= set(built_in)
        for name in names(kind):
            assert len(summary(kind, name)) > 20
    assert tuple(law_kind(name).name for name in LAWS) == LAWS


def stems(kind):
    """The files of a folder, by their names without suffix."""
    return {file.stem for file in (PACKAGE / FOLDERS[kind]).glob("[!_]*.py")}


@pytest.mark.parametrize("kind", FOLDERS)
def test_no_file_of_a_folder_is_left_out_of_what_may_not_import_each_other(kind):
    content = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [one for one in content["tool"]["importlinter"]["contracts"] if one["type"] == "independence"]
    folder = f"langevin_ib.{FOLDERS[kind].replace('/', '.')}."
    (listed,) = (one["modules"] for one in contracts if one["modules"][0].startswith(folder))
    assert len(contracts) == len(FOLDERS) + 1  # and figures
    assert sorted(listed) == sorted(folder + stem for stem in stems(kind))


def test_a_file_more_among_the_laws_leaves_the_windows_as_they_are(monkeypatch):
    before, built_in = weighed_kinds(), extensions._built_in
    more = LawKind("more", "limit", law_kind("slice").formula, place=0)
    monkeypatch.setitem(sys.modules, "langevin_ib.laws.named.more", SimpleNamespace(LAW=more))
    monkeypatch.setattr(extensions, "_built_in", lambda kind: (*built_in(kind), *(["more"] if kind == "law" else [])))
    assert extensions.is_built_in("law", "more")
    assert law_kind("more") is more
    assert weighed_kinds() == before
    monkeypatch.setattr("langevin_ib.laws.law.LAWS", (*TABLE, "more"))  # only the table of all runs counts
    assert weighed_kinds() == [*before, more]


CHECKS = [
    *(check for name in CONFINEMENTS for check in checks_of("confinement", name)),
    *(check for name in KERNELS for check in checks_of("kernel", name)),
    *(check for name in LAWS for check in checks_of("law", name)),
    *(check for name in NOISES for check in checks_of("noise", name)),
    *checks_of("model", "uv"),
]
# Seconds of simulation each, or the compilation of a law.
LONG = {"weak order", "stability", "temperature", "virial", "invariance", "full space", "kicks", "cumulants"}


def is_long(check):
    return check.name in LONG or check.kind in ("law", "model") or (check.kind == "noise" and check.name != "chains")


@parametrize_with_checks(*(check for check in CHECKS if not is_long(check)))
def test_the_built_in_kinds_keep_their_contracts(check):
    check()


@pytest.mark.full
@parametrize_with_checks(*(check for check in CHECKS if is_long(check)))
def test_the_built_in_kinds_keep_their_contracts_at_length(check):
    check()


def test_the_built_in_kinds_are_called_what_they_go_by():
    for name in CONFINEMENTS:
        kind = confinement_kind(name)
        assert kind.build(kind.settings(**{"kappa": 3.0} if name == "stiff" else {}), T).name == name
    for name in KERNELS:
        kind = kernel_kind(name)
        assert (kind.weak_order is None) == kind.adjusted == (kind.tuning is not None)
        assert kind.bias_factor == {None: 1.0, 1: 2.0, 2: 4 / 3}[kind.weak_order]
        assert (kind.mean_after is not None) == (name in ("euler-maruyama", "leimkuhler-matthews"))
    reduction = Reduction(uv(), stiff(100.0), T)
    for name in LAWS:
        kind = law_kind(name)
        law = kind.law(reduction)
        assert kind.name == name == law.name
        about = kind.about(law if kind.scalar else kind.on(reduction))
        assert all(about[:3])
        assert (about.role == "own") == (kind.scalar is not None) == (name == "exact")


def test_no_two_laws_share_a_place_and_the_six_have_their_colours():
    abouts = [LawAbout(kind.name, "", "", kind.role, kind.place) for kind in map(law_kind, LAWS)]
    assert sorted(about.place for about in abouts) == list(range(6))
    assert {name: colour for name, (colour, _) in styles(abouts).items()} == {
        "exact": "#000000", "slice": "#0072B2", "hard": "#D55E00", "pushforward": "#009E73", "printed": "#CC79A7",
        "naive": "#E69F00",
    }  # fmt: skip
    many = [*abouts, LawAbout("my exact", "", "", "own", 0), *(LawAbout(f"{i}", "", "", "control") for i in range(40))]
    assert len(set(styles(many).values())) == 47


def test_a_law_of_ones_own_stands_beside_the_others(x64):
    plan = resolve(RunConfig(steps=2000, step_size=0.001, burn_in=200, thin=4))
    kinds = law_kinds(("slice", "extra_kinds:HALF"))
    predictions = quadrature(plan.reduction, plan.edges["z"], plan.singular_ends, kinds=kinds, margin=0.01)
    ones, half = predictions.candidates
    assert (half.about.name, half.about.measure, half.about.role, half.about.place) == ("half", "dσ_S", "limit", None)
    assert half.known["z"].c == pytest.approx(0.5, abs=1e-6)
    # The windows are those of the built-in laws, whatever laws are shown.
    assert [kind.name for kind in weighed_kinds()] == ["slice", "hard", "pushforward", "printed", "naive"]
    assert half.known["z"].mass.sum() == pytest.approx(ones.known["z"].mass.sum())


def test_a_law_of_ones_own_has_a_colour_and_a_line_in_the_legend():
    result = small_result(verdicts={"exact": "undecided", "naive": "differs", "half": "undecided"})
    invariant = result.invariants["z"]
    own = dataclasses.replace(
        invariant.laws["naive"], about=LawAbout("half", "dσ_S", "", "limit"), mass=np.full(4, 0.25)
    )
    laws = {**invariant.laws, "half": own}
    picture = figure(dataclasses.replace(result, invariants={"z": dataclasses.replace(invariant, laws=laws)}))
    line = next(line for line in picture.axes[0].get_lines() if "half [dσ_S]" in str(line.get_label()))
    assert to_hex(line.get_color()).upper() == "#56B4E9"


def test_a_kernel_of_ones_own_gets_its_settings():
    kind = kernel_kind("extra_kinds:SLOWED")
    like = jnp.array([1.3, 0.4])
    target = Target(uv().loss, T, like, uv().moment_map)
    kernel, euler = kind.build(kind.settings(slowed=4.0), target, 0.4), kernel_kind("euler-maruyama")
    noise = jnp.array([0.3, -1.1])
    slow = kernel.step(noise, kernel.init(like, None), None)[0]
    plain = euler.build(euler.settings(), target, 0.1)
    np.testing.assert_allclose(slow.position, plain.step(noise, plain.init(like, None), None)[0].position)


@pytest.mark.parametrize("strength", [5.0, 3000.0])
def test_a_confinement_of_ones_own_has_its_exact_law(x64, strength):
    """Oracle: e^{−ℓ/T} ∫ exp(−q χ⁴/4T) dt along the orbit, χ = z sinh 2t, by SciPy."""
    kind = confinement_kind("extra_kinds:QUARTIC")
    reduction = Reduction(uv(), kind.build(kind.settings(quartic=strength), T), T)
    ((_, law),) = build_laws(reduction, law_kinds(("exact",)))[0]
    z = np.array([0.4, 0.9, 1.6])

    def along(t, z):
        return np.exp(-0.25 * strength * (z * np.sinh(2 * t)) ** 4 / T)

    orbit = [integrate.quad(along, -3, 3, args=(point,), points=[0.0], limit=500)[0] for point in z]
    np.testing.assert_allclose(np.ptp(law.log_density(z) + (z - 1) ** 2 / (2 * T) - np.log(orbit)), 0.0, atol=1e-7)
    assert f"q|χ|⁴/4, q = {strength:g}" in law.formula


@pytest.mark.parametrize(
    ("laws", "message"),
    [
        (("extra_kinds:NOT_A_RECORD",), "laws must be a LawKind, got extra_kinds:NOT_A_RECORD, which is a int"),
        (("slice", "extra_kinds:SAME"), "laws must be of different names in tables, got 2 called slice"),
        (("bogus",), f"laws must be one of {', '.join(names('law'))}, or module:attribute, got 'bogus'"),
    ],
)
def test_a_wrong_record_is_refused_in_one_line(laws, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        law_kinds(laws)


def test_what_a_record_leaves_out_or_contradicts_is_said():
    for unnamed in ("", " "):
        with pytest.raises(ValueError, match="a law must have a name for tables and legends, got '"):
            LawKind(unnamed, "limit", law_kind("slice").formula)
    assert LawKind("x", "limit", law_kind("slice").formula).name == "x"
    with pytest.raises(ValueError, match="weak order"):
        KernelKind(kernel_kind("mala").settings, kernel_kind("mala").build, 1.0, weak_order=2)
    with pytest.raises(ValueError, match="set by rule"):
        KernelKind(kernel_kind("projected").settings, kernel_kind("mala").build, 1.0, weak_order=1, tuning=((0.5, 9),))


def test_a_held_chain_has_the_law_of_its_c_and_a_free_one_none_without_a_slab():
    held = Reduction(uv(), Confinement("held", "at half", held=0.5), T)
    assert "det G^(-0.25)" in law_kind("exact").on(held).text
    with pytest.raises(LawError, match="an unconfined measure is not normalisable"):
        law_kind("exact").law(Reduction(uv(), Confinement("free", "none", proper=False), T))


@pytest.mark.full
def test_a_run_is_made_of_kinds_of_ones_own():
    """Named in tables as its record says."""
    config = RunConfig(
        chains=256, steps=8000, bins=10, margin=0.2, reference="none", step_check=False, step_size=0.004,
        confine="extra_kinds:QUARTIC", quartic=40.0, integrator="extra_kinds:SLOWED", slowed=1.5,
        laws=("exact", "naive", "extra_kinds:HALF"),
    )  # fmt: skip
    result = langevin_ib.run(config)
    assert result.protocol.confinement == "q|χ|⁴/4, q = 40"
    assert list(result.invariants["z"].laws) == ["exact", "naive", "half"]
    assert result.invariants["z"].laws["exact"].comparison.tv < 0.1
    console = Console(width=100, record=True, file=io.StringIO())
    show(run_report(result), console)
    text = console.export_text()
    assert "half" in text
    assert "extra_kinds" not in text
