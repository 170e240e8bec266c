"""`python -m shotnoise` is the `shotnoise` command."""

from shotnoise.cli import main

if __name__ == "__main__":
    main()
