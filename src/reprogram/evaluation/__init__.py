"""Accuracy with its uncertainty, and the baselines that it is compared with."""
