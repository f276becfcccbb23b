"""The formats that an audit's report is written in: one file for each."""
