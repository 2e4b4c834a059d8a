"""`summary.json` of every kind of run obeys the schema that is shipped, and what is not one does not."""

import copy
import dataclasses
import json

import pytest
from helpers import small_result
from jsonschema import Draft202012Validator

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.output.folders import summary_json
from langevin_ib.runs import quotient as reduced
from langevin_ib.runs.schema import summary_schema

FAST = {"chains": 64, "steps": 400, "burn_in": 100, "thin": 4, "bins": 10}
BARE = FAST | {"reference": "none", "step_check": False}
UV = {"step_size": 0.002, "window": (0.3, 2.0)}
MANY = {"model": "hadamard", "options": {"dim": 2}, "law_draws": 20_000, "chains": 64, "steps": 2000, "bins": 10}
SGD = {"sampler": "sgd", "lr": 0.01, "label_noise": 2.0, "chains": 64, "steps": 600, "burn_in": 100}
EXAMPLES = {"options": {"samples": 16, "scatter": 2.0}, "noise": "minibatch", "batch_size": 4}
EPOCHS = {"sampler": "sgd", "chains": 64, "steps": 2000, "burn_in": 1000, "replacement": False}

QUICK = {
    "no check": BARE | UV,
    "slab": BARE | UV | {"confine": "none", "slab": 0.1},
    "sgd with doubts": SGD,
}
FULL = {
    "companion and MALA": FAST | UV,
    "MALA's own step": FAST | {"integrator": "mala", "reference": "none"},
    "hard": BARE | {"confine": "hard", "beta": 40.0},
    "hard-fixman": BARE | {"confine": "hard-fixman", "beta": 40.0},
    "weight-decay": BARE | UV | {"confine": "weight-decay", "weight_decay": 0.3},
    "many coordinates": MANY,
    "one of many shown": MANY | {"invariant": ("z_2",), "reference": "none", "step_check": False},
    "sgd of many": MANY | {"sampler": "sgd"},
    "gradient descent": {"sampler": "sgd", "noise": "none", "chains": 16, "steps": 4000},
    "at rest": {"model": "hadamard", "sampler": "sgd", "noise": "minibatch", "chains": 16, "steps": 4000},
    "by epochs": EPOCHS | EXAMPLES,
    "no symmetry": BARE | {"model": "helpers:two_parameters", "confine": "none", "step_size": 0.05},
}
KINDS = [*QUICK, *(pytest.param(name, marks=pytest.mark.full) for name in FULL)]
# Without these a summary is one all the same: settings of some models or protocols, and what has open names.
SPARED = {"config.target", "config.depth", "config.kappa", "protocol.cut.z"}
OPEN = {"verdicts", "invariants", "protocol.cut", "invariants.z.laws"}


@pytest.fixture(scope="module")
def validator():
    schema = summary_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def saved(result):
    """What a reader of the file sees."""
    return json.loads(summary_json(result.to_dict()))


@pytest.mark.full(but=["no check"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_of_every_kind_of_run_obeys_it(kind, validator, monkeypatch):
    if kind == "no symmetry":  # as few draws of its law as will do
        small = {"CHAINS": 64, "TUNING": ((0.57, 100),), "RECORDS": 100, "ENOUGH": 100}
        for name, value in (small | {"NUTS_CHAINS": 16, "NUTS_WARMUP": 20, "NUTS_DRAWS": 50}).items():
            monkeypatch.setattr(reduced, name, value)
    result = langevin_ib.run(RunConfig(**(QUICK | FULL)[kind]))
    summary = saved(result)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(summary)] == []
    if kind == "sgd with doubts":
        assert summary["doubts"]
    wrong = summary | {"doubts": None}
    assert not validator.is_valid(wrong)


@pytest.fixture(scope="module")
def summary(validator):
    """A small one that obeys it."""
    content = saved(small_result())
    assert list(validator.iter_errors(content)) == []
    return content


def places(node, path=()):
    """Every path into nested tables and lists, of the latter's first items."""
    items = node.items() if isinstance(node, dict) else enumerate(node[:1]) if isinstance(node, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from places(child, (*path, key))


def parent(content, path):
    """The table or list that the last key of a path is in."""
    for key in path[:-1]:
        content = content[key]
    return content


def test_a_key_less_fails(summary, validator):
    """Every key of every table, but for those whose names are open and settings of other protocols."""
    fits = set()
    for path in places(summary):
        if isinstance(path[-1], str):
            changed = copy.deepcopy(summary)
            del parent(changed, path)[path[-1]]
            fits |= {".".join(map(str, path))} if validator.is_valid(changed) else set()
    names = {f"{table}.{law}" for table in ("verdicts", "invariants.z.laws") for law in ("exact", "naive")}
    assert fits == SPARED | names


def test_a_key_more_fails(summary, validator):
    tables = [(), *(path for path in places(summary) if isinstance(parent(summary, path)[path[-1]], dict))]
    fits = set()
    for path in tables:
        changed = copy.deepcopy(summary)
        parent(changed, (*path, "more"))["more"] = "undecided" if path == ("verdicts",) else {}
        fits |= {".".join(map(str, path))} if validator.is_valid(changed) else set()
    assert len(tables) > 15
    assert fits == {"verdicts"}  # open in its names, and given a verdict; of other open tables {} is no content


def test_a_value_of_another_type_fails(summary, validator):
    """A table, or a number where there is one, in every place."""
    for path in places(summary):
        changed = copy.deepcopy(summary)
        inside = parent(changed, path)
        inside[path[-1]] = -1 if isinstance(inside[path[-1]], dict) else {"no": "such"}
        assert not validator.is_valid(changed), path


def test_other_names_of_laws_and_invariants_are_free(summary, validator):
    changed = copy.deepcopy(summary)
    changed["invariants"]["σ 1"] = changed["invariants"].pop("z")
    changed["invariants"]["σ 1"]["laws"]["of my own"] = changed["invariants"]["σ 1"]["laws"]["exact"]
    assert validator.is_valid(changed)
    changed["invariants"]["σ 1"]["laws"]["of my own"]["verdict"] = "perhaps"
    assert not validator.is_valid(changed)


def test_a_number_that_is_not_finite_is_null_where_that_may_be_and_refused_elsewhere(validator):
    result = small_result()
    stuck = dataclasses.replace(result, mixing=result.mixing._replace(r_hat=float("nan")))
    assert saved(stuck)["diagnostics"]["r_hat"] is None
    assert validator.is_valid(saved(stuck))
    endless = dataclasses.replace(result, run=dataclasses.replace(result.run, time=float("inf")))
    assert not validator.is_valid(saved(endless))


def test_every_setting_is_in_it_and_every_record_is_closed():
    schema = summary_schema()
    assert set(schema["$defs"]["config"]["properties"]) == set(RunConfig.json_schema()["properties"])
    bases = {id(schema["$defs"][name]) for name in ("comparison", "worst")}  # closed where they are used

    def loose(node):
        if isinstance(node, dict):
            if "properties" in node and "type" in node and id(node) not in bases:
                yield from () if "additionalProperties" in node or "unevaluatedProperties" in node else (node,)
            for child in node.values():
                yield from loose(child)
        elif isinstance(node, list):
            for child in node:
                yield from loose(child)

    assert list(loose(schema)) == []
