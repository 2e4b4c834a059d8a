"""Kinds of values that settings take: each says what it wants, its JSON schema, and how an option's text is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from langevin_ib.config import extensions
from langevin_ib.errors import ConfigError, shown
from langevin_ib.plain import JsonObject

AUTO = "auto"
LIMIT = 2**31 - 1
LARGEST_OPTION = 2**63 - 1  # of TOML


class Kind:
    """Base of the kinds.

    Attributes:
        metavar: stands for a value in `--help`.
        many: whether an option takes several words.
    """

    metavar = "NAME"
    many = False

    def check(self, name: str, value: Any, auto: str) -> Any:
        """The value in its canonical type, or a ConfigError; `auto` is put behind what is wanted."""
        raise NotImplementedError

    def schema(self) -> JsonObject:
        """The JSON schema of a value."""
        raise NotImplementedError

    def read(self, text: Any) -> Any:
        """The text, or the words, of an option: numbers read, other text as it is, for `check` to judge."""
        return number(text)

    def spell(self, value: Any) -> str:
        """A default in `--help`."""
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

    def choices_in_help(self) -> str:
        """What is allowed, where that is a short list of words."""
        return ""


class Real(Kind):
    """A finite number within bounds."""

    metavar = "X"

    def __init__(self, wanted: str, *, above: float = -math.inf, low: float = -math.inf, below: float = math.inf):
        self.wanted, self.above, self.low, self.below = wanted, above, low, below

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return value > self.above and self.low <= value < self.below

    def check(self, name: str, value: Any, auto: str) -> float:
        real = finite(value)
        if real is None or not self.allows(real):
            raise ConfigError(name, self.wanted + auto, _quoted(value))
        return real

    def schema(self) -> JsonObject:
        bounds = {"exclusiveMinimum": self.above, "minimum": self.low, "exclusiveMaximum": self.below}
        return {"type": "number", **{key: bound for key, bound in bounds.items() if math.isfinite(bound)}}

    def spell(self, value: Any) -> str:
        return value if isinstance(value, str) else f"{value:g}"


POSITIVE = Real("a positive number", above=0)
NON_NEGATIVE = Real("a number from 0", low=0)
BELOW_ONE = Real("a number from 0 to below 1", low=0, below=1)
REAL = Real("a finite number")


class Whole(Kind):
    """A whole number from `low` to `high`."""

    metavar = "N"

    def __init__(self, low: int, high: int):
        self.low, self.high = low, high

    def check(self, name: str, value: Any, auto: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ConfigError(name, f"a whole number from {self.low} to {self.high}{auto}", _quoted(value))
        return value

    def schema(self) -> JsonObject:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class OneOf(Kind):
    """One of some words or numbers."""

    def __init__(self, *choices: str | int, wanted: str = ""):
        self.choices, self.wanted = choices, wanted or "one of " + ", ".join(map(str, choices))

    def check(self, name: str, value: Any, auto: str) -> Any:
        if isinstance(value, bool | float | list | dict) or value not in self.choices:
            raise ConfigError(name, self.wanted, value)
        return value

    def schema(self) -> JsonObject:
        return {"enum": list(self.choices)}

    def choices_in_help(self) -> str:
        return f": {', '.join(map(str, self.choices))}"


class YesNo(Kind):
    """Yes or no: true or false in a file."""

    choices = ("yes", "no")

    def check(self, name: str, value: Any, auto: str) -> bool:
        value = {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ConfigError(name, "yes, no or auto" if auto else "yes or no", value)
        return value

    def schema(self) -> JsonObject:
        return {"type": "boolean"}

    def choices_in_help(self) -> str:
        return ": yes, no"


class Switch(YesNo):
    """Yes or no, whose option has no value: it stands for the opposite of the default."""

    def check(self, name: str, value: Any, auto: str) -> bool:
        if not isinstance(value, bool):
            raise ConfigError(name, "yes or no", value)
        return value

    def read(self, text: Any) -> Any:
        return text

    def choices_in_help(self) -> str:
        return ""

    def spell(self, value: Any) -> str:
        return ""


class Text(Kind):
    """A word or a path."""

    def __init__(self, wanted: str = "a name", metavar: str = "NAME"):
        self.wanted, self.metavar = wanted, metavar

    def check(self, name: str, value: Any, auto: str) -> str:
        if not isinstance(value, str) or not value:
            raise ConfigError(name, self.wanted, repr(value))
        return value

    def schema(self) -> JsonObject:
        return {"type": "string", "minLength": 1}

    def read(self, text: Any) -> Any:
        return text


class Extension(Text):
    """The name of a built-in or third-party extension, or `module:attribute`.

    Args:
        kind: of `config.extensions`.
        built_in: those that errors name, in this order, before those of other packages.
    """

    def __init__(self, kind: extensions.Kind, built_in: tuple[str, ...]):
        self.kind: extensions.Kind = kind
        self.built_in = built_in

    @property
    def names(self) -> tuple[str, ...]:
        """What can be chosen by a plain name."""
        others = extensions.names(self.kind)
        return (*self.built_in, *(name for name in others if name not in self.built_in))

    def check(self, name: str, value: Any, auto: str) -> str:
        if not isinstance(value, str) or not self.is_known(value):
            raise ConfigError(name, f"one of {', '.join(self.names)}, or module:attribute", value)
        return value

    def summaries(self) -> dict[str, str]:
        """{name: one line} of what can be chosen by a plain name, read from files that are not imported."""
        return {name: extensions.summary(self.kind, name) for name in self.names}

    def is_known(self, value: str) -> bool:
        """Whether something goes by this name, as far as can be told without importing it."""
        return value in self.built_in or extensions.is_known(self.kind, value)


class ModelKind(Extension):
    """A name, a `Model`, or a function that builds one; a name in files. Unknown names are found when it is built."""

    def __init__(self):
        super().__init__("model", ())

    def check(self, name: str, value: Any, auto: str) -> Any:
        if isinstance(value, str) and value:
            return value
        if not isinstance(value, str):
            from langevin_ib.models.base import Model  # noqa: PLC0415 - needs JAX, settings do not

            if isinstance(value, Model) or callable(value):
                return value
        got = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
        raise ConfigError(name, "a name, a Model, or a function that builds one", got)


NO_LAWS = "none"


class Laws(Extension):
    """Names of laws, in the order of the built-in ones; or none, of a run that measures only."""

    many = True

    def check(self, name: str, value: Any, auto: str) -> Any:
        laws = [value] if value == NO_LAWS else listed(value)
        if laws is None:
            raise ConfigError(name, "a list of laws", value)
        if NO_LAWS in laws:
            if len(laws) > 1:
                raise ConfigError(name, f"laws, or {NO_LAWS} alone", " ".join(map(str, laws)))
            return (NO_LAWS,)
        for item in laws:
            if not isinstance(item, str) or not self.is_known(item):
                raise ConfigError(name, f"laws among {', '.join(self.names_of_laws)}", item)
            if item not in self.built_in and not extensions.is_built_in(self.kind, item):
                extensions.load(self.kind, item)  # so that one that cannot be imported is an error here
        if not laws:
            raise ConfigError(name, "at least one law", "none")
        return tuple(dict.fromkeys([law for law in self.built_in if law in laws] + laws))

    @property
    def names_of_laws(self) -> tuple[str, ...]:
        """The laws of this process, and those of other packages."""
        others = (name for name in extensions.names(self.kind) if not extensions.is_built_in(self.kind, name))
        return (*self.built_in, *others)

    def schema(self) -> JsonObject:
        return {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}

    def choices_in_help(self) -> str:
        return f": {', '.join(self.built_in)}; {NO_LAWS}: measure only"

    def spell(self, value: Any) -> str:
        return "all"


class Interval(Kind):
    """Two numbers LO < HI."""

    metavar, many = "Z", True

    def check(self, name: str, value: Any, auto: str) -> tuple[float, float]:
        wanted = f"two finite numbers LO < HI{auto}"
        ends = listed(value)
        if ends is None or len(ends) != 2:
            raise ConfigError(name, wanted, value)
        low, high = map(finite, ends)
        if low is None or high is None or not low < high:
            raise ConfigError(name, wanted, f"{ends[0]} {ends[1]}")
        return low, high

    def schema(self) -> JsonObject:
        return {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}

    def read(self, text: Any) -> Any:
        values = [number(part) for part in text]
        return AUTO if values == [AUTO] else values


class Diagonal(Interval):
    """Positive numbers, one for each parameter."""

    metavar = "X"

    def check(self, name: str, value: Any, auto: str) -> Any:
        entries = listed(value)
        if entries is None:
            raise ConfigError(name, "positive numbers, one for each parameter", value)
        diagonal = [finite(item) for item in entries]
        if not diagonal or any(item is None or item <= 0 for item in diagonal):
            raise ConfigError(name, "positive numbers, one for each parameter", " ".join(str(item) for item in entries))
        return tuple(diagonal)

    def schema(self) -> JsonObject:
        return {"type": "array", "items": POSITIVE.schema(), "minItems": 1}


class Names(Kind):
    """A list of names, each once."""

    many = True

    def check(self, name: str, value: Any, auto: str) -> tuple[str, ...]:
        names = listed(value)
        if names is None or not all(isinstance(item, str) for item in names):
            raise ConfigError(name, "a list of names", value)
        if not names:
            raise ConfigError(name, "at least one name", "none")
        return tuple(dict.fromkeys(names))

    def schema(self) -> JsonObject:
        return {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}

    def read(self, text: Any) -> Any:
        return text


class Options(Kind):
    """NAME = VALUE pairs for a model's builder, sorted by name; none of them is None."""

    metavar, many = "NAME=VALUE", True

    def check(self, name: str, value: Any, auto: str) -> dict[str, bool | int | float | str] | None:
        if not isinstance(value, dict):
            raise ConfigError(name, "a table of NAME = VALUE", value)
        for key, item in value.items():
            if isinstance(item, float) and not math.isfinite(item):
                raise ConfigError(name, "made of finite numbers, words, yes or no", f"{key} = {item}")
            if isinstance(item, int) and abs(item) > LARGEST_OPTION:
                raise ConfigError(name, "made of whole numbers of 64 bits at most", f"{key} = {shown(item)}")
            if not isinstance(key, str) or not isinstance(item, bool | int | float | str):
                raise ConfigError(name, "made of finite numbers, words, yes or no", f"{key} = {item!r}")
        return dict(sorted(value.items())) or None

    def schema(self) -> JsonObject:
        return {"type": "object", "additionalProperties": {"type": ["boolean", "number", "string"]}}

    def read(self, text: Any) -> Any:
        table = {}
        for pair in text:
            name, sign, value = pair.partition("=")
            if not (name and sign and value):
                raise ConfigError("set", "NAME=VALUE pairs", pair)
            table[name] = {"yes": True, "no": False}.get(value, number(value))
        return table


