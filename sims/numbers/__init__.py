"""Numbers in prose: each that the README and the book quote as measured, against a small result file of docs/results.

`python -m sims.numbers` checks all pages. A page marks a number by a comment behind it, which no reader sees:

    c = 0.998 ± 0.005 <!-- number: main.c -->
    TV 0.0030 [0.0017, 0.0037] <!-- number: sgd.tv_sgd -->
    89.2 ± 3.1% <!-- number: KEY.NAME -->

KEY is a file, `docs/results/KEY.json`, and NAME one of its numbers. Value, error and interval have to be those of the
file, rounded to the digits that the page has. A block with the lines that a command prints stands below

    <!-- output: main -->

and each of its lines has to be one that the command printed, or `…`. Behind a sentence that the result file has, a
doubt of a run for one, stands `<!-- words: KEY -->`. Digits go down to the error, or the mark says `KEY.NAME rounded`.

What looks measured and has no mark is a fault, unless `docs/results/exceptions.toml` has it, with the reason: an error
bar, an interval, a distance, a p-value, R-hat, c with a decimal, a rate, a factor, a share, a count of seeds, a cell of
a table with a decimal fraction alone. Of notebooks the Markdown is read. Times of a machine are not looked at.

A result file has the command, seed, date, versions, the engine's version and the numbers with their errors. One of
another engine than the present one is a fault, unless it is an `[[engine]]` of that list, with the reason. `--make KEY`
writes it by the recipe in `docs/results/recipes.toml`, and `--remake KEY` runs its command again and compares.
"""
