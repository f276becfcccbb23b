"""Runs hosts faster without changing what they compute. `fold.py` folds BatchNorm into convolutions."""

from reprogram.engine.fold import prepare

__all__ = ["prepare"]
