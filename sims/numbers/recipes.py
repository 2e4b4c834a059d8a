"""What each result file keeps of the command that makes it: `docs/results/recipes.toml`, and the making."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from langevin_ib.errors import FailedRunError, UsageError
from sims.numbers import stored
from sims.numbers.stored import RESULTS, Number, Stored

RECIPES = RESULTS / "recipes.toml"


class Recipe(NamedTuple):
    """A command and the numbers that are kept of it.

    Attributes:
        command: as it is typed.
        values: by name, where they stand in `summary.json`.
        output: whether the lines that it prints are kept.
        seed: of the command.
    """

    command: str
    values: dict[str, Number]
    output: bool = False
    seed: int = 0


def read_recipes(path: Path = RECIPES) -> dict[str, Recipe]:
    """All recipes, by the key of their file.

    A value is `"AT"`, or `{at = "AT", error = "AT"}`, or `{at = "AT", bounds = ["AT", "AT"]}`, each AT a JSON pointer.

    Raises:
        UsageError: it is no list of recipes.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {
            key: Recipe(
                table["command"],
                {name: _where(value) for name, value in table["values"].items()},
                table.get("output", False),
                table.get("seed", 0),
            )
            for key, table in tables.items()
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path.name} is no list of recipes: {error!r}") from error


def _where(value: Any) -> Number:
    """Where a number stands, as a recipe says it."""
    if isinstance(value, str):
        return Number(None, at=value)
    low, high = value.get("bounds", (None, None))
    return Number(None, at=value["at"], error_at=value.get("error", ""), bounds_at=(low, high) if low else None)


def make(recipe: Recipe) -> Stored:
    """Run its command.

    Raises:
        FailedRunError: the command failed.
        UsageError: a number is not where the recipe says.
    """
    outcome = stored.run(recipe.command)
    if outcome.code or outcome.summary is None:
        raise FailedRunError(f"{recipe.command} ended with {outcome.code}: {outcome.error or 'no summary.json'}")
    values = {name: stored.measured(outcome.summary, where) for name, where in recipe.values.items()}
    return Stored(recipe.command, recipe.seed, values, outcome.output if recipe.output else ())


def recipe_of(key: str, folder: Path = RESULTS) -> Recipe:
    """The recipe of a key: that of the list, else what its file says.

    Raises:
        UsageError: neither has it.
    """
    listed = read_recipes(folder / RECIPES.name)
    if key in listed:
        return listed[key]
    old = stored.read(key, folder)
    return Recipe(old.command, old.values, bool(old.output), old.seed)


def compared(old: Stored, new: Stored) -> list[str]:
    """A line for each number that is another one now, beyond the error bars."""
    lines = []
    for name, number in old.values.items():
        if name not in new.values:
            lines.append(f"{name}: no longer there")
        elif not number.agrees(new.values[name]):
            lines.append(f"{name}: {stored.shown(number)}, now {stored.shown(new.values[name])}")
    return lines
