"""Arms over paired seeds: what balances factors, the paper's figures, designs of one's own. They return data.

    presets, recipes (or a user's file) → problem → training → following, measures → effects, balance → `StudyResult`

Each module of `sims/paper` puts one figure together from these, and `output` shows what came of it.
"""
