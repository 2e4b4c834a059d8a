"""The paper's figures, one module each, and all of them: `langevin-ib figures N`, or `python -m langevin_ib.figures N`.

What each takes on a command line stands in `catalogue`, so that no JAX is imported for `--help` or a wrong option.
"""
