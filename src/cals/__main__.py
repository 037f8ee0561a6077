"""`python -m cals`, where the command is not on the path."""

from cals.cli import main

if __name__ == "__main__":
    main()
