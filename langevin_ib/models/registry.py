"""From a name and options to a `Model`: the models of the package, and those of a user's own module."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import jax

from langevin_ib.config import extensions
from langevin_ib.errors import ConfigError, LangevinIBError, ModelError, one_line
from langevin_ib.models.base import Model
from langevin_ib.models.fingerprint import content_of
from langevin_ib.models.own_data import check_decided
from langevin_ib.models.shapes import check_shapes
from langevin_ib.plain import Json

LARGEST = sys.float_info.max
KINDS = {bool: "yes or no", int: "a whole number", float: "a finite number", str: "a word"}


def build_model(name: str, options: Mapping[str, Json] | None = None) -> Model:
    """The model of a name, built with the given options.

    Args:
        name: one that `config.extensions` knows, or `package.module:function` of a user's own, importable from the
            current directory, that takes the options as keyword arguments and returns a `Model`.
        options: values for the builder's int, float, str and bool arguments; the others keep their defaults.

    Raises:
        ConfigError: there is no such model, no such option, a value of the wrong kind or out of range, or a user's
            function fails.
        ModelError: a function of a user's model fails, or returns another shape than it has to.

    >>> build_model("uv", {"depth": 3}).group_dim
    2
    >>> build_model("uv", {"depth": 1})
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: set must be such that depth is at least 2, got 1
    """
    if not extensions.is_built_in("model", name):
        with extensions.current_directory():
            return _call_builder(name, _builder(name), options or {})
    builder = _builder(name)
    settings = _checked(name, builder, options or {})
    if settings.get("data"):
        check_decided(name, settings)
    try:
        return builder(**settings)
    except ConfigError:
        raise
    except ValueError as error:
        raise _as_config_error(error) from None


def build(model: Model | Callable[..., Model], options: Mapping[str, Json] | None = None) -> Model:
    """A `Model` as it is, or what a function builds, checked as a user's own model is.

    Raises:
        ConfigError: options for a model that is built already, or as `build_model`.
        ModelError: as `build_model`.
    """
    if not isinstance(model, Model):
        return _call_builder(_qualified_name(model), model, options or {})
    if options:
        raise ConfigError("set", "left out for a Model that is built already", ", ".join(options))
    check_shapes(model)
    return model


def name_of(model: Model | Callable[..., Model], built: Callable[[], Model]) -> str:
    """`module:function` where that leads back to the function; else NAME@HASH, the hash of what the model computes."""
    called = _qualified_name(model)
    module, _, function = called.partition(":")
    if module != "__main__" and getattr(sys.modules.get(module), function, None) is model:
        return called
    instance = built()
    name = re.sub(r"[^\w.-]+", "-", instance.name).strip("-.") or "model"
    return f"{name}@{_content_hash(instance)}"


def _qualified_name(model: Any) -> str:
    """module:qualname of a function."""
    function = getattr(model, "func", model)  # of a partial
    place = type(model) if not hasattr(function, "__qualname__") else function
    return f"{place.__module__}:{place.__qualname__}"


def _content_hash(model: Model) -> str:
    """Eight hexadecimal digits of what a model computes."""
    digest = hashlib.sha256(
        f"{model.name} {model.group} {model.branches} {model.home} {model.cut} {model.discrete}".encode()
    )
    with jax.enable_x64(True):
        key = jax.random.key(0)
        theta = jax.eval_shape(model.init, key)
        z = jax.eval_shape(model.invariants, theta)
        group = jax.ShapeDtypeStruct((model.group_dim,), "float64")
        programs = [(model.init, (key,)), (model.act, (group, theta))]
        programs += [(model.section, (z,))] if model.charted else []  # else it is an error to call it
        programs += [(function, (theta,)) for function in (model.loss, model.moment_map, model.invariants)]
        optional: list[tuple[Any, tuple[Any, ...]]] = [
            (function, (z,)) for function in (model.scalars, model.slice_terms, model.flat and model.flat[1])
        ]
        if model.compact_act is not None:
            optional.append((model.compact_act, (jax.ShapeDtypeStruct((model.compact_dim,), "float64"), theta)))
        programs += [(function, like) for function, like in optional if function is not None]
        if model.training is not None:
            training = model.training
            programs.append((lambda params: training.risk(training.task, params), (theta,)))
        for function, like in programs:
            digest.update(content_of(function, *like).encode())
    return digest.hexdigest()[:8]


@contextmanager
def faults_of(owned: Sequence[str]) -> Iterator[None]:
    """An error out of a user's own functions as one line with its place; the package's own errors stay what they are.

    Args:
        owned: what is not of the package in a run: a model, a confinement, …; without any, errors are the package's.

    Raises:
        ModelError: a function of the user's failed, though not when it was built and checked.
    """
    try:
        yield
    except (LangevinIBError, OSError, MemoryError):
        raise
    except Exception as error:
        frame = _frame_of(error) if owned else None
        whose, place = " or ".join(owned), "" if frame is None else _place_of(frame)
        if frame is not None and not _is_ours(frame):
            raise ModelError(f"{whose}: one of its functions fails at {place}: {one_line(error)}") from error
        if all(each.startswith("model ") for each in owned):  # what a model returns was checked
            raise
        fault = f"what one of its functions returned cannot be used{place and f' at {place}'}"
        raise ModelError(f"{whose}: {fault}: {one_line(error)}") from error


def _frame_of(error: Exception) -> traceback.FrameSummary | None:
    """Where an error comes from, below all of the libraries; None if there is no such place."""
    paths = sysconfig.get_paths()
    libraries = tuple(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if _is_ours(frame) or not frame.filename.startswith(libraries)]
    return own[-1] if own else None


def _is_ours(frame: traceback.FrameSummary) -> bool:
    """Whether it lies in this package."""
    return frame.filename.startswith(str(Path(__file__).parents[1]))


def _place_of(frame: traceback.FrameSummary) -> str:
    """FILE:LINE, and the function."""
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"


def options_of(name: str) -> dict[str, object]:
    """{option: default} of a model of the package or of a user's own.

    An option without a default has `inspect.Parameter.empty`.

    Raises:
        ConfigError: there is no such model.

    >>> options_of("rotation")
    {}
    """
    builder = _builder(name)
    return {option: parameter.default for option, (_, parameter) in _builder_options(name, builder).items()}


def _builder(name: str) -> Callable[..., Any]:
    """The function that builds the model of a name."""
    if "@" in name:
        raise ConfigError(
            "model",
            "a name or module:function",
            f"{name}, which stands for an object and cannot be built from its name",
        )
    with jax.enable_x64(True):  # arrays that a module makes keep their digits, and JAX has nothing to warn of
        builder = extensions.load("model", name)
    if not callable(builder):
        raise ConfigError("model", "a function that builds a model", f"{name}, a {type(builder).__name__}")
    return builder


def _call_builder(name: str, builder: Callable[..., Any], options: Mapping[str, Json]) -> Model:
    """Call a user's builder, and check what it returns."""
    settings = _checked(name, builder, options)
    try:
        with jax.enable_x64(True):  # as where it is imported
            model = builder(**settings)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            "model", "a function that builds a model", f"{name}, which raised {one_line(error)}"
        ) from None
    if not isinstance(model, Model):
        raise ConfigError(
            "model", "a function that returns a langevin_ib Model", f"{name}, which returned {type(model).__name__}"
        )
    check_shapes(model)
    return model


