"""Tasks: labelled images in three splits. One file per variant; `base.py` holds the contract."""
