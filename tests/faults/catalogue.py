"""The main runs, each as small as it can be and see its faults, and the faults that are planted.

Some were set after a miss, and the page says so (docs/trust.md, "How the runs were chosen"): hadamard's κ 100, then 10,
then 1, as weights between laws are nearly constant where it is stiff; label's 500 chains, then 800, as blocks share
keys only where there are two; the limit of float32-sums 1e-7, then 1e-8 (`ROUNDED_SUM` of langevin_ib.runs.selfchecks).
The runs main, unequal and relu came after three faults had been missed by the others; relu's inputs 2, then 5, as on an
orbit that hardly changes volumes its fault is next to none, then 3, as at 5 the law's own draws do not settle.
A fault that was missed stays in the list, with the reason as `unseen`.
"""

from __future__ import annotations

from typing import Any

from .plant import Fault

_LANGEVIN = {"beta": 10.0, "chains": 1000, "steps": 100_000, "thin": 200}
_SGD = {"sampler": "sgd", "lr": 0.01, "chains": 500}

# Settings of runs that are healthy: their own law agrees, and there is no doubt.
RUNS: dict[str, dict[str, Any]] = {
    # The main command with a quarter of the chains and of the steps; a draw at every 200th step, so that the trace has
    # every draw. 1000 chains are no whole number of blocks.
    "uv": {**_LANGEVIN, "reference": "none"},
    "uv-mala": _LANGEVIN,
    "main": {"beta": 10.0},  # the main command itself
    "decay": {**_LANGEVIN, "steps": 60_000, "thin": 100, "confine": "weight-decay", "reference": "none"},
    "hard": {"beta": 10.0, "chains": 1000, "steps": 10_000, "confine": "hard"},
    "mala": {"beta": 10.0, "chains": 1000, "steps": 20_000, "integrator": "mala", "reference": "none"},
    "metric": {**_LANGEVIN, "metric": (1.0, 4.0), "reference": "none"},
    "hadamard": {
        "model": "hadamard",
        "options": {"dim": 2},
        "kappa": 1.0,
        "chains": 500,
        "steps": 40_000,
        "law_draws": 200_000,
    },
    "unequal": {
        **_LANGEVIN,
        "model": "tests.faults.models:unequal",
        "beta": 40.0,
        "confine": "weight-decay",
        "reference": "none",
    },
    "relu": {
        "model": "relu",
        "options": {"width": 1, "inputs": 3},
        "confine": "weight-decay",
        "chains": 500,
        "steps": 40_000,
        "reference": "none",
    },
    "label": {**_SGD, "label_noise": 1.0, "chains": 800},  # of two blocks, the last not whole
    "minibatch": {**_SGD, "noise": "minibatch", "batch_size": 4, "momentum": 0.5, "options": {"samples": 16}},
    "sgd-decay": {**_SGD, "label_noise": 1.0, "momentum": 0.5, "confine": "weight-decay", "weight_decay": 0.3},
}

_KERNELS = "langevin_ib.dynamics.kernels"
_LM, _LM_NOISE = f"{_KERNELS}.leimkuhler_matthews", "root(0.5 * step_size * temperature)"
_DESCENT, _MINIBATCH = "langevin_ib.dynamics.descent", "langevin_ib.dynamics.noises.minibatch"
_STREAMS, _DRIVERS = "langevin_ib.ensemble.streams", "langevin_ib.ensemble.drivers"
_RUNNER, _SAMPLING = "langevin_ib.ensemble.runner", "langevin_ib.runs.sampling"
_OBSERVE, _ACCUMULATORS = "langevin_ib.runs.observe", "langevin_ib.ensemble.accumulators"
_GRAM, _FAMILY, _CONFINED = "langevin_ib.geometry.gram", "langevin_ib.laws.family", "langevin_ib.laws.confined"
_INCREMENTS, _COMPARE = "langevin_ib.dynamics.increments", "langevin_ib.statistics.compare"

_UNADJUSTED = (
    "moved = jax.tree.map(\n"
    "                lambda x, g: x + scale * g + jnp.sqrt(2 * scale) * jax.random.normal(key, x.shape, x.dtype),\n"
    "                state.position, state.logdensity_grad)\n"
    "            return blackjax.mala.init(moved, logdensity), kernel(key, state, logdensity, scale)[1]"
)

