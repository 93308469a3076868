"""`python -m tellapart`, the same as `tellapart`."""

from tellapart.cli.main import main

if __name__ == "__main__":
    main()
