"""Audits: how much of another task a stranger can get out of a host, at what price. A layer beside `paper`."""
