"""What the kit says of other people's samplers, each right, and each with a planted mistake.

    python -m sims.conformance [--only NAME …] [--json FILE]

blackjax's SGLD and MALA, optax's noisy SGD, NumPyro's HMC, NUTS and BarkerMH, and a hand-written SGLD in NumPy, at
T = 0.1. A row is a sampler, what was planted, and what `langevin_ib.testing.effective_temperature` said of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.infer as infer
import optax

from langevin_ib.devices import load_blackjax
from langevin_ib.testing import EffectiveTemperature, Sampler, effective_temperature
from sims import described

T = 0.1
SMALL = {"chains": 64, "steps": 500}  # of samplers whose step costs many gradients


class Case(NamedTuple):
    """A sampler, what was planted in it, the answer that is wanted, and how much is simulated."""

    name: str
    planted: str
    sampler: Sampler
    passes: bool
    says: str
    size: dict[str, int]


def sgld(variance: float = 1.0, power: float = 1.0) -> Sampler:
    """blackjax's, whose step is x + ε g + √(2ε T) ξ: g = −∇V, ε = h."""
    algorithm = load_blackjax().sgld

    def step(key: Any, x: Any, gradient: Callable, h: float) -> Any:
        # A planted noise at the right drift: the step's temperature, times h where h stands for its root.
        temperature = T * variance * h ** (power - 1)
        return algorithm(lambda x, _: -gradient(x)).step(key, x, None, h, temperature)

    return Sampler(step, backend="jax")


def mala(factor: float = 1.0, by_log_density: bool = False) -> Sampler:
    """blackjax's, on log p = −V/T: its step_size is hT."""
    algorithm = load_blackjax().mala

    def of(loss: Callable, h: float) -> Any:
        return algorithm(lambda x: -loss(x) / (factor * T), h if by_log_density else h * T)

    return Sampler(
        lambda key, state, loss, h: of(loss, h).step(key, state)[0],
        init=lambda key, x, loss, h: of(loss, h).init(x),
        gives="loss",
        backend="jax",
    )


def noisy_sgd(eta: Callable[[float], float]) -> Sampler:
    """optax's, whose gradient has noise of variance η: η = 2T/h gives T."""

    def of(h: float, key: Any = 0) -> Any:
        return optax.noisy_sgd(h, eta=eta(h), gamma=0.0, key=key)

    def step(key: Any, state: Any, gradient: Callable, h: float) -> Any:
        del key  # it keeps its own
        x, memory = state
        updates, memory = of(h).update(gradient(x), memory, x)
        return optax.apply_updates(x, updates), memory

    def init(key: Any, x: Any, gradient: Callable, h: float) -> Any:
        return x, of(h, key).init(x)

    return Sampler(step, init, lambda state: state[0], backend="jax")


def numpyro(make: Callable[..., Any], factor: float = 1.0) -> Sampler:
    """One of NumPyro's kernels on the potential V/T, its step neither adapted nor tuned."""

    def init(key: Any, x: Any, loss: Callable, h: float) -> Any:
        return make(lambda x: loss(x) / (factor * T), h).init(key, 0, x, (), {})

    def step(key: Any, state: Any, loss: Callable, h: float) -> Any:
        kernel = make(lambda x: loss(x) / (factor * T), h)
        kernel.init(key, 0, jnp.zeros_like(state.z), (), {})  # what sets the kernel up
        return kernel.sample(state._replace(rng_key=key), (), {})

    return Sampler(step, init, lambda state: state.z, gives="loss", backend="jax")


def by_hand(noise: Callable[[float], float]) -> Sampler:
    """x − h∇V + noise(h) ξ in NumPy, all chains at once."""

    def step(rng: Any, x: Any, gradient: Callable, h: float) -> Any:
        return x - h * gradient(x) + noise(h) * rng.normal(size=x.shape)

    return Sampler(step, backend="numpy", batched=True)


FIXED = {"adapt_step_size": False, "adapt_mass_matrix": False}


