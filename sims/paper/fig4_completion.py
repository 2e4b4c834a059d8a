"""Figure 4 of the paper, `langevin_ib.figures.fig4_completion`, under its name in `sims`.

python -m sims.fig4_completion [--seeds 32] [--variant code|text] [--data FILE]
"""

import sys

from sims import figure

main = figure(4)

if __name__ == "__main__":
    sys.exit(main())
