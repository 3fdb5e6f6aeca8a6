"""``python -m ccdnight`` is the command line."""

from ccdnight.cli import main

if __name__ == "__main__":
    main(prog_name="ccdnight")
