"""Figure 1 of the paper, `langevin_ib.figures.fig1_orbits`, under its name in `sims`.

python -m sims.fig1_orbits [--seeds 32]
"""

import sys

from sims import figure

main = figure(1)

if __name__ == "__main__":
    sys.exit(main())
