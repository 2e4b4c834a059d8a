"""The studies of `sims/`: each can be imported, says how it is run, and its laws are those of the package."""

import importlib
import pkgutil

import jax
import numpy as np
import pytest

import sims
from langevin_ib import RunConfig
from langevin_ib.geometry import contract
from langevin_ib.laws import bin_masses
from langevin_ib.models import Chart, with_metric
from sims.metric import neuron, study
from sims.vector_pair import EDGES, PROTOCOLS, SIZES, laws, pair

# Of one command each: `sims.bench.engine`, `sims.atlas`, `sims.numbers`.
PARTS = "sims.bench.peers.", "sims.bench.sections.", "sims.atlas.", "sims.numbers."
MODULES = [
    found.name
    for found in pkgutil.walk_packages(sims.__path__, "sims.")
    if not found.ispkg and not found.name.startswith(PARTS)
]


@pytest.mark.parametrize("name", MODULES)
def test_each_study_says_how_it_is_run_and_has_a_main(name):
    module = importlib.import_module(name)
    short = name.replace(".paper.", ".").replace(".studies.", ".")
    assert f"python -m {short}" in module.__doc__
    assert callable(module.main)


@pytest.mark.full
def test_the_neuron_of_the_metric_study_keeps_its_contract_in_every_metric(x64):
    for weights in (np.ones(3), np.array([25.0, 1.0, 25.0])):
        contract.check_model(with_metric(neuron(), weights), jax.random.key(0))
    assert Chart(neuron()).scalar_names == ("w_1", "w_2")


def test_neighbouring_laws_of_the_vector_pair_are_further_apart_than_the_margin():
    """Else a wrong law could agree: every law that is to be rejected is at least 0.015 from the one to be accepted."""
    for p, q in SIZES:
        for confinement, _ in PROTOCOLS:
            found = [(bin_masses(law, EDGES), obeyed) for law, obeyed in laws(p, q, confinement)]
            (right,) = (mass for mass, obeyed in found if obeyed)
            distances = [0.5 * np.abs(mass - right).sum() for mass, obeyed in found if not obeyed]
            assert min(distances) > 0.015


@pytest.mark.full
@pytest.mark.parametrize(("p", "q"), SIZES)
def test_the_vector_pair_keeps_its_contract(p, q):
    contract.check_model(pair(p, q), jax.random.key(0))


@pytest.mark.full
def test_the_constrained_chain_obeys_the_law_of_its_metric_and_not_euclids(x64):
    """p > 1e-4 for the true law fails in 2e-4 of keys over both coordinates; the Euclidean law is the control."""
    config = RunConfig(
        model="sims.metric:neuron",
        metric=(25.0, 1.0, 25.0),
        confine="hard",
        chains=256,
        steps=20_000,
        reference="none",
        step_check=False,
    )
    comparisons = study(config, ("hard", "hard, Euclid")).comparisons
    assert min(comparisons["hard", name].p_value for name in ("w_1", "w_2")) > 1e-4
    assert max(comparisons["hard, Euclid", name].p_value for name in ("w_1", "w_2")) < 1e-6
