"""`rounds-site check` and `refused`: what is to be repaired or looked at before joining.

In: the hospital's own files. Out: text on this machine, with counts of the hospital's data: it is for the people
of the hospital, and nothing of it is sent.
"""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from client.cli.arguments import DEFAULT_SITE, SiteFile, SiteState, StudyFile, site_config_of
from client.cli.output import tell
from client.readiness.admission_check import admission_finding
from client.readiness.finding import Finding
from client.readiness.hub_check import hub_findings
from client.readiness.site_check import check_site
from client.review.study_lookup import asked_study
from client.site.site import Site
from shared.config.files import read_site
from shared.config.site import SiteConfig
from shared.data.images import refused_images
from shared.data.same_pictures import same_pictures
from shared.data.tree import resolved
from shared.errors import ConfigError
from shared.terminal.command_line import AsJson, examples

app = typer.Typer()


@app.command(
    epilog=examples(
        "rounds-site check                                     # this folder's site.yaml, the study approved last",
        "rounds-site check /site/site.yaml lungs.study",
        "rounds-site check site.yaml study.yaml --offline",
        "rounds-site check site.yaml study.yaml --json > check.json",
    )
)
def check(
    site: SiteFile = DEFAULT_SITE,
    study: StudyFile = None,
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
    opened = Site(site_config_of(site, site_state))
    asked = asked_study(site, study)
    findings = chain(check_site(opened, asked), () if offline else _network(opened.config, hub, hub_ca))
    if not tell(findings, opened.config.name, asked.name, as_json=as_json):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "rounds-site refused > look-at.txt", "rounds-site refused site.yaml study.yaml > look-at.txt"
    )
)
def refused(site: SiteFile = DEFAULT_SITE, study: StudyFile = None) -> None:
    """List the files that are not used: kind, tab, path. For a person who looks at them, on this machine only.

    A line of a table that cannot be used stands under the table's own path, or that of its image. Pictures that stand
    under several patients or labels, by content, are listed as same_picture, although they are used.

    A list of pictures with suspected text, less those that name somebody, can serve as data.dicom.reviewed.
    """
    opened, asked = Site(read_site(site)), asked_study(site, study)
    found = opened.records(asked)
    left_out = ((one.kind, one.file) for one in found.left_out if one.file is not None)
    same = (("same_picture", record.file) for one in same_pictures(found.patients) for record in one.records)
    for kind, file in (*left_out, *refused_images(found.patients, asked.task), *same):
        typer.echo(f"{kind}\t{_printable(file)}")


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
