"""Runs: their configurations, folders and results, and the index of many."""
