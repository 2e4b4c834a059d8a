"""One module for each study beyond the figures of the paper."""
