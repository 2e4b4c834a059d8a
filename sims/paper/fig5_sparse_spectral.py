"""Figure 5 of the paper, `langevin_ib.figures.fig5_sparse_spectral`, under its name in `sims`.

python -m sims.fig5_sparse_spectral [--seeds 32] [--variant code|text] [--data FILE]
"""

import sys

from sims import figure

main = figure(5)

if __name__ == "__main__":
    sys.exit(main())
