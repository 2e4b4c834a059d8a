"""Checks of a confinement: its record, its energy on uv, and the law that it says it leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinement import Confinement, confinement_kind
from langevin_ib.laws.law import law_kind
from langevin_ib.models import uv
from langevin_ib.testing.breach import hold

T = 0.1


def checks(name: str, **settings: Any) -> dict[str, Callable[[], None]]:
    """Those of the confinement of a name."""
    kind = confinement_kind(name)

    def built() -> Confinement:
        return kind.build(kind.settings(**settings), T)

    def record() -> None:
        held = built().orbit == "held"
        hold(held == kind.settings.held, "its settings say whether chains are held, and what is built says otherwise")
        hold(
            (kind.without_symmetry == "refused") == held, "it has to be refused without a symmetry, if it holds chains"
        )
        hold((kind.slab is not None) == (built().orbit == "free"), "a slab belongs to orbits that go on for ever")
        hold(built().name.strip() and built().formula.strip(), "it has no name or no formula")

    def energy() -> None:
        model, confinement = uv(), built()
        point = model.section({"z": jnp.asarray(0.7)})
        for what, value in (("C", confinement.energy), ("the part that laws keep", confinement.reduced)):
            found = value(model, point)
            hold(jnp.shape(found) == () and np.isfinite(found), f"{what} has to be one finite number, got {found}")
        slope = jax.grad(confinement.potential(model))(jnp.array([1.3, 0.4]))
        hold(np.isfinite(slope).all(), "its gradient is not finite")
        if confinement.orbit == "held":  # its law is that of `held`, whatever C is
            return
        kept = float(confinement.reduced(model, point)) - float(confinement.energy(model, point))
        hold(abs(kept) < 1e-9, f"on the slice C and the part that laws keep differ by {kept:.3g}")

    def limit() -> None:
        hold(law_kind(built().limit(uv())).role == "limit", f"{built().limit(uv())} is no limit")

    def proper() -> None:
        """Where it spreads chains, C rises without bound along the orbit."""
        if built().orbit != "spread":
            return
        model, confinement = uv(), built()
        point = model.section({"z": jnp.asarray(0.7)})
        rise = [float(confinement.energy(model, model.act(jnp.array([t]), point))) for t in (-6.0, 0.0, 6.0)]
        hold(min(rise[0], rise[2]) > rise[1] + 10 * T, "C does not rise along the orbit: no law can be normalised")

    def strengths() -> None:
        """Its gradient is that of ½κ|χ|² + ½λ|θ|² with the constants that it states."""
        assert kind.strengths is not None
        stated = kind.strengths(kind.settings(**settings))
        for model, point in ((uv(), (1.3, 0.4)), (uv(depth=3), (0.8, -1.1, 0.5))):
            x = jnp.array(point)
            own, wanted = (jax.grad(of.energy, argnums=1)(model, x) for of in (built(), stated))
            off = float(jnp.max(jnp.abs(own - wanted)) / (jnp.max(jnp.abs(own)) + 1e-300))
            hold(off < 1e-9, f"the gradient of its energy is not that of {stated}: off by {off:.2g} of it")

    found = {"record": record, "energy": energy, "limit": limit, "proper": proper}
    return found if kind.strengths is None else found | {"strengths": strengths}
