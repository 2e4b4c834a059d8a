"""Settings of a run: declared once, validated, read from and written to TOML; no module of this package imports JAX."""
