"""``python -m ccdnight`` is the command line."""

from ccdnight.cli import program

if __name__ == "__main__":
    program()
