"""Import the package with one function changed: the module's source is compiled anew, with a text replaced in it."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """One change of one function.

    Attributes:
        name: of the fault.
        module: in which the function is.
        function: its name, `Class.method` for a method.
        old, new: what is replaced, and by what; `old` stands exactly once in the function.
        runs: the names of main runs that may show it, the likeliest first.
        unseen: why no run can see it; empty for a fault that a run sees.
    """

    name: str
    module: str
    function: str
    old: str
    new: str
    runs: tuple[str, ...]
    unseen: str = ""

    @property
    def path(self) -> Path:
        """Of the module's source."""
        return ROOT.joinpath(*self.module.split(".")).with_suffix(".py")

    def planted(self, source: str) -> str:
        """The module's source with the fault in it.

        Raises:
            ValueError: there is no such function, or the text does not stand in it exactly once.
        """
        first, last = lines_of(source, self.function)
        lines = source.splitlines(keepends=True)
        body = "".join(lines[first:last])
        if body.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {body.count(self.old)} times in {self.function}")
        return "".join([*lines[:first], body.replace(self.old, self.new), *lines[last:]])


def lines_of(source: str, function: str) -> tuple[int, int]:
    """The lines of a function or method, first to one behind the last, counted from 0.

    Raises:
        ValueError: there is none of that name.

    >>> lines_of("x = 1\\nclass A:\\n    def f(self):\\n        return 2\\n", "A.f")
    (2, 4)
    """
    node: ast.AST = ast.parse(source)
    for name in function.split("."):
        inside = [
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and child.name == name
        ]
        if len(inside) != 1:
            raise ValueError(f"{function}: there are {len(inside)} of {name}")
        (node,) = inside
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    assert node.end_lineno is not None
    return node.lineno - 1, node.end_lineno


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the changed source; nothing of it is kept in a cache."""

    def __init__(self, fault: Fault):
        super().__init__(fault.module, str(fault.path))
        self._fault = fault

    def get_code(self, fullname: str) -> CodeType:
        source = self._fault.planted(self._fault.path.read_text(encoding="utf-8"))
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder:
    def __init__(self, fault: Fault):
        self._fault = fault

    def find_spec(self, fullname: str, path: object = None, target: object = None):
        del path, target
        if fullname != self._fault.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self._fault.path, loader=_Loader(self._fault))


def plant(fault: Fault) -> None:
    """From here on, importing the module gives the one with the fault.

    Raises:
        RuntimeError: it has been imported already.
    """
    if fault.module in sys.modules:
        raise RuntimeError(f"{fault.module} is imported already: a fault has to be planted before")
    sys.meta_path.insert(0, _Finder(fault))
