"""Peak memory at ten times the steps, as a ratio: each run in a process of its own.

python -m sims.bench.memory [--steps N]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from sims import described

CODE = """
import resource, sys
from langevin_ib.sim import main
code = main(["--steps", sys.argv[1], "--out", sys.argv[2], "--quiet"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def peak(steps: int, out: str) -> int:
    """Peak resident memory of the main job in KiB."""
    done = subprocess.run([sys.executable, "-c", CODE, str(steps), out], check=True, capture_output=True, text=True)
    return int(done.stdout)


def main() -> None:
    """Print both peaks and their ratio."""
    parser = described(__doc__)
    parser.add_argument("--steps", type=int, default=40_000)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as out:
        few, many = peak(steps, out), peak(10 * steps, out)
    print(f"{steps} steps: {few / 1024:.0f} MiB; {10 * steps} steps: {many / 1024:.0f} MiB; ratio {many / few:.3f}")


if __name__ == "__main__":
    main()
