"""The contract checks of what goes by a name: run all of them, or one by one as tests of one's own.

Each check is a function that raises where the contract is broken. A name is what the command line takes: that of a
built-in, of an installed package, or `module:attribute`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from langevin_ib.config.extensions import Kind
from langevin_ib.errors import ConfigError, LangevinIBError, one_line
from langevin_ib.geometry import contract
from langevin_ib.models.base import Model
from langevin_ib.models.registry import build_model
from langevin_ib.testing import confinements, kernels, laws, noises
from langevin_ib.testing.breach import ConformanceError


@dataclass(frozen=True)
class Check:
    """One check of one subject; calling it raises a `ConformanceError` where the contract is broken.

    Attributes:
        kind: of the subject.
        subject: its name.
        name: of the check.
        run: what it does.
        reason: why it is expected to fail; empty where it is not.
    """

    kind: str
    subject: str
    name: str
    run: Callable[[], None] = field(repr=False, compare=False)
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.name}"

    def __call__(self) -> None:
        """Run it; one that is expected to fail and does not is a fault too."""
        try:
            with jax.enable_x64(True):
                self.run()
        except Exception as error:
            if self.reason:
                return
            said = str(error) if isinstance(error, ConformanceError) else one_line(error)
            raise ConformanceError(f"{self}: {said}") from error
        if self.reason:
            raise ConformanceError(f"{self}: was expected to fail ({self.reason}), and passes")


def _of_model(subject: Any, **settings: Any) -> dict[str, Callable[[], None]]:
    def keeps_its_contract() -> None:
        model = subject if isinstance(subject, Model) else build_model(subject, settings)
        contract.check_model(model, jax.random.key(0))

    return {"contract": keeps_its_contract}


OF: dict[str, Callable[..., dict[str, Callable[[], None]]]] = {
    "model": _of_model,
    "confinement": confinements.checks,
    "kernel": kernels.checks,
    "law": laws.checks,
    "noise": noises.checks,
}


def checks_of(
    kind: Kind, subject: str | Model, expected_failures: Mapping[str, str] | None = None, **settings: Any
) -> list[Check]:
    """All checks of one subject, in order.

    Args:
        kind: `model`, `confinement`, `kernel`, `law` or `noise`.
        subject: its name; a model may be given itself.
        expected_failures: name of a check ↦ why it is expected to fail.
        settings: of a confinement, a kernel or a noise its own; of a law those of the run that it is a law of; of a
            model its options.

    Raises:
        ConfigError: there is no such kind or name, or no such check.

    >>> [check.name for check in checks_of("law", "slice")]
    ['record', 'normalised', 'mass', 'sampling', 'limits']
    """
    if kind not in OF:
        raise ConfigError("kind", f"one of {', '.join(OF)}", kind)
    runs, expected = OF[kind](subject, **settings), dict(expected_failures or {})
    for name, reason in expected.items():
        if name not in runs:
            raise ConfigError("expected_failures", f"checks among {', '.join(runs)}", name)
        if not reason.strip():
            raise ConfigError("expected_failures", f"a reason for {name}", repr(reason))
    title = subject.name if isinstance(subject, Model) else subject
    return [Check(kind, title, name, run, expected.get(name, "")) for name, run in runs.items()]


def _all(kind: Kind, subject: str | Model, expected_failures: Mapping[str, str] | None, settings: Any) -> None:
    faults = []
    for check in checks_of(kind, subject, expected_failures, **settings):
        try:
            check()
        except LangevinIBError as error:
            faults.append(str(error))
    if faults:
        raise ConformanceError("; ".join(faults))


def check_model(model: str | Model, *, expected_failures: Mapping[str, str] | None = None, **options: Any) -> None:
    """Every check of a model: `langevin_ib.check_model`, by name or itself.

    Raises:
        ConformanceError: one line for all that is broken.

    >>> check_model("uv", depth=3)
    """
    _all("model", model, expected_failures, options)


def check_confinement(name: str, *, expected_failures: Mapping[str, str] | None = None, **settings: Any) -> None:
    """Every check of a confinement: its record, C(θ) and its part in laws, and that its draws are of the law it names.

    Raises:
        ConformanceError: one line for all that is broken.

    >>> check_confinement("stiff", kappa=10.0)
    """
    _all("confinement", name, expected_failures, settings)


def check_kernel(name: str, *, expected_failures: Mapping[str, str] | None = None, **settings: Any) -> None:
    """Every check of a kernel: shapes, purity, independence of chains, both precisions, T = 0, E[φ(θ′) | state], the
    temperature and the order of its bias, its bound hΛ, and of an adjusted one that its law stays.

    Raises:
        ConformanceError: one line for all that is broken.
    """
    _all("kernel", name, expected_failures, settings)


def check_law(name: str, *, expected_failures: Mapping[str, str] | None = None, **settings: Any) -> None:
    """Every check of a law: normalised, mass the derivative of the distribution function, draws of its own density.

    Raises:
        ConformanceError: one line for all that is broken.
    """
    _all("law", name, expected_failures, settings)


def check_noise(name: str, *, expected_failures: Mapping[str, str] | None = None, **settings: Any) -> None:
    """Every check of a noise: mean and covariance of its gradients, and its cumulants if it states them.

    Raises:
        ConformanceError: one line for all that is broken.
    """
    _all("noise", name, expected_failures, settings)


def parametrize_with_checks(
    *subjects: tuple[Kind, str | Model] | Check, expected_failures: Mapping[str, str] | None = None
) -> Callable[[Callable], Callable]:
    """A test of pytest, once for every check of every subject: one line over `def test_contract(check): check()`.

    Args:
        subjects: pairs (kind, name); or checks, from `checks_of`, where they need settings.
        expected_failures: check ↦ why it is expected to fail, for all subjects that have it. Such a test is shown as
            an expected failure, and fails where the check passes.

    Raises:
        ConfigError: there is no such kind, name or check.
    """
    import pytest  # noqa: PLC0415 - only who decorates a test needs it

    marked, used = [], set()
    for subject in subjects:
        found = [subject] if isinstance(subject, Check) else checks_of(*subject)
        for check in found:
            reason = (expected_failures or {}).get(check.name, check.reason)
            used.add(check.name)
            plain = Check(check.kind, check.subject, check.name, check.run)
            marks = [pytest.mark.xfail(strict=True, raises=ConformanceError, reason=reason)] if reason else []
            marked.append(pytest.param(plain, id=str(check), marks=marks))
    for name in expected_failures or {}:
        if name not in used:
            raise ConfigError("expected_failures", f"checks among {', '.join(sorted(used))}", name)
    return pytest.mark.parametrize("check", marked)
