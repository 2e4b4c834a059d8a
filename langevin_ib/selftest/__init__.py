"""What has to be right on the machine at hand before its numbers mean anything: a dozen checks in a minute.

    python -m langevin_ib.selftest

Each check is a figure between two limits. Where draws decide, a sound package fails one check in 10⁴ of keys; keys are
fixed, so that it fails on no machine, or on all with these versions.
"""

from langevin_ib.selftest.checks import CHECKS, selftest
from langevin_ib.selftest.outcome import Outcome

__all__ = ["CHECKS", "Outcome", "selftest"]
