"""What the kit says of other people's samplers, each right, and each with a planted mistake.

    python -m sims.conformance [--only NAME …] [--store]

prints a line for each, and a table; `--store` writes `docs/results/conformance.json`, and the table into
`docs/testing.md`, between its marks.

blackjax's SGLD and MALA, optax's noisy SGD, NumPyro's HMC, NUTS and BarkerMH, and a hand-written SGLD in NumPy, at
T = 0.1. A row is a sampler, what was planted, and what `langevin_ib.testing.effective_temperature` said of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from numpyro import infer

from langevin_ib.devices import load_blackjax
from langevin_ib.files import write_whole
from langevin_ib.testing import EffectiveTemperature, Sampler, effective_temperature
from langevin_ib.testing.temperature import plus_minus
from sims import described
from sims.numbers.stored import RESULTS, ROOT, Number, Stored

T = 0.1
USUAL = {"chains": 256, "steps": 1500}  # so that all of it is minutes
PAGE = ROOT / "docs" / "testing.md"
MARKS = "<!-- table: conformance -->", "<!-- end of table -->"
HEAD = (
    "| sampler | planted | T̂ (where T goes as h: at h) | time scale | it says |",
    "|---|---|---|---|---|",
)
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


def mala(factor: float = 1.0, faster: float = 1.0) -> Sampler:
    """blackjax's, on log p = −V/T: its step_size is hT."""
    algorithm = load_blackjax().mala

    def of(loss: Callable, h: float) -> Any:
        return algorithm(lambda x: -loss(x) / (factor * T), faster * h * T)

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
    """About eight leapfrog steps of size √(2hT): the first is a step of size h."""
    step = (2 * h * T) ** 0.5
    return infer.HMC(potential_fn=potential, step_size=step, trajectory_length=8 * step, **FIXED)


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
        ("blackjax.sgld", "", sgld(), True, "right", USUAL),
        ("blackjax.sgld", "noise × √2", sgld(2.0), False, twice, USUAL),
        ("blackjax.sgld", "h for √h", sgld(power=2.0), False, root, USUAL),
        ("blackjax.mala", "", mala(), True, "right", USUAL),
        ("blackjax.mala", "−V/2T", mala(2.0), False, "drift is halved", USUAL),
        ("blackjax.mala", "step 2hT for hT", mala(faster=2.0), False, "means 2h", USUAL),
        ("optax.noisy_sgd", "", noisy_sgd(lambda h: 2 * T / h), True, "right", USUAL),
        ("optax.noisy_sgd", "η = 4T/h", noisy_sgd(lambda h: 4 * T / h), False, twice, USUAL),
        ("optax.noisy_sgd", "η = 2T", noisy_sgd(lambda h: 2 * T), False, root, USUAL),
        ("NumPy", "", by_hand(lambda h: (2 * h * T) ** 0.5), True, "right", USUAL),
        ("NumPy", "√(hT)", by_hand(lambda h: (h * T) ** 0.5), False, "half the variance", USUAL),
        ("NumPy", "√(2h) T", by_hand(lambda h: (2 * h) ** 0.5 * T), False, "temperature enters twice", USUAL),
        ("NumPy", "h √(2T)", by_hand(lambda h: h * (2 * T) ** 0.5), False, root, USUAL),
    ]
    for name, make, size, said in (
        ("HMC", hmc, SMALL, twice),
        ("NUTS", nuts, SMALL, twice),
        ("BarkerMH", barker, USUAL, "drift is halved"),
    ):
        rows.append((f"numpyro {name}", "", numpyro(make), True, "right", size))
        rows.append((f"numpyro {name}", "V/2T", numpyro(make, 2.0), False, said, size))
    return [Case(*row) for row in rows]


def held(case: Case, answer: EffectiveTemperature) -> bool:
    """Whether the answer is the one that is wanted."""
    return answer.passed == case.passes and case.says in answer.verdict


def numbers(case: Case, answer: EffectiveTemperature) -> dict[str, Number]:
    """T and the time scale, by a name for the row."""
    key = f"{case.name}_{case.planted or 'right'}".lower()
    key = re.sub(r"[^a-z0-9]+", "_", key.replace("√", "root_").replace("η", "eta")).strip("_")
    found = {f"{key}_temperature": Number(*answer.temperature)}
    if answer.time_scale is not None:
        found[f"{key}_time"] = Number(*answer.time_scale)
    return found


def said(answer: EffectiveTemperature) -> str:
    """What the verdict says of T where that is wrong, else of the time scale, word for word."""
    if answer.passed:
        return "right"
    first, second = answer.verdict.split(". ")[:2]
    words = re.sub(r"^T .*?for the claimed [\d.]+(, [\d.]+ times as much)?: ", "", first)
    return words if words != "right" else second.partition("the right rate: ")[2]


def row(case: Case, answer: EffectiveTemperature) -> str:
    """A line of the table, its numbers with the marks of `sims.numbers`."""
    cells = [
        f"{plus_minus(number.value, number.error)} <!-- number: conformance.{name} -->"
        for name, number in numbers(case, answer).items()
        if number.value is not None and number.error is not None
    ]
    cells += ["–"] * (2 - len(cells))
    return f"| {' | '.join([case.name, case.planted or '–', *cells, said(answer)])} |"


def with_table(page: str, table: list[str]) -> str:
    """A page with another table between its marks.

    >>> with_table(f"before {MARKS[0]} old {MARKS[1]} after", ["| a |"]).split()[-2:]
    ['-->', 'after']
    """
    before, rest = page.split(MARKS[0])
    return "\n".join([before + MARKS[0], "", *table, "", MARKS[1] + rest.split(MARKS[1])[1]])


def main() -> None:
    """Print a row for each, and how many answers are those wanted."""
    parser = described(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="samplers whose name has one of these in it")
    parser.add_argument(
        "--store", action="store_true", help="write docs/results/conformance.json and the table of docs/testing.md"
    )
    given = parser.parse_args()
    if given.only and given.store:
        parser.error("--store takes all samplers, got --only")
    values, wanted, total = {}, 0, 0
    table: list[str] = [*HEAD]
    for case in cases():
        if given.only and not any(word in case.name for word in given.only):
            continue
        answer = effective_temperature(case.sampler, temperature=T, **case.size)
        mark = "as wanted" if held(case, answer) else "NOT AS WANTED"
        wanted, total = wanted + held(case, answer), total + 1
        print(f"{case.name}, {case.planted or 'right'}: {answer.verdict} [{mark}]", flush=True)
        values |= numbers(case, answer)
        table.append(row(case, answer))
    print(*table, sep="\n")
    print(f"{wanted} of {total} answers are those wanted")
    if given.store:
        values |= {"wanted": Number(wanted), "total": Number(total)}
        Stored("python -m sims.conformance", 0, values, more={"table": table}).write(RESULTS / "conformance.json")
        write_whole(PAGE, with_table(PAGE.read_text(encoding="utf-8"), table).encode())


if __name__ == "__main__":
    main()
