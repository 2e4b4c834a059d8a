"""Every number that the README and the book quote as measured, held against a small result file of the repository.

`python -m sims.numbers` checks all pages; `docs/numbers.md` says how a page marks a number.
"""
