"""Hosts: frozen classifiers. One file per source of hosts; `base.py` holds the contract."""
