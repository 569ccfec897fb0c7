"""`rounds-site`: the hospital's command line. It translates words into calls, and findings into lines.

In: the hospital's own files. Out: text on this machine, with counts of the hospital's data: it is for the people
of the hospital, and nothing of it is sent.
"""

import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from client import federation_commands, node_commands
from client.check import check_site
from client.check_admission import admission_finding
from client.check_hub import hub_findings
from client.cli_arguments import SiteFile, StudyFile, head_of
from client.cli_code import code_app
from client.cli_forget import FORGET_EXAMPLES, forget
from client.cli_preview import PREVIEW_EXAMPLES, preview
from client.cli_study import study_app
from client.findings import Finding
from client.ledger import Ledger
from client.ledger_file import LedgerFile
from client.ledger_schema import Row
from client.setup.command import SETUP_EXAMPLES, setup
from client.site import Site
from client.telling import tell
from shared.command_line import AsJson, examples, program
from shared.config_files import parse_site, read_site, read_site_yaml, read_study
from shared.data.images import refused_images
from shared.data.same_pictures import same_pictures
from shared.data.tree import resolved
from shared.errors import ConfigError, LedgerError
from shared.release_kinds import KEPT_SIMULATION, THIS_RUN_ALONE, Span
from shared.site_config import SiteConfig
from shared.tables import plain_table, wide_console

app = program(
    "A site of Teaching Rounds: join a federation, check the hospital's data and rules, look into its ledger."
)
ledger_app = typer.Typer(
    help="Look into the ledger: what was spent, and whether it is whole.", no_args_is_help=True
)
app.add_typer(ledger_app, name="ledger")
app.add_typer(code_app, name="code")
app.add_typer(study_app, name="study")
app.command(epilog=FORGET_EXAMPLES)(forget)
app.command(epilog=PREVIEW_EXAMPLES)(preview)
app.command(epilog=SETUP_EXAMPLES)(setup)
app.add_typer(federation_commands.app)
ledger_app.command("new-head", epilog=examples("rounds-site ledger new-head site.yaml --head 8:3fa9..."))(
    federation_commands.new_head
)
app.add_typer(node_commands.app)

_COLUMNS = ("row", "kind", "study", "round", "request", "partition", "spends", "hash")
SiteState = Annotated[
    Path | None,
    typer.Option("--site-state", help="ledgers of a simulation: the `sites` folder of its result folder"),
]


@app.command(
    epilog=examples(
        "rounds-site check site.yaml study.yaml",
        "rounds-site check site.yaml study.yaml --offline",
        "rounds-site check site.yaml study.yaml --json > check.json",
    )
)
def check(
    site: SiteFile,
    study: StudyFile,
    site_state: SiteState = None,
    hub: Annotated[
        str | None, typer.Option("--hub", metavar="HOST:PORT", help="another hub than that of site.yaml")
    ] = None,
    hub_ca: Annotated[
        Path | None, typer.Option("--hub-ca", metavar="FILE", help="the federation's CA certificate, PEM")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="leave the way to the hub out: send nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check data, weights, rules, machine, ledger, budget and the way to the hub before joining.

    Each line is ok, warn (look at it) or fail (repair it), with what to do. Exit status 1 when a line fails. Writes
    nothing: no ledger is begun and no patient's partition is fixed. Cached targets of studies that ended or are no
    longer approved are purged.
    """
    opened = Site(_site_config(site, site_state))
    asked = read_study(study)
    findings = chain(check_site(opened, asked), () if offline else _network(opened.config, hub, hub_ca))
    if not tell(findings, opened.config.name, asked.name, as_json=as_json):
        raise typer.Exit(1)


@app.command(epilog=examples("rounds-site refused site.yaml study.yaml > look-at.txt"))
def refused(site: SiteFile, study: StudyFile) -> None:
    """List the files that are not used: kind, tab, path. For a person who looks at them, on this machine only.

    A line of a table that cannot be used stands under the table's own path, or that of its image. Pictures that stand
    under several patients or labels, by content, are listed as same_picture, although they are used.

    A list of pictures with suspected text, less those that name somebody, can serve as data.dicom.reviewed.
    """
    opened, asked = Site(read_site(site)), read_study(study)
    found = opened.records(asked)
    left_out = ((one.kind, one.file) for one in found.left_out if one.file is not None)
    same = (("same_picture", record.file) for one in same_pictures(found.patients) for record in one.records)
    for kind, file in (*left_out, *refused_images(found.patients, asked.task), *same):
        typer.echo(f"{kind}\t{_printable(file)}")


@ledger_app.command(
    epilog=examples(
        "rounds-site ledger show site.yaml",
        "rounds-site ledger show results/workspaces/phantoms/sites/film.yaml --site-state results/latest/sites",
    )
)
def show(site: SiteFile, site_state: SiteState = None) -> None:
    """Show every row, what each partition's patients have spent, the cap and the head."""
    config = _site_config(site, site_state)
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


@ledger_app.command(
    epilog=examples(
        "rounds-site ledger verify site.yaml", "rounds-site ledger verify site.yaml --head 8:3fa9..."
    )
)
def verify(
    site: SiteFile,
    site_state: SiteState = None,
    head: Annotated[
        str | None, typer.Option(help="ROW:HASH that a report or the hub remembers; the ledger must have it")
    ] = None,
) -> None:
    """Recompute every hash and reply; exit status 1 when a row is missing, edited or not the remembered one."""
    config = _site_config(site, site_state)
    with _existing(config) as ledger:
        number = ledger.verify()
        if head is not None:
            ledger.require_head(*head_of(head))
    typer.echo(f"{config.name}: {number} rows, whole, and equal to the head file")


def _printable(file: Path) -> str:
    """Return a file's own place; bytes of its name that are no UTF-8 are escaped."""
    return os.fsencode(resolved(file)).decode(errors="backslashreplace")


def _network(config: SiteConfig, hub: str | None, hub_ca: Path | None) -> Iterator[Finding]:
    """Yield what is asked of the hub; nothing where the site has joined none and none is named."""
    if (hub is None) != (hub_ca is None):
        lacking = "--hub-ca" if hub_ca is None else "--hub"
        raise ConfigError(f"{lacking} is missing, needed are --hub and --hub-ca together; see --help")
    if config.hub is not None and hub is None:
        hub, hub_ca = config.hub.address, config.hub.ca_file
    if hub is None or hub_ca is None:
        return
    failed = False
    for finding in hub_findings(hub, hub_ca):
        yield finding
        failed |= finding.mark == "fail"
    if not failed:
        yield admission_finding(hub, hub_ca, config.keys_dir)


def _site_config(path: Path, site_state: Path | None) -> SiteConfig:
    """Read a site file; a simulation keeps each site's state below one folder, as `client/app.py` says."""
    raw = read_site_yaml(path)
    if site_state is not None and "name" in raw:
        raw |= {
            "state_dir": str(site_state / str(raw["name"])),
            "head_file": str(site_state / "heads" / f"{raw['name']}.head"),
        }
    return parse_site(raw, path.name)


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
