"""`python -m tellapart`, the same as `tellapart`."""

from tellapart.processes import drop_current_folder, read_names_as_utf8


def main() -> None:
    """Run the command line once the current folder has left Python's path."""
    drop_current_folder()
    read_names_as_utf8()
    # Not earlier: these modules import many others.
    from tellapart.cores import limit_libraries

    limit_libraries()
    from tellapart.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
