"""Studies: arms over paired seeds, as data. What balances the factors, the paper's figures, inverse design.

    presets, recipes (or a user's file) → problem → training → following → statistics over seeds → `StudyResult`

`mechanisms` puts an attribution together from these, `recovery` and `balancing` figures, whose own numbers and
sentences are in `langevin_ib.figures`.
"""
