"""Building models by name: options, a user's own, and what is refused."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from langevin_ib import RunConfig
from langevin_ib.config import extensions
from langevin_ib.errors import FAULT, ConfigError, ModelError, one_line
from langevin_ib.geometry import contract
from langevin_ib.models import build_model, options_of
from langevin_ib.models.registry import faults_of
from langevin_ib.plain import plain
from langevin_ib.runs.plan import resolve


@pytest.mark.parametrize("name", extensions.names("model"))
def test_options_are_those_that_a_command_line_can_set(name):
    found = options_of(name)
    assert {type(default) for default in found.values()} <= {int, float, str, bool}
    assert build_model(name, found).name == name
    named = {parameter.name for parameter in inspect.signature(extensions.load("model", name)).parameters.values()}
    assert named - set(found) == ({"matrix", "y"} if name == "hadamard" else set())


REFUSED = [
    (
        "nope",
        {},
        f"model must be one of {', '.join(extensions.names('model'))}, or module:function, got",
    ),
    ("uv", {"depth": 1}, "set must be such that depth is at least 2, got 1"),
    ("uv", {"depth": 2.0}, "set must be such that depth is a whole number, got 2.0"),
    ("uv", {"depth": True}, "set must be such that depth is a whole number, got True"),
    ("uv", {"target": "x"}, "set must be such that target is a finite number, got 'x'"),
    ("uv", {"target": float("nan")}, "set must be such that target is a finite number, got nan"),
    ("uv", {"target": 10**400}, "set must be such that target is a finite number, got 1000"),
    (
        "uv",
        {"width": 2},
        "set must be made of options of uv (target, depth, samples, scatter, seed, loss, huber_threshold, data), got",
    ),
    ("rotation", {"width": 2}, "set must be left out for rotation, got 'width'"),
    ("hadamard", {"matrix": [1.0]}, "set must be made of options of hadamard"),
    ("hadamard", {"dim": 0}, "set must be such that dim is at least 1, got 0"),
    ("hadamard", {"operator": "sparse"}, "set must be such that operator is one of identity, random, got 'sparse'"),
    ("hadamard", {"operator": 1}, "set must be such that operator is one of identity, random, got '1'"),
    ("hadamard", {"operator": True}, "set must be such that operator is a word, got True"),
    ("hadamard", {"rows": -1}, "set must be such that rows is at least 0, got -1"),
    ("relu", {"inputs": 1}, "set must be such that inputs is at least 2, got 1"),
    ("relu", {"population": 1}, "set must be such that population is yes or no, got 1"),
    ("relu", {"ridge": -0.1}, "set must be such that ridge is a number from 0, got -0.1"),
    ("relu", {"width": [2]}, "set must be such that width is a whole number, got [2]"),
    (
        "attention",
        {"length": 1},
        "set must be such that length is at least 2, for one token attends to itself",
    ),
    ("attention", {"seed": -1}, "set must be such that seed is at least 0, got -1"),
    ("matrix", {"spectrum": "3,2,1"}, "set must be such that spectrum is 1 to 2 positive numbers with commas between"),
    ("matrix", {"depth": 1}, "set must be such that depth is at least 2, got 1"),
    (
        "matrix",
        {"group": "gl", "depth": 3},
        "set must be such that depth is 2 unless group is gl and rows, cols and rank are one number, got 3",
    ),
    ("matrix", {"observed": 0}, "set must be such that observed is a probability above 0, got 0"),
    (
        "matrix",
        {"observed": 1e-9},
        "set must be such that observed is large enough that some entry is observed, got 1e-09",
    ),
    ("matrix", {"noise": float("inf")}, "set must be such that noise is a finite number, got inf"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_bad_options_are_refused_in_one_line(name, options, message):
    with pytest.raises(ConfigError) as caught:
        build_model(name, options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


OWN = """
import dataclasses
import jax.numpy as jnp
from langevin_ib.models import hadamard, uv

def good(target: float = 1.0, *, depth=2):
    return dataclasses.replace(uv(target=target, depth=depth), name="mine")

