"""langevin_ib: which reduced law does noisy training of a symmetric model obey?

>>> from langevin_ib import RunConfig
>>> RunConfig(beta=10).confine
'stiff'

Modules come on first use: `langevin_ib.models.families.matrix` needs no import of its own.
"""

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING, Any

from langevin_ib import forks as forks  # it sees them from here on
from langevin_ib.config.run import RunConfig
from langevin_ib.errors import ConfigError, DivergenceError, LangevinIBError, LawError, ModelError

if TYPE_CHECKING:
    from langevin_ib.distributions import law
    from langevin_ib.dynamics.interoperation import as_blackjax, blackjax_kernel, from_blackjax
    from langevin_ib.geometry.contract import check_model
    from langevin_ib.models.base import Model
    from langevin_ib.runs.own_draws import judge
    from langevin_ib.runs.run import Result, run

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DivergenceError",
    "LangevinIBError",
    "LawError",
    "Model",
    "ModelError",
    "Result",
    "RunConfig",
    "__version__",
    "as_blackjax",
    "blackjax_kernel",
    "check_model",
    "from_blackjax",
    "judge",
    "law",
    "run",
]

# On first use: importing them takes seconds, and the parent of a pool of processes need not.
LATER = {
    "Model": "langevin_ib.models.base",
    "Result": "langevin_ib.runs.run",
    "as_blackjax": "langevin_ib.dynamics.interoperation",
    "blackjax_kernel": "langevin_ib.dynamics.interoperation",
    "check_model": "langevin_ib.geometry.contract",
    "from_blackjax": "langevin_ib.dynamics.interoperation",
    "judge": "langevin_ib.runs.own_draws",
    "law": "langevin_ib.distributions",
    "run": "langevin_ib.runs.run",
}


def __getattr__(name: str) -> Any:
    if name in LATER:
        return getattr(importlib.import_module(LATER[name]), name)
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(module.name for module in pkgutil.iter_modules(__path__))})
