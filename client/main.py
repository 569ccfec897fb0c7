"""`rounds-site`, as it is installed."""

from client.cli.program import app


def main() -> None:
    """Run a command of `rounds-site`."""
    app(prog_name="rounds-site")


if __name__ == "__main__":
    main()
