"""The paper's figures, which stand in `langevin_ib.figures`, by the names that they have had here."""