def hmc(potential: Callable, h: float) -> Any:
    """Eight leapfrog steps of size √(2hT): the first is a step of size h."""
    return infer.HMC(potential_fn=potential, step_size=(2 * h * T) ** 0.5, num_steps=8, trajectory_length=None, **FIXED)


def nuts(potential: Callable, h: float) -> Any:
    """The same, as many as it likes up to 2⁴."""
    return infer.NUTS(potential_fn=potential, step_size=(2 * h * T) ** 0.5, max_tree_depth=4, **FIXED)


def barker(potential: Callable, h: float) -> Any:
    """Proposals of size √(2hT)."""
    return infer.BarkerMH(potential_fn=potential, step_size=(2 * h * T) ** 0.5, **FIXED)


def cases() -> list[Case]:
    """All of them."""
    twice, root = "twice the variance", "stands for its root"
    rows = [
        ("blackjax.sgld", "", sgld(), True, "right", {}),
        ("blackjax.sgld", "noise × √2", sgld(2.0), False, twice, {}),
        ("blackjax.sgld", "h for √h", sgld(power=2.0), False, root, {}),
        ("blackjax.mala", "", mala(), True, "right", {}),
        ("blackjax.mala", "−V/2T", mala(2.0), False, "drift is halved", {}),
        ("blackjax.mala", "step h for hT", mala(by_log_density=True), False, "means h/T", {}),
        ("optax.noisy_sgd", "", noisy_sgd(lambda h: 2 * T / h), True, "right", {}),
        ("optax.noisy_sgd", "η = 4T/h", noisy_sgd(lambda h: 4 * T / h), False, twice, {}),
        ("optax.noisy_sgd", "η = 2T", noisy_sgd(lambda h: 2 * T), False, root, {}),
        ("NumPy", "", by_hand(lambda h: (2 * h * T) ** 0.5), True, "right", {}),
        ("NumPy", "√(hT)", by_hand(lambda h: (h * T) ** 0.5), False, "half the variance", {}),
        ("NumPy", "√(2h) T", by_hand(lambda h: (2 * h) ** 0.5 * T), False, "temperature enters twice", {}),
        ("NumPy", "h √(2T)", by_hand(lambda h: h * (2 * T) ** 0.5), False, root, {}),
    ]
    for name, make, size, said in (
        ("HMC", hmc, SMALL, twice),
        ("NUTS", nuts, SMALL, twice),
        ("BarkerMH", barker, {}, "drift is halved"),
    ):
        rows.append((f"numpyro {name}", "", numpyro(make), True, "right", size))
        rows.append((f"numpyro {name}", "V/2T", numpyro(make, 2.0), False, said, size))
    return [Case(*row) for row in rows]


def held(case: Case, answer: EffectiveTemperature) -> bool:
    """Whether the answer is the one that is wanted."""
    return answer.passed == case.passes and case.says in answer.verdict


def summary(case: Case, answer: EffectiveTemperature) -> dict[str, Any]:
    """A row as numbers."""
    clock = answer.time_scale
    return {
        "sampler": case.name,
        "planted": case.planted,
        "temperature": answer.temperature.value,
        "temperature_se": answer.temperature.error,
        "power": answer.power,
        "time_scale": None if clock is None else clock.value,
        "time_scale_se": None if clock is None else clock.error,
        "stable": answer.stable if np.isfinite(answer.stable) else None,
        "passed": answer.passed,
        "as_wanted": held(case, answer),
        "verdict": answer.verdict,
    }


def main() -> None:
    """Print a row for each, and how many answers are those wanted."""
    parser = described(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="samplers whose name has one of these in it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows as numbers")
    given = parser.parse_args()
    rows = []
    for case in cases():
        if given.only and not any(word in case.name for word in given.only):
            continue
        answer = effective_temperature(case.sampler, temperature=T, **case.size)
        rows.append(summary(case, answer))
        mark = "as wanted" if rows[-1]["as_wanted"] else "NOT AS WANTED"
        print(f"{case.name}, {case.planted or 'right'}: {answer.verdict} [{mark}]", flush=True)
    print(f"{sum(row['as_wanted'] for row in rows)} of {len(rows)} answers are those wanted")
    if given.json:
        given.json.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
