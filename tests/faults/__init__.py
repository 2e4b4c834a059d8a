"""Planted faults: small changes of the package's code, and which line of a run's own output catches each."""
