"""`summary.json` of every study obeys the schema that is shipped, and what is not one does not."""

import copy
import importlib
import json
from typing import NamedTuple

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from test_schema import parent, places

from langevin_ib.ensemble.checkpoint import Resumed
from langevin_ib.output.folders import summary_json
from langevin_ib.plain import JsonObject, plain
from langevin_ib.session import Session
from langevin_ib.statistics.records import Meter
from langevin_ib.statistics.seeds import band, mean, paired
from langevin_ib.studies.balance import (
    Across,
    Balance,
    Diverged,
    ModelFacts,
    NoiseFacts,
    RunFacts,
    across,
    describe,
    state,
)
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.mechanisms import attribute
from langevin_ib.studies.recorded import Paths
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import Effect, StudyResult
from langevin_ib.studies.schema import summary_schema

SEEDS = 8
CONFIG = {"lr": 0.1, "noise": "fresh", "label_noise": 1.0, "weight_decay": 0.1, "steps": 20, "seeds": SEEDS}
# Without these a summary is one all the same: what only some studies have, and settings of some.
SPARED = {"orbits", "predicted", "curve", "config.steps", "config.variant", "balance.config.options"}
# Tables of open names: one less of these is a summary too, unless it is the last that there has to be.
OPEN = (
    "rows", "rows.own", "rows.lasso", "stated", "stated.own", "by_seed", "by_seed.own", "by_seed.lasso", "wall_s",
    "predicted", "predicted.own", "curve.lr", "curve.noise_against_none", "curve", "balance.mechanisms",
    "balance.across.added", "balance.config.options",
)  # fmt: skip


class OfFigures(NamedTuple):
    """What figures 1 and 4 alone measure, in one."""

    def to_dict(self) -> JsonObject:
        values = np.arange(1.0, 9.0)
        method = {"relative_error": [band(values)], "recovered": [3], "observed_error": [band(values)]}
        orbits = {"followed": 8, "meeting the slice once": 8, "change of uv": 1e-16, "gap to s(uv)": 1e-14}
        return {
            "orbits": {**orbits, "det G against the square of the speed": 1e-9, "canonical gap": 0.0},
            "predicted": {"own": {"error": 0.1}},
            "curve": plain(
                {
                    "shares": [0.2], "steps": 10, "lr": {"SGD": 0.1}, "SGD": method, "nuclear norm": method,
                    "noise_against_none": {"SGD": [paired(values, values[::-1])]},
                }
            ),
        }  # fmt: skip


def balance() -> Balance:
    """Of runs that are made up: one grows, one shrinks, one diverged."""
    random = np.random.default_rng(0)
    charge, time = random.normal(size=(SEEDS, 1, 3)), np.arange(3.0)[:, None]

    def paths(size) -> Paths:
        both = np.broadcast_arrays(charge, size)
        ratio = np.arcsinh(np.divide(*both))
        return Paths(*both, ratio, np.ones((SEEDS, 3)))

    runs = {"gradient descent": paths(np.exp(time)), "SGD": paths(np.exp(-time))}
    numbers = Meter(*range(1, 7))
    assert across(runs).descent_share is None
    return Balance(
        AttributionConfig(options={"depth": 2}, **CONFIG),
        ModelFacts("R", 3, 6),
        RunFacts(SEEDS, 20, 2.0, (0, 10, 20), "fresh batches of 4", (Resumed("SGD", 10, 20),)),
        state(runs["SGD"], 0),
        {**{name: describe(run) for name, run in runs.items()}, "Langevin": Diverged("diverged at this T")},
        Across(mean(np.arange(3.0)), across(runs).added),
        NoiseFacts(mean(np.arange(3.0)), SEEDS, numbers, numbers, 0.5),
    )


def saved(result: StudyResult):
    """What a reader of the file sees."""
    content = result.to_dict() | {"title": "A study", "sentences": ["this is so"]}
    return json.loads(summary_json(content))


@pytest.fixture(scope="module")
def validator():
    schema = summary_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def summary(validator):
    """Everything that some study has, in one that obeys it."""
    values = np.arange(1.0, 9.0)
    result = StudyResult(
        name="study",
        config=Request(seeds=8, steps=20, extra={"variant": "code"}).to_dict(),
        seeds=8,
        rows={"own": {"error": values, "recovered": values > 3}, "lasso": {"error": np.full(8, np.nan)}},
        stated={"own": {"error": 0.5}},
        effects=(
            Effect("own", "reference", band(values)),
            Effect("start 1", "start", None, diverged="2 of 8 seeds diverged"),
            Effect("label noise", "noise", band(values), paired(values, values[::-1]), last_iterate=band(values)),
        ),
        balance=balance(),
        details=OfFigures(),
        notes=("a note",),
        wall_s={"training": 1.5},
    )
    content = saved(result)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)] == []
    return content


