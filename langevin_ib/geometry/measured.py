"""What a run that measures only asks of a model: numbers where its chains start, and nothing of a quotient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.background import FAST
from langevin_ib.errors import LangevinIBError, ModelError, one_line
from langevin_ib.geometry.contract import check_names
from langevin_ib.geometry.gram import largest_curvature
from langevin_ib.models.base import Chart, Model, Params
from langevin_ib.models.shapes import check_shapes

POINTS = 8
DENSE = 64  # parameters up to which all eigenvalues of the Hessian are computed
ACCURACY = 1e-2  # of that at an end of the spectrum, of more parameters
FLAT = 1e-6  # of the largest, below which an eigenvalue is none
RESTARTS = 50  # of ARPACK, for the smallest


def check_measured(model: Model, key: Key[Array, ""]) -> None:
    """Shapes, names, and that loss, gradient, scalars and charges are finite at some starts.

    Raises:
        ModelError: one line that says what is not.
    """
    with jax.enable_x64(True):
        try:
            check_shapes(model)
            chart = Chart(model)
            check_names(chart)

            def at(each):
                params = _double(model.init(each))
                slope = ravel_pytree(jax.grad(model.loss)(params))[0]
                numbers = jnp.stack(list(chart.scalars_of(params).values()))
                return model.loss(params), jnp.max(jnp.abs(slope)), numbers, model.moment_map(params)

            drawn = jax.jit(lambda: jax.lax.map(at, jax.random.split(key, POINTS)), compiler_options=FAST)()
            values = dict(zip(("loss", "gradient of the loss", "scalars", "moment_map"), drawn, strict=True))
            for name, value in values.items():
                if not np.isfinite(np.asarray(value)).all():
                    raise ModelError(f"model {model.name}: its {name} is not finite at a start")
        except LangevinIBError:
            raise
        except Exception as error:  # of a user's functions
            raise ModelError(f"model {model.name}: one of its functions fails: {one_line(error)}") from error


def stiffness(potential, points: list[Params]) -> Float[np.ndarray, " n"]:
    """The largest absolute eigenvalue of the Hessian of V at each point, in float64, by products with vectors alone.

    Of up to 64 parameters by all eigenvalues; of more by ARPACK's Lanczos iteration to 1%.
    """
    with jax.enable_x64(True):
        points = [_double(point) for point in points]
        flat, unravel = ravel_pytree(points[0])
        if flat.size <= DENSE:
            dense = jax.jit(lambda point: largest_curvature(potential, point), compiler_options=FAST)
            return np.array([float(dense(point)) for point in points])
        product = _product(potential, unravel)
        start = np.random.default_rng(0).normal(size=flat.size)  # ARPACK's own would be another in each process
        return np.abs([_end(product, np.asarray(ravel_pytree(point)[0]), start, "LM") for point in points])


def softness(potential, point: Params) -> float:
    """The smallest positive eigenvalue of the Hessian of V at a point, in float64; 0 if there is none.

    Those below 1e-6 of the largest count as none: V is flat along them. Of up to 64 parameters by all eigenvalues. Of
    more by the ends of the spectrum alone, so that the largest stands for it where V is flat somewhere.
    """
    with jax.enable_x64(True):
        point = _double(point)
        flat, unravel = ravel_pytree(point)
        if flat.size <= DENSE:
            hessian = jax.jit(jax.hessian(lambda x: potential(unravel(x))), compiler_options=FAST)(flat)
            values = np.linalg.eigvalsh(np.asarray(hessian))
        else:
            product, start = _product(potential, unravel), np.random.default_rng(0).normal(size=flat.size)
            values = np.array([_end(product, np.asarray(flat), start, which) for which in ("SA", "LM")])
    steep = values[values > FLAT * np.nanmax(np.abs(values))]
    return float(steep.min()) if steep.size else 0.0


def _product(potential, unravel):
    """x, v ↦ the Hessian of V at x, times v."""
    slope = jax.grad(lambda x: potential(unravel(x)))
    return jax.jit(lambda x, v: jax.jvp(slope, (x,), (v,))[1], compiler_options=FAST)


def _end(product, x: np.ndarray, start: np.ndarray, which: str) -> float:
    """The smallest eigenvalue (`SA`) or that of the largest size (`LM`); not a number if ARPACK does not get there."""
    hessian = scipy.sparse.linalg.LinearOperator(
        (x.size, x.size), matvec=lambda v: np.asarray(product(x, np.ravel(v))), dtype=np.float64
    )
    more = {"maxiter": RESTARTS} if which == "SA" else {}
    try:
        (value,) = scipy.sparse.linalg.eigsh(
            hessian, k=1, which=which, v0=start, tol=ACCURACY, return_eigenvectors=False, **more
        )  # fmt: skip
    except scipy.sparse.linalg.ArpackNoConvergence:
        if which == "SA":
            return float("nan")
        raise
    return float(value)


def _double(params: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
