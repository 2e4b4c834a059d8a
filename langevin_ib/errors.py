"""The faults a user can meet, each one line long: what was wanted, what came, where."""

from __future__ import annotations

import textwrap


class LangevinIBError(Exception):
    """Base of every error that this package raises on purpose.

    >>> issubclass(ConfigError, LangevinIBError)
    True
    """


LONGEST = 60  # digits of a number that are worth showing
FAULT = 200  # characters of an exception's message, where it has several lines


def shown(value: object) -> str:
    """A value in an error; of a number of many digits the first ones.

    >>> shown(10**5000)
    'a whole number of about 5001 digits'
    >>> shown("1" * 5000)
    '11111111… (5000 digits)'
    """
    if isinstance(value, int) and abs(value) >= 10**4000:  # Python refuses to write it out
        return f"a whole number of about {int(value.bit_length() * 0.30103) + 1} digits"
    text = str(value)
    digits = text.lstrip("+-")
    return f"{text[:8]}… ({len(digits)} digits)" if len(digits) > LONGEST and digits.isdigit() else text


class ConfigError(LangevinIBError, ValueError):
    """A setting is wrong: names the option, what was wanted and what came.

    >>> str(ConfigError("beta", "a positive number", -1.0))
    'beta must be a positive number, got -1.0'
    """

    option: str
    wanted: str
    got: object
    origin: str

    def __init__(self, option: str, wanted: str, got: object, origin: str = ""):
        self.option, self.wanted, self.got, self.origin = option, wanted, got, origin
        super().__init__(f"{option} must be {wanted}, got {shown(got)}{origin and f' ({origin})'}")

    def said_of(self, origin: str) -> ConfigError:
        """The same with who set the value, where it was not the user: a file, a rule, a default."""
        return ConfigError(self.option, self.wanted, self.got, origin) if origin else self


class ModelError(LangevinIBError, ValueError):
    """A model breaks its own contract (invariance, section, free action): says which, by how much and where.

    >>> import dataclasses, jax, langevin_ib
    >>> wrong = dataclasses.replace(langevin_ib.models.uv(), loss=lambda p: p[0])
    >>> try:
    ...     langevin_ib.check_model(wrong, jax.random.key(0))
    ... except ModelError as error:
    ...     "loss" in str(error)
    True
    """


class BreachError(LangevinIBError, RuntimeError):
    """A model breaks its contract where chains went, though not where it was looked at before: the run has failed."""


class LawError(LangevinIBError, ValueError):
    """A predicted density cannot be normalised on the window, or its bin masses cannot be computed.

    >>> import langevin_ib
    >>> langevin_ib.law("slice", window="branch")
    Traceback (most recent call last):
        ...
    langevin_ib.errors.LawError: law slice [dσ_S]: it cannot be normalised towards 0; give it a window
    """


class DrawsError(LangevinIBError, ValueError):
    """Draws of one's own that cannot be judged: which file, which name, what was wanted and what came.

    >>> str(DrawsError("theta must have shape (chain, draw, 2), got (400, 2)"))
    'theta must have shape (chain, draw, 2), got (400, 2)'
    """


class ProcessError(LangevinIBError, RuntimeError):
    """This process cannot run anything: it was forked from one in which JAX's threads were at work."""


class DivergenceError(LangevinIBError, RuntimeError):
    """Chains left every reasonable region or became non-finite.

    >>> str(DivergenceError("sampling", 3, 64, 1000, 0.5))
    'sampling: 3 of 64 chains diverged, the first by step 1000 with steps of size 0.5; use a smaller step_size'
    """

    stage: str
    diverged: int
    chains: int
    step: int
    step_size: float

    def __init__(
        self,
        stage: str,
        diverged: int,
        chains: int,
        step: int,
        step_size: float,
        remedy: str = "use a smaller step_size",
        place: str = "",
    ):
        self.stage, self.diverged, self.chains, self.step, self.step_size = stage, diverged, chains, step, step_size
        super().__init__(
            f"{stage}: {diverged} of {chains} chains diverged, the first by step {step}{place and f' ({place})'} "
            f"with steps of size {step_size:.6g}; {remedy}"
        )


def one_line(error: BaseException) -> str:
    """An exception, of a user's code for instance, as one line: its first, and of the next what fits.

    JAX says in the first line that sizes differ, and which ones in the lines below it.

    >>> one_line(ValueError("sizes differ:\\n  * one axis had size 3\\n  * one axis had size 4"))
    'ValueError: sizes differ: * one axis had size 3 * one axis had size 4'
    """
    first, *rest = str(error).strip().splitlines() or [""]
    following = textwrap.shorten(" ".join(rest), max(FAULT - len(first), 1), placeholder=" …")
    return ": ".join(part for part in (type(error).__name__, f"{first} {following}".strip()) if part)


class UsageError(Exception):
    """A command line that cannot be parsed, or an environment that no run can start in."""


class FailedRunError(Exception):
    """A run that ended without its result, for a reason that is one line."""