def needs(scale):
    return uv(target=scale)

def anything(**options):
    return uv(**options)

def loss_not_invariant():
    return dataclasses.replace(uv(), loss=lambda p: jnp.sum(p**2))

def section_off():
    return dataclasses.replace(uv(), section=lambda i: jnp.stack([i["z"], jnp.ones_like(i["z"])]))

def not_free():
    return dataclasses.replace(uv(), init=lambda key: jnp.zeros(2))

def wrong_names():
    return dataclasses.replace(uv(), section=lambda i: i["w"])

def wrong_structure():
    return dataclasses.replace(uv(), section=lambda i: {"u": i["z"], "v": i["z"]})

def wrong_terms():
    model = hadamard(dim=1)
    closed = model.slice_terms
    return dataclasses.replace(model, slice_terms=lambda i: closed(i)._replace(log_volume=closed(i).log_volume + 0.1))

def forced(**fields):
    model = uv()
    for name, value in fields.items():
        object.__setattr__(model, name, value)  # past the type checks that the tests switch on
    return model

def loose_branches():
    return forced(branches={"z": (0.0, jnp.inf)})

def whole_numbers():
    return dataclasses.replace(uv(), init=lambda key: jnp.array([1, 1]))

def cut_as_word():
    return forced(cut="z")

def starts_outside():
    return dataclasses.replace(uv(), branches={"z": ((9.0, 10.0),)}, home={})

def no_branches():
    return dataclasses.replace(uv(), branches={}, home={}, loss=lambda p: 0.25 * ((p[0] * p[1]) ** 2 - 1.0) ** 2)

def a_list():
    return dataclasses.replace(uv(), invariants=lambda p: [p[0] * p[1]])

def fails():
    raise RuntimeError("no data here\\nsecond line")

def leaves():
    raise SystemExit(3)

def other():
    return 7

number = 7
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of a user's, importable only from the current directory."""
    (tmp_path / "own_models.py").write_text(OWN)
    (tmp_path / "broken_module.py").write_text("def broken(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_models", raising=False)


