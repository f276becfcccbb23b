"""General helpers that know nothing of reprogramming: one subject a file."""
