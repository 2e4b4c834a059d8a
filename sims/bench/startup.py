"""How long the command lines take to answer, as ratios over an empty program: the least processor time of some.

python -m sims.bench.startup [--repeats N]
"""

from __future__ import annotations

import resource
import subprocess
import sys

from sims import described

EMPTY = ["-c", "pass"]
ANSWERS = {
    "import of the package": ["-c", "import langevin_ib"],
    "--help of sim": ["-m", "langevin_ib.sim", "--help"],
    "a value out of range": ["-m", "langevin_ib.sim", "--beta", "-1"],
    "an unknown name": ["-m", "langevin_ib.sim", "--confine", "box"],
    "--help of attribute": ["-m", "langevin_ib.attribute", "--help"],
}


def seconds(arguments: list[str], repeats: int) -> float:
    """User and system time of a Python process, the least of some."""
    taken = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def main() -> None:
    """Print the time of each answer and its ratio."""
    parser = described(__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    empty = seconds(EMPTY, repeats)
    print(f"{'an empty program':<24} {empty:.3f} s")
    for name, arguments in ANSWERS.items():
        taken = seconds(arguments, repeats)
        print(f"{name:<24} {taken:.3f} s, {taken / empty:.1f} times an empty program")


if __name__ == "__main__":
    main()
