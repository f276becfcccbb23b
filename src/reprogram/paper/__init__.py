"""The 2018 paper's experiments: each is a list of ordinary runs, and what is read out of them.

`experiments/` holds one file an experiment; the file's name is what `reprogram paper NAME` takes. `presets/` says on
which hosts and tasks and with which recipe. `setup.py` turns both into runs, `book.py` keeps what was found, `page.py`
shows it.
"""
