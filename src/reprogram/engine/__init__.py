"""Runs hosts faster without changing what they compute; `README.md` explains how.

`trace.py` turns a host into a graph, and `fuse.py` folds normalisation and clipping into convolutions. `executor.py`
runs that graph on a `Framed` batch: what the batch shares once, the window for each image. `rules/` holds one function
an operation, which says how it runs on such a batch.
"""

from reprogram.engine.prepared import Prepared

__all__ = ["Prepared"]