def test_a_key_less_fails(summary, validator):
    fits = set()
    for path in places(summary):
        if isinstance(path[-1], str):
            changed = copy.deepcopy(summary)
            del parent(changed, path)[path[-1]]
            fits |= {path} if validator.is_valid(changed) else set()
    free = {path for path in fits if ".".join(map(str, path[:-1])) in OPEN}
    assert {".".join(map(str, path)) for path in fits - free} == SPARED
    assert {".".join(map(str, path[:-1])) for path in free} == set(OPEN)
    assert not any(path[0] == "curve" and path[-1] in ("shares", "steps", "lr") for path in fits)


def test_a_key_more_fails(summary, validator):
    tables = [(), *(path for path in places(summary) if isinstance(parent(summary, path)[path[-1]], dict))]
    fits = set()
    for path in tables:
        changed = copy.deepcopy(summary)
        parent(changed, (*path, "more"))["more"] = {"no": ["such"]}
        fits |= {".".join(map(str, path))} if validator.is_valid(changed) else set()
    assert len(tables) > 60
    assert fits == set()


def test_a_value_of_another_type_fails(summary, validator):
    """A table of what nothing has, or a number where there is a table, in every place."""
    fits = set()
    for path in places(summary):
        changed = copy.deepcopy(summary)
        inside = parent(changed, path)
        inside[path[-1]] = -1 if isinstance(inside[path[-1]], dict) else {"no": {"such": []}}
        fits |= {".".join(map(str, path))} if validator.is_valid(changed) else set()
    assert fits == set()


def test_other_names_of_rows_and_quantities_are_free_and_their_content_is_not(summary, validator):
    changed = copy.deepcopy(summary)
    changed["rows"]["my own"] = {"a quantity": changed["rows"]["own"]["error"]}
    changed["balance"]["mechanisms"]["my own"] = changed["balance"]["mechanisms"]["SGD"]
    assert validator.is_valid(changed)
    for wrong in ({"median": 1.0}, {"count": 1, "of": 2, "median": 1.0}, 3.0):
        changed["rows"]["my own"]["a quantity"] = wrong
        assert not validator.is_valid(changed)


def test_another_version_and_the_configuration_of_nothing_fail(summary, validator):
    assert not validator.is_valid(summary | {"schema_version": 2})
    assert not validator.is_valid(summary | {"config": {"seeds": 8}})
    assert validator.is_valid(summary | {"config": summary["balance"]["config"]})
    assert not validator.is_valid(summary | {"config": summary["balance"]["config"] | {"sed": 1}})
    others = summary["balance"]["config"] | {"noise": "mine:NOISE"}
    assert validator.is_valid(summary | {"config": others | {"flip_rate": 0.3, "flips": [1, 2]}})
    assert not validator.is_valid(summary | {"config": others | {"seeds": "many"}})


def test_every_setting_is_in_it():
    parts = summary_schema()["$defs"]
    assert set(parts["attribution"]["properties"]) == set(AttributionConfig.declared())
    assert set(parts["figure"]["properties"]) == set(Request.declared())


@pytest.mark.full
def test_the_summary_of_an_attribution_obeys_it(validator):
    config = AttributionConfig(model="matrix", options={"observed": 0.6}, steps=20, seeds=8)
    with Session().open() as session:
        result = attribute(config, session)
    assert list(validator.iter_errors(saved(result))) == []


STUDIES = {
    "fig1_orbits": ["--seeds", "4", "--steps", "40"],
    "fig2_relu": ["--seeds", "8", "--steps", "20"],
    "fig4_completion": ["--seeds", "2", "--steps", "20", "--figure-only"],
    "fig5_sparse_spectral": ["--seeds", "2", "--steps", "40", "--no-baselines"],
    "fig6_piecewise_constant": ["--seeds", "2", "--steps", "40", "--figure-only"],
}


@pytest.mark.full
@pytest.mark.parametrize("name", STUDIES)
def test_the_summary_of_a_figure_obeys_it(name, validator, tmp_path):
    assert importlib.import_module(f"sims.{name}").main([*STUDIES[name], "--quiet", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*/summary.json")
    assert list(validator.iter_errors(json.loads(file.read_text(encoding="utf-8")))) == []
