"""langevin_ib: which reduced law does noisy training of a symmetric model obey?

>>> from langevin_ib import RunConfig
>>> RunConfig(beta=10).confine
'stiff'
"""

from typing import TYPE_CHECKING, Any

from langevin_ib.config import RunConfig
from langevin_ib.errors import ConfigError, DivergenceError, LangevinIBError, LawError, ModelError

if TYPE_CHECKING:
    from langevin_ib.experiment import RunResult, run

__all__ = [
    "ConfigError",
    "DivergenceError",
    "LangevinIBError",
    "LawError",
    "ModelError",
    "RunConfig",
    "RunResult",
    "run",
]


def __getattr__(name: str) -> Any:
    # On first use: importing them starts JAX's backend, and the command line sets the number of devices before that.
    if name in ("RunResult", "run"):
        from langevin_ib import experiment  # noqa: PLC0415

        return getattr(experiment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
