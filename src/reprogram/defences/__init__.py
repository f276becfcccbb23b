"""Defences: what an operator puts before a host. One file per variant; `base.py` holds the contract."""