# Of the noise of Langevin dynamics, its constants and its integrator.
_DYNAMICS = (
    Fault("noise-doubled", _LM, "leimkuhler_matthews", _LM_NOISE, "root(step_size * temperature)", ("uv",)),
    Fault("noise-halved", _LM, "leimkuhler_matthews", _LM_NOISE, "root(0.25 * step_size * temperature)", ("uv",)),
    Fault(
        "temperature-1%", _LM, "leimkuhler_matthews", _LM_NOISE, "root(0.505 * step_size * temperature)",
        ("uv-mala", "main")
    ),
    Fault(
        "temperature-3%", _LM, "leimkuhler_matthews", _LM_NOISE, "root(0.515 * step_size * temperature)",
        ("uv-mala", "main")
    ),
    Fault("temperature-twice", _SAMPLING, "Sampler._by_rule", "config.temperature, like", "config.temperature**2, like",
        ("uv",)),
    Fault("temperature-of-mala-3%", f"{_KERNELS}.mala", "mala", "potential(params) / temperature",
        "potential(params) / (1.03 * temperature)", ("mala", "uv-mala")),
    Fault("stale-increment", _LM, "leimkuhler_matthews", "LeimkuhlerMatthewsState(position, noise)",
        "LeimkuhlerMatthewsState(position, state.last_noise)", ("uv",)),
    Fault("euler-for-leimkuhler-matthews", _LM, "leimkuhler_matthews", "amplitude * (old + new)",
        "amplitude * 2.0 * new", ("uv", "decay")),
    Fault("gradient-halved", _LM, "leimkuhler_matthews",
        "gradient = jax.grad(potential)(state.position)\n        position",
        "gradient = jax.tree.map(lambda g: 0.5 * g, jax.grad(potential)(state.position))\n        position", ("uv",)),
    Fault("kappa-10%", "langevin_ib.dynamics.confinements.stiff", "stiff", "lambda model, params: 0.5 * kappa",
        "lambda model, params: 0.55 * kappa", ("uv",)),
    Fault("lambda-10%", "langevin_ib.dynamics.confinements.weight_decay", "weight_decay", "return 0.5 * lam *",
        "return 0.55 * lam *", ("decay",)),
    Fault("confinement-left-out", "langevin_ib.dynamics.confinement", "Confinement.potential",
        "model.loss(params) + self.energy(model, params)", "model.loss(params) + 0.0 * self.energy(model, params)",
        ("uv",)),
    Fault("four-points-wrong-probability", _INCREMENTS, "four_points", "(bits & 3) == 0", "(bits & 1) == 0", ("uv",)),
    Fault("box-muller-without-its-2", _INCREMENTS, "normals", "jnp.sqrt(-2.0 *", "jnp.sqrt(-1.0 *", ("uv",)),
    Fault("mala-without-correction", f"{_KERNELS}.mala", "mala", "return kernel(key, state, logdensity, scale)",
        _UNADJUSTED, ("mala",)),
    Fault("projection-not-converged", f"{_KERNELS}.projected", "_project", "range(NEWTON_STEPS)", "range(1)",
        ("hard",)),
    Fault("projection-along-the-orbit-of-the-new-point", f"{_KERNELS}.projected", "_project",
        "_linearised(charge, old)", "_linearised(charge, 1.5 * old + jnp.arange(old.size))", ("hard",)),
)  # fmt: skip

# Of SGD.
_SGD_FAULTS = (
    Fault("s-10%", _DESCENT, "_gradient_of", "examples.y + noise.label_noise * noise_draw.labels",
        "examples.y + 1.1 * noise.label_noise * noise_draw.labels", ("label",)),
    Fault("label-noise-twice", _DESCENT, "_gradient_of", "examples.y + noise.label_noise * noise_draw.labels",
        "examples.y + 2.0 * noise.label_noise * noise_draw.labels", ("label",)),
    Fault("eta-10%", _DESCENT, "sgd", "optax.sgd(rate,", "optax.sgd(1.1 * rate,", ("label", "minibatch")),
    Fault("mu-20%", _DESCENT, "sgd", "momentum=float(momentum)", "momentum=0.8 * float(momentum)", ("minibatch",)),
    Fault("weight-decay-twice", _DESCENT, "_decay_of", "optax.add_decayed_weights(float(weight_decay))",
        "optax.add_decayed_weights(2.0 * float(weight_decay))", ("sgd-decay",)),
    Fault("weight-decay-10%", _DESCENT, "_decay_of", "optax.add_decayed_weights(float(weight_decay))",
        "optax.add_decayed_weights(1.1 * float(weight_decay))", ("sgd-decay",)),
    Fault("weight-decay-behind-momentum", _DESCENT, "sgd",
        "optax.chain(*_decay_of(weight_decay), optax.sgd(rate, momentum=float(momentum) if momentum else None))",
        "optax.chain(optax.trace(float(momentum)), *_decay_of(weight_decay), optax.scale(-rate))", ("sgd-decay",)),
    Fault("replacement-confused", _MINIBATCH, "init", "None if source.noise.replace",
        "None if not source.noise.replace", ("minibatch",)),
    Fault("covariance-for-B-1", "langevin_ib.dynamics.covariance", "batch_covariance",
        "/ float(noise.batch_size or each.share.size)",
        "/ (float(noise.batch_size or each.share.size) - 1.0)", ("minibatch",)),
    Fault("covariance-without-1/B", "langevin_ib.dynamics.covariance", "batch_covariance",
        "/ float(noise.batch_size or each.share.size)", "/ 1.0", ("minibatch",)),
    Fault("examples-left-out", _MINIBATCH, "_index", "low + jnp.floor(uniform * (high - low))",
        "low + jnp.floor(uniform * (high - low - 1))", ("minibatch",)),
)  # fmt: skip

