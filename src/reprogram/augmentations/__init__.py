"""Augmentations: how training images vary. One file per variant; `base.py` holds the contract."""
