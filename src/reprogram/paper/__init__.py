"""The 2018 paper's experiments: each is a list of ordinary runs, measurements on them, and a section of a report.

`experiments/` holds one file for each experiment; the file's name is what `reprogram paper NAME` takes. `presets/`
holds hosts, tasks and recipes. `plan.py` turns both into runs, `run.py` has them run and measured, `store.py` stores
the results, `page.py` shows them.
"""
