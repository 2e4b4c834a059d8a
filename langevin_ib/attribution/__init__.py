"""Which mechanism balances the factors: the rooms behind `python -m langevin_ib.attribute`."""
