"""uv in C on all cores, with normals or with four-point increments: what the machine can do without a framework.

The source is compiled when it is first asked for, by the C compiler that is there, into a folder of its own. A call
leaves Python's lock, so that a thread for each core makes use of all of them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
import numpy as np

from langevin_ib.devices import usable_cores
from langevin_ib.ensemble.streams import seeded
from sims.bench.peers.base import Absent, Bins, Job, Recorder

SOURCE = Path(__file__).with_name("loop.c")
COMPILERS = "cc", "gcc", "clang"
# Without a trap for faults of arithmetic, and with products contracted, nothing keeps a loop from vectors; no formula
# is rearranged. The last only where the compiler knows it.
FLAGS = "-O3", "-march=native", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"
WIDE = ("-mprefer-vector-width=512",)


class Settings(ctypes.Structure):
    """As in the source."""

    _fields_ = (
        *((name, ctypes.c_float) for name in ("step_size", "amplitude", "kappa", "low", "width")),
        ("bins", ctypes.c_int),
    )


class Arrays(ctypes.Structure):
    """As in the source, `Chains`."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("u", "v", "last_u", "last_v", "s0", "s1", "s2", "s3"))


def compiler() -> str:
    """The first of those that are here.

    Raises:
        Absent: none is.
    """
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    raise Absent("no C compiler (cc, gcc, clang)")


@cache
def library(libm: bool) -> ctypes.CDLL:
    """The compiled loops.

    Args:
        libm: whether normals come by way of the C library's logarithm, sine and cosine, else by series that the
            compiler can vectorise.

    Raises:
        Absent: there is no compiler, or it does not take the source.
    """
    command = compiler()
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "loop.so")
        given = ["-shared", "-fPIC", *(["-DLIBM"] if libm else []), str(SOURCE), "-o", target, "-lm"]
        for flags in ((*FLAGS, *WIDE), FLAGS):
            done = subprocess.run([command, *flags, *given], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return ctypes.CDLL(target)  # stays mapped when its file is gone
    raise Absent(f"{os.path.basename(command)} does not compile {SOURCE.name}: {done.stderr.strip().splitlines()[:1]}")


@dataclass(frozen=True)
class Loop:
    """One of the two loops, as a peer builds its chains."""

    four_point: bool
    libm: bool = False

    def __call__(self, job: Job, chains: int, seed: int, recorder: Recorder | None) -> CChains:
        loops = library(self.libm)
        return CChains(loops.run_four_point if self.four_point else loops.run_normal, job, chains, seed, recorder)


class CChains:
    """Chains in C, a share of them for each core."""

    def __init__(self, loop, job: Job, chains: int, seed: int, recorder: Recorder | None):
        if recorder is not None and not isinstance(recorder, Bins):
            raise Absent("the C loop counts bins and nothing else")
        loop.argtypes = [
            *(Arrays, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int64),
            *(ctypes.POINTER(Settings), ctypes.POINTER(ctypes.c_int64)),
        ]
        loop.restype = None
        starts = np.asarray(job.starts(chains, seed), np.float32)
        streams = seeded(jax.random.fold_in(jax.random.key(seed), 1), jax.numpy.arange(chains))
        kept = np.zeros((2, chains), np.float32)
        columns = [*starts.T, *kept, *(np.asarray(word)[:, 0] for word in streams)]
        self.columns = [np.ascontiguousarray(column).copy() for column in columns]
        amplitude = (0.5 * job.step_size * job.temperature) ** 0.5
        low, width, bins = (recorder.low, recorder.width, recorder.bins) if recorder else (0.0, 1.0, 0)
        self.settings = Settings(job.step_size, amplitude, job.kappa, low, width, bins)
        self.loop, self.chains = loop, chains
        cores = min(len(usable_cores()), chains)
        self.shares = np.array_split(np.arange(chains), cores)
        self.counts = np.zeros((cores, max(1, bins)), np.int64)
        self.pool = ThreadPoolExecutor(cores)

    def run(self, records: int, thin: int) -> float:
        """Seconds of so many records, each after `thin` steps."""
        began = time.perf_counter()
        list(self.pool.map(lambda part: self._share(part, records, thin), range(len(self.shares))))
        return time.perf_counter() - began

    def _share(self, part: int, records: int, thin: int) -> None:
        share = self.shares[part]
        arrays = Arrays(*(column.ctypes.data + 4 * int(share[0]) for column in self.columns))
        counts = self.counts[part].ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
        self.loop(arrays, len(share), records, thin, ctypes.byref(self.settings), counts)

    def positions(self) -> np.ndarray:
        """(chain, 2)."""
        return np.stack(self.columns[:2], axis=1)

    def recorded(self) -> np.ndarray:
        """Counts of all chains, in each bin."""
        return self.counts.sum(axis=0)
