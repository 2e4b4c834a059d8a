"""diffrax: dθ = −∇V dt + √(2T) dW, solved with a constant step; all chains as one equation, or an equation for each."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sims.bench.peers.base import Absent, Job

TREE_TOLERANCE = 0.5  # of a step: no deeper than the steps are long


def load_diffrax() -> Any:
    """The package.

    Raises:
        Absent: it is not installed.
    """
    try:
        return importlib.import_module("diffrax")
    except ImportError:
        raise Absent("not installed (pip install '.[bench]' in the repository)") from None


@dataclass(frozen=True)
class Solved:
    """`diffeqsolve` over `count` steps, from t = 0 each time, on a path of its own.

    Attributes:
        job: of the chains.
        solver: the name of diffrax's solver; of those that want it, the path has a space-time Lévy area.
        tree: whether the path is a virtual Brownian tree, which can be asked twice for the same time, else it is drawn
            as steps come, which is all that a constant step needs.
        together: whether all chains are one equation, with one draw a step.
    """

    job: Job
    solver: str
    tree: bool
    together: bool

    def init(self, starts: Any) -> Any:
        """The starts themselves."""
        return starts

    def position(self, state: Any) -> Any:
        """The state itself."""
        return state

    def many(self, key: Any, state: Any, count: Any) -> Any:
        """`count` steps."""
        if self.together:
            return self._solve(key, state, count, jax.vmap(jax.grad(self.job.potential)))
        keys = jax.random.split(key, jax.tree.leaves(state)[0].shape[0])
        one = partial(self._solve, count=count, gradient=jax.grad(self.job.potential))
        return jax.vmap(one)(keys, state)

    def _solve(self, key: Any, state: Any, count: Any, gradient: Any) -> Any:
        diffrax = load_diffrax()
        amplitude = math.sqrt(2.0 * self.job.temperature)
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
        area = diffrax.BrownianIncrement if self.solver == "Euler" else diffrax.SpaceTimeLevyArea
        # Time in steps, whose numbers are exact in float32: drift and diffusion are those of h t.
        end, h = jnp.asarray(count, jnp.float32), self.job.step_size
        if self.tree:
            path = diffrax.VirtualBrownianTree(0.0, end, tol=TREE_TOLERANCE, shape=shapes, key=key, levy_area=area)
        else:
            path = diffrax.UnsafeBrownianPath(shape=shapes, key=key, levy_area=area)

        def drift(t: Any, y: Any, args: Any) -> Any:
            del t, args
            return jax.tree.map(lambda leaf: -h * leaf, gradient(y))

        def diffusion(t: Any, y: Any, args: Any) -> Any:
            del t, args
            return _times(y, amplitude * math.sqrt(h))

        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path))
        solution = diffrax.diffeqsolve(
            terms, getattr(diffrax, self.solver)(), 0.0, end, 1.0, state, max_steps=None, adjoint=_forward(diffrax)
        )
        return jax.tree.map(lambda leaf: leaf[0], solution.ys)


def _forward(diffrax: Any) -> Any:
    """Nothing is differentiated through the solution; where diffrax has a way to say so, it is said."""
    return getattr(diffrax, "ForwardMode", diffrax.RecursiveCheckpointAdjoint)()


def _times(like: Any, factor: float) -> Any:
    """Multiplication by a number, as the linear operator that a control term asks for."""
    lineax = importlib.import_module("lineax")  # with diffrax
    structure = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
    return lineax.IdentityLinearOperator(structure) * factor
