"""Figure 6 of the paper, `langevin_ib.figures.fig6_piecewise_constant`, under its name in `sims`.

python -m sims.fig6_piecewise_constant [--seeds 32] [--variant code|text] [--data FILE]
"""

import sys

from sims import figure

main = figure(6)

if __name__ == "__main__":
    sys.exit(main())
