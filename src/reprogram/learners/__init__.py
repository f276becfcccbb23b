"""Learners: what improves a program. One file per variant; `base.py` holds the contract."""
