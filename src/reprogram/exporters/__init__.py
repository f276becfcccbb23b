"""Exporters write a model as a file that other runtimes run. One file per format; `base.py` holds the contract."""