def _signature(name: str, builder: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(builder)
    except (TypeError, ValueError):
        raise ConfigError("model", "a function with a readable signature", name) from None


def _builder_options(name: str, builder: Callable[..., Any]) -> dict[str, tuple[type | None, inspect.Parameter]]:
    """{option: (its kind, its parameter)}: arguments whose annotation or default is int, float, str or bool.

    The kind is None where a user's function says nothing of it: then anything that a command line can give will do.
    """
    signature = _signature(name, builder)
    try:
        hints = get_type_hints(builder)
    except Exception:  # annotations of a user's function may name what only a type checker sees
        hints = {}
    options = {}
    for option, parameter in signature.parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        default = None if parameter.default is parameter.empty else parameter.default
        kind = hints.get(option, None if default is None else type(default))
        if kind in KINDS or (option not in hints and parameter.default is parameter.empty):
            options[option] = (kind, parameter)
    return options


def _checked(name: str, builder: Callable[..., Any], options: Mapping[str, Json]) -> dict[str, Json]:
    known = _builder_options(name, builder)
    anything = any(p.kind is p.VAR_KEYWORD for p in _signature(name, builder).parameters.values())
    settings = {}
    for option, value in options.items():
        if option in known:
            settings[option] = _of_kind(option, value, known[option][0])
        elif anything:
            settings[option] = value
        else:
            named = ", ".join(each for each in known if each != "data_sha256")  # which comes with data
            wanted = f"made of options of {name} ({named})" if known else f"left out for {name}"
            raise ConfigError("set", wanted, repr(option))
    for option, (_, parameter) in known.items():
        if parameter.default is parameter.empty and option not in settings:
            raise ConfigError("set", f"given for {option}, which {name} has no default for", "nothing")
    return settings


def _of_kind(option: str, value: Json, kind: type | None) -> Json:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)  # beartype takes no int for a float
    truth = isinstance(value, bool)
    if kind is None or (isinstance(value, kind) and kind is not float and truth == (kind is bool)):
        return value
    if kind is str and isinstance(value, (int, float)) and not truth:  # a list of one number
        return str(value)
    raise ConfigError("set", f"such that {option} is {KINDS[kind]}", repr(value))


def _as_config_error(error: ValueError) -> ConfigError:
    """`NAME must be WANTED, got GOT` of a builder as the error of the setting that it came from."""
    match = re.fullmatch(r"(\w+) must be (.*), got (.*)", str(error), flags=re.DOTALL)
    if match is None:
        return ConfigError("set", "options that the model can be built with", one_line(error))
    return ConfigError("set", f"such that {match[1]} is {match[2]}", match[3])
