"""boost: s = x² − y² under hyperbolic rotations of the plane, trained as the slope of a line."""

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.models import Model, Training
from langevin_ib.models.training import data_risk, no_penalty


def boost(target: float = 1.0, samples: int = 8) -> Model:
    """ℓ(s) = mean_i ½(s a_i − target a_i)² for fixed a_i of mean square one; uv in coordinates turned by 45°.

    The action of SO(1, 1) is by exp(tA), A = [[0, 1], [1, 0]]; its moment map is χ = ½ θᵀAθ = xy, with ∇χ = ξ. On the
    slice y = 0, det G = s and dσ_S = ds/2√s, so that the law c is exp(−ℓ/T) s^(−(1 + c)/2) ds.

    Args:
        target: of s, positive.
        samples: n, examples of the data set.
    """
    inputs = np.linspace(0.5, 1.5, samples)
    inputs = inputs / np.sqrt(np.mean(inputs**2))
    task = {"x": inputs, "y": target * inputs, "weight": 1.0}

    def slope(params):
        return params[0] ** 2 - params[1] ** 2

    def act(t, params):
        cosh, sinh = jnp.cosh(t[0]), jnp.sinh(t[0])
        return jnp.stack([cosh * params[0] + sinh * params[1], sinh * params[0] + cosh * params[1]])

    def predict(params, x):
        return x * slope(params)

    return Model(
        name="boost",
        group="SO(1, 1), hyperbolic rotations of the plane",
        group_dim=1,
        loss=lambda params: 0.5 * (slope(params) - target) ** 2,
        act=act,
        moment_map=lambda params: (params[0] * params[1])[None],
        invariants=lambda params: {"s": slope(params)},
        section=lambda z: jnp.stack([jnp.sqrt(z["s"]), jnp.zeros_like(z["s"])]),
        init=lambda key: jnp.array([1.0, 0.0]) + 0.3 * jax.random.truncated_normal(key, -2.0, 2.0, (2,)),
        branches={"s": ((0.0, jnp.inf),)},
        cut=("s",),
        training=Training(predict=predict, task=task, risk=data_risk(predict, no_penalty), penalty=no_penalty),
    )
