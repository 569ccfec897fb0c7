"""`rounds-hub token`: programs that may read the API, from the operator's terminal."""

from typing import Annotated

import typer

from server.cli.audit.store_option import StoreOption, store_of
from server.dashboard.auth import tokens
from server.store.database import writing
from shared.terminal.command_line import examples, program
from shared.terminal.tables import plain_table, wide_console

app = program("Tokens of the read-only API.")
Name = Annotated[str, typer.Argument(help="the program that reads")]


@app.command(epilog=examples("rounds-hub token new monitoring --days 90"))
def new(
    name: Name,
    days: Annotated[int, typer.Option(min=1, max=366, help="days that it holds")] = 90,
    store: StoreOption = None,
) -> None:
    """Make a token, and print it once."""
    with store_of(store) as engine, writing(engine).begin() as connection:
        said = tokens.new(connection, name, days)
    typer.echo("Token, shown this once; send it as `Authorization: Bearer TOKEN`:")
    typer.echo(f"  {said}")


@app.command(epilog=examples("rounds-hub token revoke monitoring"))
def revoke(name: Name, store: StoreOption = None) -> None:
    """End a token."""
    with store_of(store) as engine, writing(engine).begin() as connection:
        tokens.revoke(connection, name)


@app.command(name="list", epilog=examples("rounds-hub token list"))
def listed(store: StoreOption = None) -> None:
    """List tokens; what they are themselves is stored nowhere."""
    with store_of(store) as engine, engine.connect() as connection:
        rows = [
            (
                one.name, "live" if one.is_live() else "revoked" if one.revoked else "expired",
                f"{one.created:%Y-%m-%d}", f"{one.expires:%Y-%m-%d}",
            )
            for one in tokens.tokens(connection)
        ]  # fmt: skip
    wide_console().print(plain_table(("program", "state", "made", "expires"), rows))
