"""All peers, by name, and which of them take part."""

from __future__ import annotations

from functools import partial

from langevin_ib.dynamics.increments import FOUR_POINT, NORMAL
from sims.bench.peers import sgld
from sims.bench.peers.base import Peer
from sims.bench.peers.c import Loop
from sims.bench.peers.diffrax_sde import Solved
from sims.bench.peers.loops import forms
from sims.bench.peers.ours import Runner
from sims.bench.peers.plain import numpy_forms, plain_batched, plain_keyed

OURS, OURS_NORMAL = "ours, four-point", "ours, normals"
C_FOUR, C_NORMAL, C_LIBM = "C, four-point", "C, normals by series", "C, normals by libm"
JAX_LOOP, ONE_THREAD = "JAX loop, one draw a step", "loop, 1 thread"
SGLD, DIFFRAX, TREE = "blackjax.sgld", "diffrax", "diffrax, tree"


def _diffrax(solver: str, tree: bool, together: bool):
    return partial(Solved, solver=solver, tree=tree, together=together)


def _solvers(tree: bool, solvers: tuple[str, ...] = ("Euler",)) -> dict:
    return {
        name: form
        for solver in solvers
        for together in ((True,) if tree else (True, False))  # of a tree, the other was a third as fast
        for name, form in forms(
            f"{solver}, {'one equation' if together else 'an equation a chain'}", _diffrax(solver, tree, together)
        ).items()
    }


def peers() -> dict[str, Peer]:
    """In the order of tables."""
    every = [
        Peer(OURS, {"runner": Runner(FOUR_POINT)}),
        Peer(OURS_NORMAL, {"runner": Runner(NORMAL)}),
        Peer(C_FOUR, {"series": Loop(True)}, uv_only=True),
        Peer(C_NORMAL, {"series": Loop(False)}, uv_only=True),
        Peer(C_LIBM, {"libm": Loop(False, libm=True)}, uv_only=True),
        Peer("NumPy", numpy_forms(), uv_only=True),
        Peer(JAX_LOOP, forms("loop", plain_batched)),
        Peer("JAX loop, a key a chain", forms("loop", plain_keyed)),
        Peer(SGLD, {**forms("vmap", sgld.by_chain), **forms("one position", sgld.all_chains)}, order=1),
        Peer(DIFFRAX, _solvers(tree=False), order=1),
        Peer(TREE, _solvers(tree=True), order=1, slow=True),
    ]
    return {peer.name: peer for peer in every}


def candidates() -> dict[str, Peer]:
    """Who may be first at the law: of those above the ones that count draws well, and diffrax's better solvers."""
    left_out = "NumPy", JAX_LOOP, "JAX loop, a key a chain", TREE, C_LIBM
    every = [peer for name, peer in peers().items() if name not in left_out]
    for solver in ("SEA", "ShARK"):
        every.append(Peer(f"diffrax, {solver}", forms("one equation", _diffrax(solver, False, True)), order=1))
    return {peer.name: peer for peer in every}
