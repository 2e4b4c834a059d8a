"""Figure 3 of the paper, `langevin_ib.figures.fig3_attention`, under its name in `sims`.

python -m sims.fig3_attention [--seeds 32]
"""

import sys

from sims import figure

main = figure(3)

if __name__ == "__main__":
    sys.exit(main())
