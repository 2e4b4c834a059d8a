"""The atlas: every model under every protocol and noise, which law its draws obey, and what the paper says of it.

`python -m sims.atlas` runs the cells, one small result file each, and draws picture and page from the files.
"""
