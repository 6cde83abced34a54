"""Where the command begins; and the process that writes a case file, which needs nothing of the command line."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line of this process."""
    # numpy starts a thread for each CPU to multiply matrices with, of which there are none here
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from forensics import cli

    cli.main()


if __name__ == "__main__":
    main()
