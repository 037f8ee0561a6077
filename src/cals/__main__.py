"""Entry point of `python -m cals`."""

from cals.cli import main

if __name__ == "__main__":
    main()
