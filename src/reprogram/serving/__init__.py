"""Answering for several programs at once."""
