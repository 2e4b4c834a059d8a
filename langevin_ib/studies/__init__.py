"""The paper's experiments as ensembles of seeds: problems, training, errors, baselines, pages.

    setups, problems (or a user's file) → training → errors → attribution, baselines → summary, pictures, page

Each module of `sims/fig*.py` puts one figure together from these.
"""
