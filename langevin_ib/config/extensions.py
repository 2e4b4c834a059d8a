"""What a run can be made of, by name: built-in files, installed packages' entry points, and `module:attribute`.

Six kinds of thing can be chosen by name. A built-in one is a file in its kind's folder, and adding the file is all that
adding it takes; an installed package adds one by an entry point of the group `langevin_ib.KIND`; any importable one
goes by `module:attribute`. Names and one-line summaries are read from folders, metadata and the first line of a file,
so that a command line can list and explain them all without importing JAX.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langevin_ib.errors import ConfigError, LangevinIBError, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Kind = Literal["model", "confinement", "noise", "kernel", "law", "process"]

# Where the built-in ones lie, and what a file calls its record: a model's builder is named like its file.
FOLDERS: dict[str, str] = {
    "model": "models/families",
    "confinement": "dynamics/confinements",
    "noise": "dynamics/noises",
    "kernel": "dynamics/kernels",
    "law": "laws/named",
    "process": "runs/processes",
}
# The setting that chooses one, and what stands behind the colon of one's own, for errors.
SETTING: dict[str, str] = {
    "model": "model",
    "confinement": "confine",
    "noise": "noise",
    "kernel": "integrator",
    "law": "laws",
    "process": "sampler",
}
PACKAGE = Path(__file__).parents[1]


def names(kind: Kind) -> tuple[str, ...]:
    """What can be chosen: the built-in ones, then those of installed packages, each in alphabetical order.

    >>> {"relu", "uv"} <= set(names("model"))
    True
    """
    built_in = _built_in(kind)
    return (*built_in, *sorted(name for name in _installed(kind) if name not in built_in))


def is_built_in(kind: Kind, name: str) -> bool:
    """Whether a name is one of the package's own."""
    return name in _built_in(kind)


def summary(kind: Kind, name: str) -> str:
    """The first line of the file that defines it, which is not imported; empty if there is none to read.

    >>> summary("model", "uv").endswith(".")
    True
    """
    if name in _built_in(kind):
        return _first_line(PACKAGE / FOLDERS[kind] / f"{_stem(name)}.py")
    module = _installed(kind)[name].module if name in _installed(kind) else name.partition(":")[0]
    top, *rest = module.split(".")
    with current_directory():
        try:
            found = find_spec(top)  # of a package itself: of a module in it, this would import the package
        except (ImportError, ValueError):
            return ""
    if found is None or found.origin is None:
        return ""
    place = Path(found.origin) if not rest else Path(found.origin).parent.joinpath(*rest)
    for file in (place, place.with_suffix(".py"), place / "__init__.py"):
        if file.suffix == ".py" and file.is_file():  # a compiled module has no first line
            return _first_line(file)
    return ""


def load(kind: Kind, name: str) -> Any:
    """The record of a name, imported now.

    Raises:
        ConfigError: there is none, or its module cannot be imported.
    """
    if name in _built_in(kind):
        folder = FOLDERS[kind].replace("/", ".")
        module = importlib.import_module(f"langevin_ib.{folder}.{_stem(name)}")
        return getattr(module, _stem(name) if kind == "model" else kind.upper())
    installed = _installed(kind)
    if name not in installed and ":" not in name:
        raise unknown(kind, name)
    if kind == "noise" and (file := Path(name.rpartition(":")[0])).suffix == ".py" and file.is_file():
        return _of_path(kind, name, file.resolve())
    module, _, attribute = (installed[name].value if name in installed else name).partition(":")
    return _imported(kind, name, module.strip(), attribute.strip())


def of_others(chosen: Iterable[tuple[Kind, Any]]) -> list[str]:
    """Which of some choices are not the package's own, in words: `model mine:ring`.

    >>> of_others([("kernel", "mala"), ("law", "mine:HALF"), ("noise", None)])
    ['law mine:HALF']
    """
    return [f"{kind} {name}" for kind, name in chosen if isinstance(name, str) and not is_built_in(kind, name)]


def unknown(kind: Kind, name: str) -> ConfigError:
    """The error of a name that nothing goes by."""
    return ConfigError(
        SETTING[kind], f"one of {', '.join(names(kind))}, or {_spelt(kind)}", repr(name) + _of_file(kind, name)
    )


def is_known(kind: Kind, name: str) -> bool:
    """Whether a name can be chosen, as far as can be told without importing it."""
    return name in names(kind) or (":" in name and "@" not in name)


