"""One file an experiment; `base.py` holds the contract."""
