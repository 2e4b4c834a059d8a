"""Which mechanism balances the factors: the package of `python -m langevin_ib.attribute`."""
