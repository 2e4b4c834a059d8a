"""Inverse design: from a linear operator A of features and a bias on A w to the model in which noise induces it.

>>> design = sparse(operators.gradient(4))
>>> verify(design, features=16).error < 1e-8
True
"""

from langevin_ib.design import operators
from langevin_ib.design.base import Design
from langevin_ib.design.operators import Operator
from langevin_ib.design.sparse import sparse
from langevin_ib.design.spectral import spectral
from langevin_ib.design.verify import Verification, verify

__all__ = ["Design", "Operator", "Verification", "operators", "sparse", "spectral", "verify"]
