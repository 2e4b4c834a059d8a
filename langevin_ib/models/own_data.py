"""The examples of the package's models from a file of the user's, and the losses that these models take."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from langevin_ib.config.extensions import current_directory
from langevin_ib.errors import ConfigError, one_line
from langevin_ib.models.data import Wanted, load_data
from langevin_ib.models.losses import HUBER, LOSSES, Loss, check_labels, huber, loss_of

# Model ↦ keys of its file, lengths by name: those of the figures where a figure has the same data.
WANTED = {
    "uv": Wanted({"x": ("n",), "y": ("n",)}, least={"n": 1}),
    "relu": Wanted({"x": ("n", "d"), "y": ("n",)}, least={"n": 1}),
    "hadamard": Wanted({"A": ("n", "m"), "y": ("n",), "x_true": ("m",)}, ("x_true",), {"n": 1, "m": 1}),
    "attention": Wanted({"x": ("n", "l", "d"), "y": ("n", "l", "c"), "V": ("h", "d", "c")}, ("V",), {"n": 1, "h": 1}),
    "matrix": Wanted({"T_observed": ("n", "p"), "mask": ("n", "p"), "T_true": ("n", "p")}, ("T_true",)),
}
# Options that say what a file says.
DECIDED = {
    "uv": ("samples", "scatter"),
    "relu": ("inputs", "samples", "population", "teacher_scale"),
    "hadamard": ("dim", "operator", "rows"),
    "attention": ("inputs", "length", "samples", "teacher_scale"),
    "matrix": ("rows", "cols", "observed", "noise", "spectrum"),
}


def check_decided(model: str, options: Mapping[str, object]) -> None:
    """Refuse options of a model that its file decides.

    Raises:
        ConfigError: says which.
    """
    for name in DECIDED[model]:
        if name in options:
            raise ConfigError("set", f"made without {name} where data are given, which decide it", options[name])


def read_examples(model: str, path: str, digest: str, loss: Loss) -> dict[str, Float[np.ndarray, "..."]]:
    """The arrays of a model's file, labels checked.

    Args:
        model: its name.
        path: the file.
        digest: of its content, as `load_data`.
        loss: ℓ.

    Raises:
        ConfigError: as `load_data`, or labels are none of the loss's.
    """
    wanted = WANTED[model]
    if model == "attention" and loss.labels == "classes":
        wanted = Wanted({**wanted.keys, "y": ("n", "l")}, wanted.optional, wanted.least)
    arrays = load_data(path, digest, wanted)
    if model == "matrix":
        check_file_labels(loss, arrays["T_observed"][arrays["mask"] == 1], 2)
    elif loss.labels != "classes":  # their number is not known yet
        check_file_labels(loss, arrays["y"], 2)
    return arrays


def check_file_labels(loss: Loss, labels: Float[np.ndarray, "..."], classes: int, more: str = "") -> None:
    """`check_labels` of a file's labels; `more` is said of what is wanted, as how more classes are had.

    Raises:
        ConfigError: of the option `data`.
    """
    try:
        check_labels(loss, labels, classes)
    except ValueError as error:
        wanted, _, got = str(error).removeprefix("y must be made of ").rpartition(", got ")
        raise ConfigError("data", f"an .npz file with labels that are {wanted}{more}", got) from None


def loss_named(name: str, threshold: float = HUBER, *, outputs: int = 1) -> Loss:
    """The loss that an option names: a built-in one, or `module:function` of one prediction and one label.

    Args:
        name: of it.
        threshold: δ of `huber`.
        outputs: of the model for a label: cross-entropy needs more than one.

    Raises:
        ConfigError: of the option `loss`, there is none, or it does not fit.
    """
    known = [each for each in LOSSES if outputs > 1 or LOSSES[each].labels != "classes"]
    if name == "huber":
        return huber(threshold)
    if name in known:
        return loss_of(name)
    module, _, attribute = name.partition(":")
    if not (attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        one = "" if outputs > 1 or name not in LOSSES else " (the model has one output)"
        raise ConfigError("loss", f"one of {', '.join(known)}, or module:function", f"{name}{one}")
    if module.endswith(".py"):
        raise ConfigError(
            "loss", "module:function", f"{name}; of that file it is {module.removesuffix('.py')}:{attribute}"
        )
    try:
        with current_directory():
            function = getattr(importlib.import_module(module), attribute, None)
    except (Exception, SystemExit) as error:  # of a user's module
        raise ConfigError("loss", "in a module that can be imported", f"{name}: {one_line(error)}") from None
    if not (isinstance(function, Loss) or callable(function)):
        raise ConfigError("loss", f"a function or a Loss of {module}", f"{name}, of which there is none")
    return loss_of(function)
