"""`python -m reprogram` is the command line."""

from reprogram.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