# Of what steps are held against, which is a fault of the check alone; and of what chains, check and laws are made of.
_STATED = (
    Fault("stated-temperature-3%", _LM, "_mean_after", "step_size * temperature / 2.0",
        "1.03 * step_size * temperature / 2.0", ("uv", "main")),
    Fault("stated-kappa-10%", "langevin_ib.dynamics.confinement", "claimed_potential",
        "model.loss(params) + strengths.energy", "model.loss(params) + 1.1 * strengths.energy", ("uv",)),
    Fault("loss-10%", "langevin_ib.models.families.uv", "uv", "0.5 * (product(params) - target) ** 2",
        "0.55 * (product(params) - target) ** 2", ("uv",)),
    Fault("target-10%", "langevin_ib.models.families.uv", "uv", 'at_least("depth", depth, 2)',
        'target = 1.1 * target\n    at_least("depth", depth, 2)', ("uv",), unseen="the law is made of the same loss"),
)  # fmt: skip

# Of the ensemble: keys, schedules, sums.
_ENSEMBLE = (
    Fault("keys-reused-between-steps", _DRIVERS, "Batches._noise_of", "jax.random.wrap_key_data(memory), n)",
        "jax.random.wrap_key_data(memory), 0 * n)", ("label",)),
    Fault("keys-reused-between-chains", _STREAMS, "seeded", "jax.random.fold_in(key, i), lane",
        "jax.random.fold_in(key, 0), lane", ("uv",)),
    Fault("keys-reused-between-neighbours", _STREAMS, "seeded", "jax.random.fold_in(key, i), lane",
        "jax.random.fold_in(key, i // 2), lane", ("uv",)),
    Fault("keys-reused-between-blocks", _DRIVERS, "Streams.begin", "block * self.width + jnp.arange(self.width)",
        "jnp.arange(self.width)", ("uv",)),
    Fault("keys-of-batches-reused-between-blocks", _DRIVERS, "Batches.begin", "jax.random.fold_in(key, block)",
        "jax.random.fold_in(key, 0 * block)", ("label",)),
    Fault("lanes-seeded-alike", _STREAMS, "seeded", "fold_in(key, i), lane)", "fold_in(key, i), 0 * lane)",
        ("hadamard",)),
    Fault("starts-not-spread", _RUNNER, "starting_points", "jax.random.fold_in(key, i)",
        "jax.random.fold_in(key, 0 * i)", ("uv",)),
    Fault("burn-in-skipped", _RUNNER, "_Host._begun", "burned = self.schedule.burn_in % self.together",
        "burned = self.schedule.burn_in", ("uv",)),
    Fault("one-block-behind", _RUNNER, "_Host._begun", "burned = self.schedule.burn_in % self.together",
        "burned = self.schedule.burn_in % self.together + (index == 1) * 100 * self.together", ("uv",)),
    Fault("thinning-off-by-one", _RUNNER, "_Host._next", "divmod(schedule.thin, self.together)",
        "divmod(schedule.thin - 1, self.together)", ("uv",)),
    Fault("segment-left-open", _RUNNER, "_Host._record", "carry._replace(accumulated=self.empty)",
        "carry", ("uv",)),
    Fault("merge-drops-a-segment", _OBSERVE, "sample_of", "functools.reduce(merge, segments[shown:])",
        "functools.reduce(merge, segments[:-1])", ("uv",)),
    Fault("chains-counted-twice", _RUNNER, "_Host.result", "for x in leaves])[: self.chains]", "for x in leaves])",
        ("uv",)),
    Fault("companion-at-h", _SAMPLING, "Sampler.companion", "NORMAL, step_size / 2,", "NORMAL, step_size,", ("uv",)),
    Fault("float32-sums", _ACCUMULATORS, "masked_sum",
        "acc.total + jnp.where(counts, value.astype(jnp.float64), 0.0)",
        "(acc.total + jnp.where(counts, value.astype(jnp.float64), 0.0)).astype(jnp.float32).astype(jnp.float64)",
        ("uv",)),
)  # fmt: skip

