"""The streams of chains under dieharder: one, many in turn, neighbours; and two bad ones, which it has to reject.

    python -m sims.bench.stream_quality [--sources NAME …] [--tests N …] [--all]

Words are piped to `dieharder -g 200`, which has to be on the path (a package of most systems). Each source is an order
in which words of chains are taken:

    one          chain 0 alone
    interleaved  256 chains, a word of each in turn, as an ensemble takes them
    neighbours   chains 0 and 1 in turn
    lanes        eight lanes of chain 0 in turn, as a model of 80 parameters takes them
    keys         chain 0 of the keys 0, 1, …, 255 in turn
    repeated     256 chains of which each odd one has the seed of its neighbour: a control
    lcg          two low halves of a linear congruential generator to a word: a control

A test is called weak at p below 0.005 or above 0.995, so that one in a hundred is of a perfect source, and failed at p
below 1e-6. The summary has the number of weak ones that is expected, and the probability of as many. `--all` takes all
of dieharder's battery, 114 figures, an hour of one core for each source.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from langevin_ib.ensemble.streams import Stream, next_word, seeded
from sims import described

KEY = 18
WORDS = 2**22  # of a block
# Birthdays, overlapping permutations, ranks, bitstream, ones, runs, craps; monobit, runs, serial; bit distribution,
# permutations, lagged sums, Kolmogorov–Smirnov, bytes, DCT, trees, monobit 2.
TESTS = (0, 1, 2, 3, 4, 8, 9, 15, 16, 100, 101, 102, 200, 202, 203, 204, 205, 206, 207, 208, 209)
WEAK = 0.01  # share of a perfect source's figures
ASSESSMENTS = ("PASSED", "WEAK", "FAILED")
GOOD = ("one", "interleaved", "neighbours", "lanes", "keys")
CONTROLS = ("repeated", "lcg")


class Figure(NamedTuple):
    """A line of dieharder's: test, n-tuple, p-value, assessment."""

    test: str
    ntuple: int
    p_value: float
    assessment: str


def streams_of(source: str) -> Stream:
    """The streams whose words are taken in turn."""
    key = jax.random.key(KEY)
    if source == "keys":
        several = jax.vmap(lambda k: seeded(jax.random.key(k), jnp.arange(1)))(jnp.arange(256))
        return Stream(*(part.ravel() for part in several))
    if source == "lanes":
        return Stream(*(part.ravel() for part in seeded(key, jnp.arange(1), 8)))
    chains = {"one": jnp.arange(1), "neighbours": jnp.arange(2), "repeated": jnp.arange(256) // 2}
    return Stream(*(part.ravel() for part in seeded(key, chains.get(source, jnp.arange(256)))))


def blocks(source: str) -> Iterator[bytes]:
    """Words without end, as they are piped."""
    if source == "lcg":
        yield from _congruential()
        return
    streams = streams_of(source)
    steps = WORDS // streams.s0.size
    advance = jax.jit(lambda s: jax.lax.scan(lambda here, _: next_word(here), s, None, steps))
    while True:
        streams, words = advance(streams)
        yield np.asarray(words).tobytes()


def _congruential() -> Iterator[bytes]:
    """x ↦ 1664525 x + 1013904223 mod 2³² (Numerical Recipes), the low 16 bits, whose period is 2¹⁶."""
    x, low = 1, []
    for _ in range(2**16):
        x = (1664525 * x + 1013904223) % 2**32
        low.append(x % 2**16)
    period = np.array(low, np.uint16).tobytes()
    while True:
        yield period


def dieharder(source: str, arguments: list[str]) -> list[Figure]:
    """What one call of it says of a source."""
    call = ["dieharder", "-g", "200", *arguments]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        feeder = threading.Thread(target=_feed, args=(process.stdin, source), daemon=True)
        feeder.start()
        assert process.stdout is not None
        text = process.stdout.read().decode(errors="replace")
        process.wait()
        feeder.join()
    return parsed(text)


def _feed(pipe, source: str) -> None:
    try:
        for block in blocks(source):
            pipe.write(block)
    except (BrokenPipeError, ValueError):  # it has had enough
        pass
    finally:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def parsed(text: str) -> list[Figure]:
    """The figures of dieharder's table.

    >>> parsed("        sts_serial|   3|    100000|     100|0.45093846|  PASSED  ")
    [Figure(test='sts_serial', ntuple=3, p_value=0.45093846, assessment='PASSED')]
    """
    figures = []
    for line in text.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 6 and columns[5] in ASSESSMENTS:
            figures.append(Figure(columns[0], int(columns[1]), float(columns[4]), columns[5]))
    return figures


def summary(source: str, figures: list[Figure]) -> str:
    """How many of each, and whether so many weak ones are to be expected."""
    counts = {word: sum(f.assessment == word for f in figures) for word in ASSESSMENTS}
    weak = counts["WEAK"] + counts["FAILED"]
    chance = stats.binom.sf(weak - 1, len(figures), WEAK)
    odd = "; ".join(f"{f.test} {f.ntuple} p = {f.p_value:.2g}" for f in figures if f.assessment != "PASSED")
    return (
        f"{source:<12} {len(figures)} figures: {counts['PASSED']} passed, {counts['WEAK']} weak "
        f"({WEAK * len(figures):.1f} expected; so many have probability {chance:.2g}), {counts['FAILED']} failed"
        + (f": {odd}" if odd else "")
    )


def main() -> None:
    """Print a line for each figure, then a summary of each source."""
    parser = described(__doc__)
    parser.add_argument("--sources", nargs="+", choices=GOOD + CONTROLS, default=GOOD + CONTROLS, metavar="NAME")
    parser.add_argument("--tests", nargs="+", type=int, default=TESTS, metavar="N", help="numbers of dieharder -l")
    parser.add_argument("--all", action="store_true", help="all of the battery")
    given = parser.parse_args()
    if shutil.which("dieharder") is None:
        parser.error("dieharder has to be on the path, and is not: install the package of this name")
    calls = [["-a"]] if given.all else [["-d", str(test)] for test in given.tests]
    lines = []
    for source in given.sources:
        figures = []
        for arguments in calls:
            new = dieharder(source, arguments)
            for f in new:
                print(f"{source:<12} {f.test:<24} {f.ntuple:>3}  p = {f.p_value:.8f}  {f.assessment}", flush=True)
            figures += new
        lines.append(summary(source, figures))
        print(lines[-1], flush=True)
    print("\n".join(["", *lines]))


if __name__ == "__main__":
    main()
