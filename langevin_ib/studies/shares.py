"""From which share of observed entries on is a matrix completed? By SGD, without noise, by the nuclear norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

from langevin_ib.dynamics.noise import Noise
from langevin_ib.session import Session
from langevin_ib.studies import baselines
from langevin_ib.studies.measures import unobserved_error
from langevin_ib.studies.parts import train_kept
from langevin_ib.studies.recipes import completion, together
from langevin_ib.studies.share_curve import NUCLEAR, QUIET, SGD, ByShare, ShareCurve
from langevin_ib.studies.training import Arm, recovered

ROWS = 20  # recorded times

Matrices = Float[np.ndarray, "seed m n"]


def share_curve(
    shares: Sequence[float], seeds: int, seed: int, rates: Mapping[str, float], steps: int, session: Session
) -> ShareCurve:
    """Errors of figure 4's matrices at several shares of observed entries.

    Args:
        shares: probabilities for an entry to be observed.
        seeds: matrices at each share.
        seed: of all randomness.
        rates: {suffix: η}; all of them are run, for runs that have not converged would bias the curve.
        steps: of each run.
        session: an open one.

    Raises:
        DivergenceError: some seed's parameters ran away.
    """
    parts = [completion(seeds, seed, observed=share) for share in shares]
    joint = together(parts)
    truth, mask = joint.known, np.asarray(joint.own_tasks["mask"])
    matrices: dict[str, Matrices] = {}
    for suffix, lr in rates.items():
        for name, noise in ((SGD, Noise("bernoulli")), (QUIET, Noise("none"))):
            stage = f"shares, {name}{suffix}"
            trained = train_kept(session, joint, Arm(noise, lr, steps), stage, rows=ROWS)
            matrices[name + suffix] = recovered(joint, trained.ends)
    session.report(f"shares, {NUCLEAR}")
    matrices[NUCLEAR] = np.concatenate(
        [nuclear_norms(part.own_tasks["target"], part.own_tasks["mask"]) for part in parts]
    )

    def by_share(T: Float[np.ndarray, "all m n"], counted: Float[np.ndarray, "all m n"]) -> ByShare:
        error = unobserved_error(T, truth, counted) / unobserved_error(np.zeros_like(T), truth, counted)
        return error.reshape(len(shares), seeds).T

    return ShareCurve(
        tuple(shares),
        steps,
        rates,
        {name: by_share(T, mask) for name, T in matrices.items()},
        {name: by_share(T, 1.0 - mask) for name, T in matrices.items()},
    )


def nuclear_norms(
    target: Shaped[np.ndarray, "seed m n"],
    mask: Shaped[np.ndarray, "seed m n"] | Bool[np.ndarray, "seed m n"],
    *,
    seed: int | None = None,
) -> Matrices:
    """The matrix of least nuclear norm with each seed's observed entries, solved once where all have the same.

    Args:
        target: entries, leading axis the seed.
        mask: which of them are observed.
        seed: of the folds by which a penalty is chosen; None where the entries carry no noise: they are then met.
    """
    solve: Callable[..., baselines.MatrixFit] = baselines.nuclear_norm
    options = {"seed": seed, "exact": seed is None}
    if (target == target[0]).all() and (mask == mask[0]).all():
        return np.broadcast_to(solve(target[0], mask[0], **options).T, target.shape)
    return np.stack([solve(*pair, **options).T for pair in zip(target, mask, strict=True)])
