"""Abuse of every place where this project reads what strangers wrote.

One file per family of attacks; an attack is one function with the decorator `attack`. The tests run all of them, and so
does `make attacks`, which prints how long each refusal took and what memory it cost.
"""
