"""Losses: what learning minimises. One file per variant; `base.py` holds the contract."""