@pytest.mark.full
def test_a_model_of_ones_own_is_imported_from_the_current_directory(own):
    model = build_model("own_models:good", {"target": 2, "depth": 3})
    assert (model.name, model.group_dim) == ("mine", 2)
    contract.check_model(model, jax.random.key(0))
    assert options_of("own_models:good") == {"target": 1.0, "depth": 2}
    assert build_model("own_models:anything", {"depth": 4}).group_dim == 3
    assert float(build_model("own_models:needs", {"scale": 2.0}).loss(jnp.ones(2))) == 0.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "no_such_module:f",
            {},
            "model must be in a module that can be imported, got no_such_module:f: Module",
        ),
        ("broken_module:f", {}, "model must be in a module that can be imported, got broken_module:f: SyntaxError"),
        ("own_models:nothing", {}, "model must be a function of module own_models, got own_models:nothing, of which"),
        ("own_models:number", {}, "model must be a function that builds a model, got own_models:number, a int"),
        ("own_models:", {}, "model must be module:function, got 'own_models:'"),
        (":f", {}, "model must be module:function, got ':f'"),
        (
            "../mine/own_models.py:good",
            {},
            "model must be module:function, got '../mine/own_models.py:good'; of that file it is own_models:good, from "
            "the folder ../mine",
        ),
        ("own_models.py:good", {}, "model must be module:function, got 'own_models.py:good'; of that file it is own_"),
        (".own_models:good", {}, "model must be module:function, got '.own_models:good'"),
        (
            "own_models:fails",
            {},
            "model must be a function that builds a model, got own_models:fails, which",
        ),
        (
            "own_models:leaves",
            {},
            "model must be a function that builds a model, got own_models:leaves, which",
        ),
        (
            "own_models:other",
            {},
            "model must be a function that returns a langevin_ib Model, got own_models:other",
        ),
        (
            "own_models:good",
            {"depth": 1},
            "model must be a function that builds a model, got own_models:good",
        ),
        (
            "own_models:good",
            {"width": 1},
            "set must be made of options of own_models:good (target, depth), got",
        ),
        ("own_models:good", {"target": "x"}, "set must be such that target is a finite number, got 'x'"),
        ("own_models:needs", {}, "set must be given for scale, which own_models:needs has no default for, got nothing"),
    ],
)
def test_a_bad_model_of_ones_own_is_refused_in_one_line(own, name, options, message):
    with pytest.raises(ConfigError) as caught:
        build_model(name, options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.full(
    only=[
        "loss_not_invariant-the loss changes along the orbit by",
        "wrong_terms-slice_terms gives another log_volume than the geometry, by 0.1 at \\u03b8",
    ]
)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("loss_not_invariant", "the loss changes along the orbit by"),
        ("section_off", "the section misses the slice"),
        ("not_free", "the action is not free"),
        ("wrong_names", "section fails: KeyError"),
        ("loose_branches", "branches of z must be a tuple of intervals (low, high), got (0.0, inf)"),
        ("whole_numbers", "init must return floating-point parameters"),
        ("cut_as_word", "cut must be a tuple of names, got 'z'"),
        ("starts_outside", "in none of its branches ((9.0, 10.0),)"),
        ("wrong_terms", "slice_terms gives another log_volume than the geometry, by 0.1 at θ"),
        ("wrong_structure", "section must return parameters as init does, shape (2,), got shapes {'u': (), 'v': ()}"),
    ],
)
def test_a_model_of_ones_own_that_breaks_the_contract_is_refused_in_one_line(own, name, message):
    with pytest.raises(ModelError) as caught:
        contract.check_model(build_model(f"own_models:{name}"), jax.random.key(0))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_only_the_plan_can_see_of_a_model_of_ones_own_is_refused_in_one_line(own, x64):
    with pytest.raises(ModelError, match=r"invariants must return a mapping of names to arrays, got a list"):
        resolve(RunConfig(model="own_models:a_list"))
    with pytest.raises(ModelError, match=r"the action is not free, or the section fails, at z = 0, inside the window"):
        resolve(RunConfig(model="own_models:no_branches"))


def misfit():
    """What `vmap` refuses: its message says which axes below the first line."""
    return jax.vmap(jnp.add)(jnp.ones(3), jnp.ones(4))


def test_a_fault_of_ones_own_names_the_function_and_says_what_jax_says_below_its_first_line():
    with pytest.raises(ModelError) as caught, faults_of(["noise mine:NOISE"]):
        misfit()
    said = str(caught.value)
    assert said.startswith("noise mine:NOISE: one of its functions fails at test_registry.py:")
    assert " in misfit: ValueError: vmap got inconsistent sizes" in said
    assert "size 3" in said
    assert "size 4" in said
    assert "\n" not in said


def test_what_was_returned_wrong_is_placed_where_the_package_meets_it():
    with pytest.raises(ModelError) as caught, faults_of(["noise mine:NOISE"]):
        plain(object())
    said = str(caught.value)
    assert said.startswith("noise mine:NOISE: what one of its functions returned cannot be used at plain.py:")
    assert said.endswith(" in plain: TypeError: object is no plain data")
    # What a model returns was checked, so that the fault is the package's own.
    with pytest.raises(TypeError), faults_of(["model mine:ring"]):
        plain(object())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "ValueError"),
        ("short", "ValueError: short"),
        ("first\n\n  second  \n", "ValueError: first second"),
        ("x" * 500, f"ValueError: {'x' * 500}"),
        ("x" * 500 + "\nrest", f"ValueError: {'x' * 500} …"),
    ],
)
def test_an_exception_is_one_line(text, line):
    assert one_line(ValueError(text)) == line


def test_of_a_long_message_what_fits_is_said():
    said = one_line(ValueError("\n".join(["word"] * 500)))
    assert said.endswith(" word …")
    assert FAULT - 10 < len(said) - len("ValueError: ") <= FAULT + 1
