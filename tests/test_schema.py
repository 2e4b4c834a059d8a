"""`summary.json` of every kind of run obeys the schema that is shipped, and what is not one does not."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest
from helpers import small_result
from jsonschema import Draft202012Validator

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.config.choices import BUILT_IN
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

# Of the package in tests/plugin, each by `module:attribute`.
OWN = {name: f"orbit_extras.{name}:{name.upper()}" for name in ("quartic", "heun", "half", "metropolis", "signs")}
BOOST = BARE | {"model": "orbit_extras.boost:boost", "step_size": 0.002}
QUARTIC = BOOST | {"confine": OWN["quartic"], "quartic": 20.0, "laws": ("exact", "slice", OWN["half"])}

QUICK = {
    "no check": BARE | UV,
    "slab": BARE | UV | {"confine": "none", "slab": 0.1},
    "sgd with doubts": SGD,
    "plug-in's confinement, kernel and law": QUARTIC | {"integrator": OWN["heun"], "steps": 4000},
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
    "plug-in's process": QUARTIC | {"sampler": OWN["metropolis"], "proposal": 0.7, "steps": 4000},
    "plug-in's noise": SGD | {"model": BOOST["model"], "noise": OWN["signs"], "move": 1.5, "label_noise": "auto"},
    "measured": FAST | {"laws": "none", "step_size": 0.002},
    "measured, one of several": BARE | {"model": "helpers:bare_network", "invariant": ("norm",), "window": (0.0, 5.0)},
    "sgd measured": SGD | {"laws": "none"},
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


@pytest.mark.full(but=["no check", "plug-in's confinement, kernel and law"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_of_every_kind_of_run_obeys_it(kind, validator, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    if kind == "no symmetry":  # as few draws of its law as will do
        small = {"CHAINS": 64, "TUNING": ((0.57, 100),), "RECORDS": 100, "ENOUGH": 100}
        for name, value in (small | {"NUTS_CHAINS": 16, "NUTS_WARMUP": 20, "NUTS_DRAWS": 50}).items():
            monkeypatch.setattr(reduced, name, value)
    result = langevin_ib.run(RunConfig(**(QUICK | FULL)[kind]))
    summary = saved(result)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(summary)] == []
    if kind == "sgd with doubts":
        assert summary["doubts"]
    wrong = [summary | {"doubts": None}, {name: part for name, part in summary.items() if name != "doubts"}]
    if "plug-in" not in kind:
        wrong += [summary | {"details": {}}, summary | {"config": summary["config"] | {"quartic": 20.0}}]
    assert not [content for content in wrong if validator.is_valid(content)]


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
    for value in (True, 1.0, "word", [1]):
        assert not validator.is_valid(summary | {"config": summary["config"] | {"kapa": value}})
    assert fits == {"verdicts"}  # open in its names, and given a verdict; of other open tables {} is no content


def test_a_value_of_another_type_fails(summary, validator):
    """A table, or a number where there is one, in every place."""
    for path in places(summary):
        changed = copy.deepcopy(summary)
        inside = parent(changed, path)
        inside[path[-1]] = -1 if isinstance(inside[path[-1]], dict) else {"no": "such"}
        assert not validator.is_valid(changed), path


def choosing(summary, **config):
    """The same with other settings."""
    return summary | {"config": summary["config"] | config}


BUILT = {"sampler": "langevin", "confine": "stiff", "integrator": "mala", "noise": "label"}
CHOICES = {"sampler": "jumps:JUMPS", "confine": "mine:SOFT", "integrator": "heun", "noise": "mine:PINK"}


@pytest.mark.parametrize(("setting", "name"), CHOICES.items())
def test_a_choice_of_ones_own_brings_its_settings(setting, name, summary, validator):
    """An installed package's goes by a plain name; whatever it brings, what is built in stays as it is."""
    assert validator.is_valid(choosing(summary, **{setting: name}))
    for value in (True, 1.0, "word", [1.0], {"a": 1}):
        own = choosing(summary, **{setting: name}, rate=value)
        assert validator.is_valid(own)
        assert not validator.is_valid(choosing(own, **{setting: BUILT[setting]}))
    for wrong in ("", 3, None, [name]):
        assert not validator.is_valid(choosing(summary, **{setting: wrong}))
    assert not validator.is_valid(choosing(summary, **{setting: name}, kappa=-1.0))
    assert not validator.is_valid(choosing(summary, **{setting: name}, kappa="stiff"))


def test_a_law_of_ones_own_is_named_among_the_others(summary, validator):
    assert validator.is_valid(choosing(summary, laws=["exact", "odd:HALF", "half"]))
    for wrong in ([], [""], [3], "odd:HALF"):
        assert not validator.is_valid(choosing(summary, laws=wrong))
    assert not validator.is_valid(choosing(summary, laws=["odd:HALF"], rate=1.0))  # a law has no settings


def test_details_of_a_process_of_ones_own_are_keys_of_their_own(summary, validator):
    own = choosing(summary, sampler="jumps:JUMPS", rate=2.0) | {"jumps": {"rate": 2.0, "waits": [1, 2]}}
    assert validator.is_valid(own)
    assert validator.is_valid(choosing(own, laws=["odd:HALF"]))
    for built_in in ("langevin", "sgd"):
        assert not validator.is_valid(choosing(own, sampler=built_in))
        assert not validator.is_valid(choosing(own, sampler=built_in, confine="mine:SOFT"))
    for name in set(summary):  # a typo of a key is that key missing
        renamed = {f"{key}s" if key == name else key: part for key, part in own.items()}
        assert not validator.is_valid(renamed), name
    assert not validator.is_valid(own | {"descent": {}})  # one that is SGD's says what SGD's does
    inside = copy.deepcopy(own)
    inside["run"]["jumps"] = 3
    assert not validator.is_valid(inside)


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
    for kind in ("process", "confinement", "kernel", "noise"):  # laws have no settings, a plug-in's model options alone
        assert set(schema["$defs"][f"built_in_{kind}"]["enum"]) == set(BUILT_IN[kind])
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
