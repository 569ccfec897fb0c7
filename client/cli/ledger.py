"""`rounds-site ledger`: what was spent, whether the ledger is whole, and a lost head file.

In: the hospital's own files. Out: text on this machine for the people of the hospital; nothing of it is sent.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteFile, SiteState, head_of, site_config_of
from client.ledger.head_recovery import make_head_file
from client.ledger.ledger import Ledger
from client.ledger.ledger_file import LedgerFile
from client.ledger.ledger_schema import Row
from shared.config.files import read_site
from shared.config.site import SiteConfig
from shared.errors import LedgerError
from shared.messages.release_kinds import KEPT_SIMULATION, THIS_RUN_ALONE, Span
from shared.terminal.command_line import examples
from shared.terminal.tables import plain_table, wide_console

app = typer.Typer(help="Look into the ledger: what was spent, and whether it is whole.", no_args_is_help=True)
_COLUMNS = ("row", "kind", "study", "round", "request", "partition", "spends", "hash")


@app.command("new-head", epilog=examples("rounds-site ledger new-head site.yaml --head 8:3fa9..."))
def new_head(
    site: SiteFile,
    head: Annotated[str, typer.Option(help="ROW:HASH of the newest report, or as the hub remembers it")],
) -> None:
    """Write a lost head file anew, once somebody else's memory of the ledger agrees with the ledger."""
    config = read_site(site)
    rows, after = make_head_file(config.state_dir / "ledger.sqlite", config.head_file, *head_of(head))
    typer.echo(
        f"{config.head_file}: written anew, {rows} rows, {after} of them newer than the head you gave."
    )


@app.command(
    epilog=examples(
        "rounds-site ledger show site.yaml",
        "rounds-site ledger show results/workspaces/phantoms/sites/film.yaml --site-state results/latest/sites",
    )
)
def show(site: SiteFile = DEFAULT_SITE, site_state: SiteState = None) -> None:
    """Show every row, what each partition's patients have spent, the cap and the head."""
    config = site_config_of(site, site_state)
    with _existing(config) as ledger:
        rows = LedgerFile(_ledger_path(config), config.head_file).rows()
        stated = ledger.statement(config.cap.delta, site=config.name, span=_span(rows, site_state))
    console = wide_console()
    console.print(plain_table(_COLUMNS, map(_cells, rows)))
    for part in stated.partitions:
        spent = "no guarantee holds" if part.epsilon is None else f"epsilon {part.epsilon:.4g}"
        console.print(f"{part.partition} patients: {spent} at delta {stated.delta:g} ({part.accountant})")
    console.print(f"cap: epsilon {config.cap.epsilon:g} at delta {config.cap.delta:g}; span: {stated.span}")
    console.print(f"head: {stated.head_seq}:{stated.head_hash}", soft_wrap=True)


@app.command(
    epilog=examples(
        "rounds-site ledger verify site.yaml", "rounds-site ledger verify site.yaml --head 8:3fa9..."
    )
)
def verify(
    site: SiteFile = DEFAULT_SITE,
    site_state: SiteState = None,
    head: Annotated[
        str | None, typer.Option(help="ROW:HASH that a report or the hub remembers; the ledger must have it")
    ] = None,
) -> None:
    """Recompute every hash and reply; exit status 1 when a row is missing, edited or not the remembered one."""
    config = site_config_of(site, site_state)
    with _existing(config) as ledger:
        number = ledger.verify()
        if head is not None:
            ledger.require_head(*head_of(head))
    typer.echo(f"{config.name}: {number} rows, whole, and equal to the head file")


def _span(rows: Sequence[Row], site_state: Path | None) -> Span:
    """Say what a ledger adds up; one that a simulation kept holds more than one study."""
    if site_state is None:
        return "all runs"
    return KEPT_SIMULATION if len({row.study_uid for row in rows}) > 1 else THIS_RUN_ALONE


def _ledger_path(config: SiteConfig) -> Path:
    return config.state_dir / "ledger.sqlite"


def _existing(config: SiteConfig) -> Ledger:
    """Open a ledger that is there; looking at one must not begin it."""
    path = _ledger_path(config)
    if not path.is_file():
        raise LedgerError(
            f"ledger {path}: there is none; check state_dir, or give --site-state for a simulated site"
        )
    return Ledger.open(path, config.head_file)


def _cells(row: Row) -> tuple[str, ...]:
    mechanism = json.loads(row.mechanism) if row.mechanism else {}
    spends = ", ".join(f"{name} {value}" for name, value in mechanism.items() if name != "kind")
    return (
        str(row.seq),
        row.kind,
        row.study_uid[:12],
        str(row.round),
        row.request_kind,
        row.partition,
        f"{mechanism['kind']} {spends}".strip() if mechanism else "",
        row.hash[:12],
    )
