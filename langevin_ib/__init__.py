"""langevin_ib: which reduced law does noisy training of a symmetric model obey?

>>> from langevin_ib import RunConfig
>>> RunConfig(beta=10).confine
'stiff'
"""

from langevin_ib.config import RunConfig
from langevin_ib.errors import ConfigError, DivergenceError, LangevinIBError, LawError, ModelError
from langevin_ib.experiment import RunResult, run

__all__ = ["ConfigError", "DivergenceError", "LangevinIBError", "LawError", "ModelError", "RunConfig", "RunResult", "run"]