def _quoted(value: Any) -> Any:
    """As it is; a number that came as a word in quotes, without which the error would look like none."""
    return repr(value) if isinstance(value, str) and not isinstance(number(value), str) else value


def number(text: str) -> Any:
    """Text as the number it spells, or as itself: whole numbers of thousands of digits too, which Python does not read.

    >>> number("3"), number("0.5"), number("a"), number("9" * 5000) == "9" * 5000
    (3, 0.5, 'a', True)
    """
    for kind in (int, float):
        try:
            return text if kind is float and text.strip("+-").isdigit() else kind(text)
        except ValueError:
            continue
    return text


def listed(value: Any) -> list[Any] | None:
    """The items of a list, a tuple or the like; None for text, a table, or what has no items.

    >>> listed((1, 2)), listed("ab"), listed({"low": 1, "high": 2}), listed(3)
    ([1, 2], None, None, None)
    """
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        return None
    return list(value)


def plain(value: Any) -> Any:
    """Numbers of NumPy and JAX as Python's, their arrays as lists; anything else as it is.

    >>> import numpy as np
    >>> plain(np.float32(0.5)), plain((np.int64(3), 4))
    (0.5, (3, 4))
    """
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if not (hasattr(value, "dtype") and hasattr(value, "tolist") and hasattr(value, "shape")):
        return value
    return value.tolist()


def finite(value: Any) -> float | None:
    """A finite number as a float; None for anything else.

    >>> finite(3), finite(True), finite(10**400)
    (3.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        real = float(value)
    except OverflowError:  # a whole number beyond the range of floats
        return None
    return real if math.isfinite(real) else None
