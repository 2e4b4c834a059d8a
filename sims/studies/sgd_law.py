"""Law (S) of SGD: where it holds, and how far from it a finite learning rate is.

    python -m sims.sgd_law

1. uv under label noise. Against the Gamma law of shape y/(ηs²) − ½ and scale ηs²: distance, moments; against the
   fitted family at its best temperature. The distance from (S), which is the leading order in η, is fitted as a
   power of η, both at fixed s and at fixed ηs² (then it is always the same law).
2. uv as the slope of a line through 16 points, minibatches of 1 and 4. Against (S) with the S(z) of the data, and
   against wrong ones: S held at its value at the minimum of the loss, and S of the other batch size.
3. The same by epochs, without replacement: the noise of an epoch's steps cancels, and (S) does not apply.
4. Where (S) does not exist: ηs² ≥ 2y.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from langevin_ib import LawError, RunConfig
from langevin_ib.dynamics.noise import Noise
from langevin_ib.laws import Law, bin_masses
from langevin_ib.laws.sgd import Coordinate, label_noise_gamma
from langevin_ib.runs.descent_plan import ResolvedDescent
from langevin_ib.runs.judge import scalar_moments
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.session import Session
from langevin_ib.statistics import compare
from langevin_ib.statistics.sample import Sample
from sims import described

RATES = (0.02, 0.01, 0.005)
STRENGTH = 2.0  # label noise s, at η = 0.01
DATA = {"samples": 16, "scatter": 2.0, "seed": 2}
BATCHES = {1: 0.001, 4: 0.002}  # learning rates at which S(z) and S(z*) are apart by more than the margin


class Row(NamedTuple):
    """One run against the Gamma law: χ² distance √Σ(q − p)²/p freed of noise, and errors of the moments."""

    lr: float
    distance: float
    distance_se: float
    variance_error: float
    variance_se: float


def laws_and_draws(config: RunConfig) -> tuple[ResolvedDescent, Sample]:
    """The laws of a run, and its draws."""
    prepared, draws, _ = prepare_and_draw(config)
    return prepared.own, draws.main


def gamma_row(lr: float, strength: float, chains: int) -> Row:
    """Run uv under label noise and print what the first part promises."""
    config = RunConfig(sampler="sgd", noise="label", lr=lr, label_noise=strength, chains=chains)
    resolved, sample = laws_and_draws(config)
    edges, draws = resolved.edges["z"], sample.histogram("z")
    gamma = label_noise_gamma(1.0, lr, strength)
    mass = np.diff(gamma.cdf(edges)) / np.diff(gamma.cdf(edges[[0, -1]]))
    comparison = compare.against_law(draws, mass, config.margin)
    derived = np.abs(bin_masses(resolved.laws["z"], edges) - mass).max()
    moments = scalar_moments(sample, "z")
    variance = moments.variance / gamma.var() - 1.0
    print(
        f"η = {lr:g}, s = {strength:.4g}: TV to Gamma {comparison.tv:.4f} (95% bounds {comparison.tv_lower95:.4f} to "
        f"{comparison.tv_upper95:.4f}, floor {comparison.tv_floor:.4f}); mean {moments.mean:.5f} "
        f"(Gamma {gamma.mean():.5f}, {moments.mean / gamma.mean() - 1.0:+.3%}); "
        f"variance {moments.variance:.5f} ({gamma.var():.5f}, "
        f"{variance:+.2%} ± {moments.variance_se / gamma.var():.2%}); derived (S) = Gamma to {derived:.0e}"
    )
    print(f"    fitted family at its best T: {fitted(resolved, sample, config)}", flush=True)
    noise = np.diag(draws.covariance)
    square = float(np.sum(((draws.mass - mass) ** 2 - noise) / mass))
    error = 2.0 * float(np.sqrt(np.sum((draws.mass - mass) ** 2 * noise / mass**2)))
    distance = max(square, 0.0) ** 0.5
    return Row(lr, distance, error / (2.0 * max(distance, 1e-9)), variance, moments.variance_se / gamma.var())


def fitted(resolved: ResolvedDescent, sample: Sample, config: RunConfig) -> str:
    """Distances of the fitted laws, each at the temperature that fits the draws best."""
    assert resolved.family is not None
    words = []
    for name, c in (("slice", 1.0), ("hard", 0.0), ("pushforward", -1.0), ("c free", None)):
        fit = resolved.family.fit(sample.energy.mean, sample.statistic.mean, c)
        mass = resolved.family.masses(fit, "z").mass
        comparison = compare.against_law(sample.histogram("z"), mass, config.margin)
        words.append(
            f"{name} (T = {fit.temperature:.4f}, c = {fit.c:.2f}) TV {comparison.tv:.4f}, p = {comparison.p_value:.1g}"
        )
    return "; ".join(words)


def order(rates: np.ndarray, values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Slope of log |value| in log η by weighted least squares, and its standard error."""
    weight = (np.abs(values) / errors) ** 2
    x, y = np.log(rates), np.log(np.abs(values))
    centre = np.sum(weight * x) / weight.sum()
    spread = np.sum(weight * (x - centre) ** 2)
    return float(np.sum(weight * (x - centre) * y) / spread), float(spread**-0.5)


