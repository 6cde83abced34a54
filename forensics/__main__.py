"""Where the command begins; and the process that writes a case file, which needs nothing of the command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process."""
    from forensics import cli

    cli.main()


if __name__ == "__main__":
    main()