def _of_path(kind: Kind, name: str, file: Path) -> Any:
    """What goes by a file and an attribute of it, the file run as a module of its own, once."""
    setting, attribute = SETTING[kind], name.rpartition(":")[2]
    module = sys.modules.get(f"langevin_ib file {file}")
    if module is None:
        spec = spec_from_file_location(f"langevin_ib file {file}", file)
        if spec is None or spec.loader is None:
            raise ConfigError(setting, "in a file of Python", name)
        module = sys.modules[spec.name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # of a user's file
            del sys.modules[spec.name]
            if isinstance(error, LangevinIBError):
                raise
            raise ConfigError(setting, "in a file that can be run", f"{name}: {one_line(error)}") from None
    if (record := getattr(module, attribute, None)) is None:
        raise ConfigError(setting, f"an attribute of the file {file.name}", f"{name}, of which there is none")
    return record


def _imported(kind: Kind, name: str, module: str, attribute: str) -> Any:
    setting = SETTING[kind]
    if not (all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()):
        raise ConfigError(setting, _spelt(kind), repr(name) + _of_file(kind, name))
    try:
        with current_directory():
            record = getattr(importlib.import_module(module), attribute, None)
    except LangevinIBError:
        raise
    except (Exception, SystemExit) as error:  # of a user's module
        hint = _of_file(kind, name) if isinstance(error, ModuleNotFoundError) else ""
        if hint:
            raise ConfigError(setting, _spelt(kind), repr(name) + hint) from None
        raise ConfigError(setting, "in a module that can be imported", f"{name}: {one_line(error)}") from None
    if record is None:
        raise ConfigError(setting, f"{_spelt(kind, of=True)} {module}", f"{name}, of which there is none")
    return record


@contextmanager
def current_directory() -> Iterator[None]:
    """The current directory on the import path, as `python -m` has it and an installed command has not."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


@cache
def _built_in(kind: Kind) -> tuple[str, ...]:
    files = (PACKAGE / FOLDERS[kind]).glob("[!_]*.py")
    return tuple(sorted(file.stem.replace("_", "-") for file in files))


@cache
def _installed(kind: Kind) -> dict[str, EntryPoint]:
    # Of two installations of one package, the first on the path counts.
    return {point.name: point for point in reversed(_entry_points()) if point.group == f"langevin_ib.{kind}"}


@cache
def _entry_points() -> tuple[EntryPoint, ...]:
    """Those of this package's groups: one scan of what is installed serves all kinds."""
    from importlib.metadata import distributions  # noqa: PLC0415 - slow, and most runs choose no third party's

    return tuple(point for package in distributions() for point in package.entry_points if _is_ours(point))


def _is_ours(point: EntryPoint) -> bool:
    return point.group.startswith("langevin_ib.")


def _spelt(kind: Kind, of: bool = False) -> str:
    """How one's own is named; with `of`, what is missing in a module that has none of that name."""
    what = "function" if kind == "model" else "attribute"
    if of:
        return f"{'a' if kind == 'model' else 'an'} {what} of module"
    return f"module:{what}"


def _of_file(kind: Kind, name: str) -> str:
    """What goes by the name of a file, as the end of an error: its module, with the folder that it is found from.

    >>> _of_file("model", "../mine/cubic.py:model")
    '; of that file it is cubic:model, from the folder ../mine'
    >>> _of_file("model", "ratio.py"), _of_file("model", "ratio")
    ('; of that file it is ratio:FUNCTION', '')
    """
    place, _, attribute = name.partition(":")
    file = Path(place)
    if file.suffix != ".py" or not file.stem.isidentifier():
        return ""
    folder = "" if file.parent == Path() else f", from the folder {file.parent}"
    return f"; of that file it is {file.stem}:{attribute or _spelt(kind).partition(':')[2].upper()}{folder}"


def _stem(name: str) -> str:
    return name.replace("-", "_")


def _first_line(file: Path) -> str:
    # Not by `ast`, which takes milliseconds for each of the thirty files that `--help` lists.
    text = file.read_text(encoding="utf-8", errors="replace")  # of any package: a help is worth more than a letter
    found = re.match(r'(?:\s|#.*)*[rRuU]?"""(.*?)(?:"""|$)', text, re.MULTILINE)
    return found[1].strip() if found else ""