def label_noise(chains: int) -> None:
    """Part 1."""
    for title, strengths in (
        ("fixed s", [STRENGTH] * len(RATES)),
        ("fixed ηs²", [STRENGTH * (0.01 / lr) ** 0.5 for lr in RATES]),
    ):
        print(f"uv, label noise, {title}")
        rows = [gamma_row(lr, s, chains) for lr, s in zip(RATES, strengths, strict=True)]
        rates = np.array([row.lr for row in rows])
        for name, values, errors in (
            ("distance √Σ(q − p)²/p", [row.distance for row in rows], [row.distance_se for row in rows]),
            ("variance", [row.variance_error for row in rows], [row.variance_se for row in rows]),
        ):
            slope, error = order(rates, np.array(values), np.array(errors))
            shown = ", ".join(f"{v:.4f} ± {e:.4f}" for v, e in zip(values, errors, strict=True))
            print(f"  {name}, discrepancy from (S) at η = 0.02, 0.01, 0.005: {shown}: order {slope:.2f} ± {error:.2f}")


def minibatch() -> None:
    """Parts 2 and 3."""
    print("uv through 16 points, minibatches")
    for batch, lr in BATCHES.items():
        config = RunConfig(sampler="sgd", noise="minibatch", options=DATA, batch_size=batch, lr=lr)
        resolved, sample = laws_and_draws(config)
        edges, draws = resolved.edges["z"], sample.histogram("z")
        other = next(size for size in BATCHES if size != batch)
        masses = {
            "(S) with the data's S(z)": bin_masses(resolved.laws["z"], edges),
            "(S) with S held at S(z*)": constant_mass(resolved, edges),
            f"(S) with the S of batch {other}": bin_masses(law_of(resolved, Noise("minibatch", other)), edges),
        }
        for name, mass in masses.items():
            comparison = compare.against_law(draws, mass, config.margin)
            print(
                f"  B = {batch}, η = {lr:g}: {name}: TV {comparison.tv:.4f} (95% bounds {comparison.tv_lower95:.4f} to "
                f"{comparison.tv_upper95:.4f}), p = {comparison.p_value:.1g}: {comparison.verdict}"
            )
        print(f"    fitted family at its best T: {fitted(resolved, sample, config)}", flush=True)
    config = RunConfig(sampler="sgd", noise="minibatch", options=DATA, batch_size=4, lr=BATCHES[4], replacement=False)
    resolved, sample = laws_and_draws(config)
    variance = scalar_moments(sample, "z").variance
    share = variance / resolved.independent["z"]
    print(
        f"  B = 4 by epochs: variance {variance:.3g}, {share:.3f} of that of (S) with replacement: "
        f"{'; '.join(resolved.missing)}"
    )


def law_of(resolved: ResolvedDescent, noise: Noise) -> Law:
    """(S) of the same descent under another noise, on the same window."""
    return coordinate_of(resolved, noise).law(*resolved.edges["z"][[0, -1]])


def coordinate_of(resolved: ResolvedDescent, noise: Noise) -> Coordinate:
    """z of the same descent under another noise."""
    descent = resolved.descent_with(noise)
    return Coordinate(descent, 0, resolved.middle, descent.model.home_of("z"))


def constant_mass(resolved: ResolvedDescent, edges: np.ndarray) -> np.ndarray:
    """Bin masses of z^{−3/2} exp(−∫ℓ'/(ηzS)) with S = S(z*) throughout: a wrong law."""
    task = resolved.descent.model.training.task  # pyright: ignore[reportOptionalMemberAccess]
    square, product = float(np.mean(task["x"] ** 2)), float(np.mean(task["x"] * task["y"]))
    z = float(resolved.middle[0])
    diffusion = float(resolved.descent.process(jnp.asarray(resolved.middle)).diffusion[0, 0])
    strength = diffusion / (4.0 * z**2)  # η S(z*)

    def log_density(x):
        return -1.5 * np.log(x) - (square * x - product * np.log(x)) / strength

    return bin_masses(Law("wrong", "dz", "S = S(z*)", log_density), edges)


def collapse() -> None:
    """Part 4."""
    for lr in (0.4, 0.6):
        try:
            shape = label_noise_gamma(1.0, lr, STRENGTH).args[0]
            print(f"label noise s = 2, η = {lr:g}: Gamma of shape {shape:.3f}")
        except LawError as error:
            print(f"label noise s = 2, η = {lr:g}: {error}")


def main() -> None:
    """Print all four parts."""
    parser = described(__doc__)
    parser.add_argument("--chains", type=int, default=16384, help="chains of the first part")
    chains = parser.parse_args().chains
    with Session().open():
        label_noise(chains)
        minibatch()
        collapse()


if __name__ == "__main__":
    main()