# Of what is counted, of laws, of error bars.
_JUDGED = (
    Fault("bins-shifted", _ACCUMULATORS, "window_histogram", "jnp.arange(1, bins + 1) == place",
        "jnp.arange(bins) == place", ("uv",)),
    Fault("window-edges-cut", _OBSERVE, "build_observer", "(np.float64(e[0]), np.float64(e[-1]))",
        "(np.float64(e[1]), np.float64(e[-2]))", ("uv",)),
    Fault("moments-of-few-draws", _ACCUMULATORS, "moments", "mean = acc.mean + delta / n",
        "mean = acc.mean + delta / (n + 1)", ("uv",)),
    Fault("slice-volume-left-out", _GRAM, "log_slice_volume", "return 0.5 * log_det_spd", "return 0.0 * log_det_spd",
        ("hard",)),
    Fault("log-det-sign", _FAMILY, "family_formula", "-t.energy - 0.5 * c * t.log_det",
        "-t.energy + 0.5 * c * t.log_det", ("uv",)),
    Fault("temperature-of-the-settings", "langevin_ib.config.processes", "LangevinSettings.temperature",
        "return self.sigma**2 / self.beta", "return 1.03 * self.sigma**2 / self.beta", ("uv",)),
    Fault("log-det-of-another-gram", _GRAM, "constraint_gram", "return jacobian @ jacobian.T",
        "return jacobian @ jacobian.T + jnp.eye(len(jacobian))", ("uv", "hadamard")),
    Fault("orbit-integral-of-half-the-confinement", _CONFINED, "_confined_log_density",
        "return _log_measure(reduction, t, z) - energy(t)", "return _log_measure(reduction, t, z) - 0.5 * energy(t)",
        ("decay",)),
    Fault("orbit-integral-too-narrow", "langevin_ib.laws.orbit", "log_orbit_integral", "- growth[a] * t",
        "- 0.5 * growth[a] * t - 0.3 * t**2", ("hadamard", "relu")),
    Fault("orbit-measure-left-out", _CONFINED, "_confined_log_density",
        "return _log_measure(reduction, t, z) - energy(t)",
        "return 0.0 * _log_measure(reduction, t, z) - energy(t)", ("uv", "unequal")),
    Fault("orbit-integral-without-its-width", "langevin_ib.laws.orbit", "log_orbit_integral",
        "jnp.log((high - low) / NODES)", "jnp.log(1.0 / NODES)", ("hadamard",)),
    Fault("weight-for-its-root", "langevin_ib.laws.draws", "LawDraws.log_weight",
        "return np.asarray(formula.log_density(self.terms) - self.formula.log_density(self.terms))",
        "return 0.5 * np.asarray(formula.log_density(self.terms) - self.formula.log_density(self.terms))",
        ("hadamard",)),
    Fault("nuts-on-half-the-potential", "langevin_ib.runs.quotient", "sample_nuts",
        "potential_fn=jax.jit(law.potential)", "potential_fn=lambda y: 0.5 * law.potential(y)", ("hadamard",)),
    Fault("metric-transposed", "langevin_ib.models.transforms", "_metric_roots",
        "return np.sqrt(metric), 1.0 / np.sqrt(metric)", "return 1.0 / np.sqrt(metric), np.sqrt(metric)", ("metric",)),
    Fault("errors-from-draws", _COMPARE, "histogram_of",
        "residual.T @ residual * (chains / (chains - 1) / per_chain.sum() ** 2)",
        "(np.diag(mass) - np.outer(mass, mass)) / per_chain.sum()", ("uv",)),
    Fault("error-of-c-from-draws", "langevin_ib.statistics.weights", "ratio", "chains / (chains - 1)",
        "chains / (chains - 1) / np.mean(denominator)", ("uv",)),
    Fault("drift-of-sgd-without-its-curvature", "langevin_ib.laws.sgd", "Descent.process_under",
        "-jacobian @ slope + 0.5 * self.lr * second", "-jacobian @ slope + 0.0 * self.lr * second", ("label",)),
)  # fmt: skip

FAULTS: tuple[Fault, ...] = (*_DYNAMICS, *_STATED, *_SGD_FAULTS, *_ENSEMBLE, *_JUDGED)
