"""Label maps: from the host's scores to the task's. One file per variant; `base.py` holds the contract."""
