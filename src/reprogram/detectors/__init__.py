"""Detectors: what reads the queries that a host is sent, and says which look like a program. One file per variant."""
