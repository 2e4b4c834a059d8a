"""One vector pair (a ∈ R^p, b ∈ R^q) with loss ½(|a||b| − 1)²: its powers of s and Bessel laws, and their neighbours.

    python -m sims.vector_pair

At κ = 100 the slice law s^{(p+q)/2 − 2} is accepted, and the powers a half above and below rejected. At κ = 2, where
finite κ shows, and under weight decay the Bessel laws are accepted, and their neighbours by a half in the power
rejected; so are, under weight decay, those of the neighbouring orders (at κ = 2 and |p − q| = 2 the Bessel law is
itself a power). The window, steps and number of draws are constants below.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinement import Confinement
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble.accumulators import WindowDraw, window_histogram
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.laws import Law, bin_masses
from langevin_ib.laws.pair import decayed_law, power_law, power_of_s, stiff_law
from langevin_ib.models import Model
from langevin_ib.models.base import NEGATIVE, POSITIVE
from langevin_ib.models.pair import PairPoint, balanced, to_chart
from langevin_ib.session import Session
from langevin_ib.statistics import compare

TEMPERATURE = 0.1
EDGES = np.linspace(0.2265, 2.265, 41)
CHAINS, THIN, RECORDS, BURN_IN = 4096, 50, 1600, 20_000
MARGIN = 0.01
SIZES = ((1, 3), (2, 2), (3, 5))
PROTOCOLS = ((stiff(100.0), 1e-3), (stiff(2.0), 5e-3), (weight_decay(0.3), 0.02))  # and the step
TITLE = f"   (p, q)      protocol      {'law':<56}     TV   floor    upper          p  verdict"


def reduced_loss(s):
    """ℓ(s)."""
    return 0.5 * (s - 1.0) ** 2


def modulus(params):
    """s = |a||b|."""
    return jnp.linalg.norm(params["a"]) * jnp.linalg.norm(params["b"])


def pair(p: int, q: int) -> Model:
    """The pair in the chart of `models.pair`; the study itself needs s alone, whose laws are in closed form."""
    frame = np.eye(q)

    def init(key):
        a, b = jax.random.split(key)
        return {"a": _draw_unit_vector(a, p), "b": _draw_unit_vector(b, q)}

    def section(invariants):
        a, b = balanced(PairPoint(invariants["w"], invariants["eta"]), frame)
        return {"a": a, "b": b}

    return Model(
        name=f"pair({p}, {q})",
        group="R_{>0}",
        group_dim=1,
        loss=lambda params: reduced_loss(modulus(params)),
        act=lambda t, params: {"a": params["a"] * jnp.exp(t), "b": params["b"] * jnp.exp(-t)},
        moment_map=lambda params: 0.5 * jnp.stack([jnp.sum(params["a"] ** 2) - jnp.sum(params["b"] ** 2)]),
        invariants=lambda params: to_chart(params["a"], params["b"], frame)._asdict(),
        section=section,
        init=init,
        branches={"w_1": (NEGATIVE, POSITIVE)} if p == 1 else {},  # w = 0 is a wall for p = 1 alone
    )


def _draw_unit_vector(key, n: int):
    x = jax.random.normal(key, (n,))
    return x / jnp.linalg.norm(x)


def sample(p: int, q: int, confinement: Confinement, step: float) -> compare.Histogram:
    """Histogram of s of an ensemble under one protocol."""
    model = pair(p, q)
    potential = confinement.potential(model)
    starts = starting_points(model.init, jax.random.key(1), CHAINS, jnp.float32)
    result = run_ensemble(
        leimkuhler_matthews(potential, jax.tree.map(lambda x: x[0], starts), temperature=TEMPERATURE, step_size=step),
        starts,
        Observer(
            lambda state: WindowDraw(modulus(state.position), jnp.asarray(True)),
            window_histogram(EDGES),
            lambda d: {"s": d.value},
        ),
        key=jax.random.fold_in(jax.random.key(2), 100 * p + q),
        schedule=Schedule(BURN_IN, THIN, RECORDS, (RECORDS,)),
        limit=Limit(step, lambda params: potential(params) > 1e6),
        stage=Stage("pair"),
    )
    return compare.histogram_of(np.asarray(result.segments[0].counts))


def laws(p: int, q: int, confinement: Confinement) -> list[tuple[Law, bool]]:
    """Each law, and whether it is the one that this protocol obeys by the theory."""
    if confinement.strength == PROTOCOLS[0][0].strength:
        power = power_of_s(p, q, 1.0)
        laws = [power_law(reduced_loss, TEMPERATURE, power + shift, "power") for shift in (0.0, -0.5, 0.5)]
        return [(law, i == 0) for i, law in enumerate(laws)]
    decayed = confinement is PROTOCOLS[-1][0]
    bessel_law = decayed_law if decayed else stiff_law
    exact = bessel_law(p, q, reduced_loss, TEMPERATURE, confinement.strength)
    candidates = [(exact, True)] + [(_shift_power(exact, shift), False) for shift in (-0.5, 0.5)]
    if decayed:
        # q ± 2 has the order one higher or lower; the shift takes the power back to what it was.
        for offset in (-2, 2):
            neighbour = bessel_law(p, q + offset, reduced_loss, TEMPERATURE, confinement.strength)
            candidates.append((_shift_power(neighbour, -0.5 * offset), False))
    return candidates


def _shift_power(law: Law, shift: float) -> Law:
    def log_density(s):
        return law.log_density(s) + shift * np.log(s)

    return Law(law.name, law.measure, f"{law.formula} · s^({shift:+g})", log_density)


def main() -> None:
    """Print a table and how many statements of the theory hold."""
    print(TITLE)
    agreeing = total = 0
    with Session().open():
        for p, q in SIZES:
            for confinement, step in PROTOCOLS:
                ensemble = sample(p, q, confinement, step)
                for law, obeyed in laws(p, q, confinement):
                    comparison = compare.against_law(ensemble, bin_masses(law, EDGES), MARGIN)
                    agreeing += comparison.verdict == ("agrees" if obeyed else "differs")
                    total += 1
                    where = f"({p}, {q})  {confinement.name:>12} {confinement.strength:<4g}"
                    print(
                        f"   {where} {law.formula:<56} {comparison.tv:.4f}  {comparison.tv_floor:.4f}  "
                        f"{comparison.tv_upper95:.4f}  {comparison.p_value:9.2g}  {comparison.verdict}",
                        flush=True,
                    )
    print(f"{agreeing} of {total} verdicts are those of the theory (margin {MARGIN:g} in total variation)")


if __name__ == "__main__":
    main()
