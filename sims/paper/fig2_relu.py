"""Figure 2 of the paper, `langevin_ib.figures.fig2_relu`, under its name in `sims`.

python -m sims.fig2_relu [--seeds 32]
"""

import sys

from sims import figure

main = figure(2)

if __name__ == "__main__":
    sys.exit(main())
