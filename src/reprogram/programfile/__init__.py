"""The program file, the one file that a program is shared as: its bytes, and how it is read and written."""
