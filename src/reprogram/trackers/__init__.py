"""Tools that runs are followed in: one file for each."""
