"""`python -m chargepin` and the `chargepin` command."""

import sys


def main() -> None:
    """Run the command with this process's arguments and streams."""
    from chargepin.cli.main import run  # noqa: PLC0415 - importing the package does no work
    from chargepin.cli.terminal import Terminal  # noqa: PLC0415 - as above

    sys.exit(run(sys.argv[1:], Terminal(sys.stdin, sys.stdout, sys.stderr)))


if __name__ == "__main__":
    main()
