"""The experiments, one a file; `base.py` holds their contract."""
