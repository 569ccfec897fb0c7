"""`rounds-hub store`: the audit store looked at, made anew, brought up to date, and filled from run folders.

In: a store's path or URL. Out: lines for a person, and an exit status for whoever runs it by a clock.
"""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from server.dashboard.export.html_export import export_html, verify_export
from server.dashboard.export.pdf_export import PDF, export_pdf, html_within
from server.dashboard.views.head import study_head
from server.dashboard.views.model import model_view
from server.store.append import Head
from server.store.database import open_store
from server.store.intake.ingest import find_outboxes, ingest
from server.store.migrations import HEAD
from server.store.rebuild import rebuild as make_anew
from server.store.transactions import writing
from server.store.triggers import make_triggers
from server.store.verification.verify import Verification
from server.store.verification.verify import verify as look_at
from shared.errors import StoreError
from shared.terminal.command_line import examples, program
from shared.trust.private_files import write_file
from shared.whole_file import PUBLIC

app = program("The audit store: proof that it is whole, and its upkeep.")
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="ROUNDS_STORE",
        help="path of an SQLite file, or postgresql://USER@HOST/NAME; a password is read from PGPASSWORD or .pgpass",
    ),
]
DEFAULT_STORE = "results/store.sqlite"


@app.command(
    epilog=examples(
        "rounds-hub store verify",
        "rounds-hub store verify --store postgresql://rounds@db/audit --head 4711:9f2c41d0...",
    )
)
def verify(
    store: StoreOption = DEFAULT_STORE,
    head: Annotated[
        str | None,
        typer.Option(help="NUMBER:SEAL that an earlier look printed; shows whether records were cut off"),
    ] = None,
) -> None:
    """Compute every hash again and compare every row that pages read; exit status 1 when anything is found.

    Keep the head that it prints, away from this machine: it proves later that nothing before it was cut off.
    """
    kept = None if head is None else _head(head)
    found = look_at(open_store(store, must_exist=True), kept)
    for sentence in found.findings:
        typer.echo(f"FOUND {sentence}")
    typer.echo(_in_words(found))
    if found.findings:
        raise typer.Exit(1)


@app.command(epilog=examples("rounds-hub store rebuild"))
def rebuild(store: StoreOption = DEFAULT_STORE) -> None:
    """Make the tables that pages read anew from the records; evidence is only read."""
    with writing(open_store(store, must_exist=True)).begin() as connection:
        count = make_anew(connection)
    typer.echo(f"Made anew from {count:,} records.")


@app.command(epilog=examples("rounds-hub store migrate --store postgresql://owner@db/audit"))
def migrate(store: StoreOption = DEFAULT_STORE) -> None:
    """Make the tables, or bring them to this version; opening a store does so too, where its account may."""
    with writing(open_store(store)).begin() as connection:
        make_triggers(connection)
    typer.echo(f"The store's tables are those of this version ({HEAD}).")


@app.command(
    name="ingest",
    epilog=examples("rounds-hub store ingest results", "rounds-hub store ingest results/latest"),
)
def take_in(
    results: Annotated[Path, typer.Argument(help="a run's folder, or the folder of all runs")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Take the records of runs on this machine into the store; exit status 1 when one does not fit."""
    outboxes = find_outboxes(results)
    if not outboxes:
        raise StoreError(
            f"results: no run in {str(results)!r} has records for the store; give another folder"
        )
    engine, failed = open_store(store), False
    for source, outbox in outboxes:
        try:
            typer.echo(f"{source}: {ingest(engine, outbox, source):,} new records")
        except StoreError as error:
            typer.echo(f"Error: {error}", err=True)
            failed = True
    if failed:
        raise typer.Exit(1)


def _head(text: str) -> Head:
    number, _, seal = text.partition(":")
    if not number.isdecimal() or len(seal) != 64:
        raise StoreError(f"head is {text!r}, allowed is NUMBER:SEAL as `rounds-hub store verify` prints it")
    return Head(int(number), seal)


def _in_words(found: Verification) -> str:
    counted = f"{found.num_records:,} records and {found.num_blobs:,} blobs looked at"
    if found.findings:
        return f"{counted}: NOT WHOLE, {len(found.findings)} found."
    return f"{counted}: whole. Head {found.head.seq}:{found.head.chain}"


@app.command(
    epilog=examples(
        "rounds-hub store export 5f0c... --out audit.html", "rounds-hub store export 5f0c... --out audit.pdf"
    )
)
def export(
    study_uid: Annotated[str, typer.Argument(help="the study's uid, as the page Studies shows it")],
    out: Annotated[
        Path,
        typer.Option(
            help="the file to write, .html, or .pdf, which Chromium prints; one that is there stays"
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the whole audit of a study as one file that opens from disk, prints, and proves itself."""
    if out.suffix not in {".html", ".pdf"}:
        raise StoreError(f"--out {out.name}: ends with .html or .pdf; give it one of these")
    with open_store(store, must_exist=True).connect() as connection:
        text, head = export_html(connection, study_uid), study_head(connection, study_uid)
        card = {} if head is None else dict(model_view(connection, head).card or {})
    content = text.encode() if out.suffix == ".html" else export_pdf(text, card)
    write_file(out, content, mode=PUBLIC)
    typer.echo(f"{out}: {len(content) / 1e6:.1f} MB, SHA-256 {hashlib.sha256(content).hexdigest()}")


@app.command(
    name="verify-export",
    epilog=examples(
        "rounds-hub store verify-export audit.html",
        "rounds-hub store verify-export audit.pdf",
        "rounds-hub store verify-export audit.html --against 5f0c...",
    ),
)
def verify_exported(
    file: Annotated[Path, typer.Argument(help="the file that was exported")],
    against: Annotated[
        str | None, typer.Option(help="a study's uid: make the file again and compare every byte")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Say whether an exported file is as it was made; exit status 1 when one byte differs."""
    try:
        content = file.read_bytes()
        text = html_within(content) if content.startswith(PDF) else content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"export {file.name}: cannot be read; name the file that was exported") from error
    verify_export(text)
    if against is not None:
        with open_store(store, must_exist=True).connect() as connection:
            if export_html(connection, against) != text:
                raise StoreError(
                    "export: the store holds other records now; compare the part Proof of both files"
                )
    typer.echo("unchanged" + ("" if against is None else ", and what the store holds"))
