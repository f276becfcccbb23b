"""Canvases place a task image in the host's input. One file per variant; `base.py` holds the contract."""
