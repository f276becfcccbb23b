"""Baselines: accuracies that a result is compared with. One file per variant; `base.py` holds the contract."""
