"""Programs: the learned input. One file per variant; `base.py` holds the contract."""
