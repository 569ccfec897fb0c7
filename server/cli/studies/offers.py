"""`rounds-hub study offer|accept|offers`: one parcel to each hospital, one answer from each.

In: a prepared workspace, and the files that hospitals send back. Out: one file to send, and who approved what.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.cli.studies.typed_settings import SetOption, typed_settings
from server.hub.bundle_registry import Registry
from server.hub.hub_folder import HubFolder, open_hub
from server.presentation.formatting import in_bytes
from server.studies.offered_studies import Offers, day_of
from shared.errors import TrustError
from shared.terminal.command_line import AsJson, examples
from shared.terminal.tables import plain_table, wide_console

app = typer.Typer()
OFFER_EXAMPLES = examples(
    "rounds-hub study offer results/workspaces/phantoms --out lungs.study",
    "rounds-hub study offer /data/workspace --set privacy.epsilon=3 --bundle rounds.fab --out lungs.study",
)
ACCEPT_EXAMPLES = examples("rounds-hub study accept north.answer.json")
OFFERS_EXAMPLES = examples("rounds-hub study offers", "rounds-hub study offers --json")
_COLUMNS = ("study", "digest", "offered", "approved by", "no answer yet")


@app.command(epilog=OFFER_EXAMPLES)
def offer(
    workspace: Annotated[Path, typer.Argument(help="folder made by `make prepare`")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.study", help="new file, for every hospital")],
    set_: SetOption = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="FILE.fab", help="made by `flwr build`; this program's own when not given"
        ),
    ] = None,
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Write one file with the study as it will be asked, its code and its weights, sealed by this hub.

    Nothing of the study is left open: `rounds-hub study submit` with the same --set asks just what sites approve.
    """
    from server.studies.study_offer import make_offer  # noqa: PLC0415 - these load torch, which `accept` and `offers` do not need
    from shared.messages.study_releases import study_releases  # noqa: PLC0415
    from shared.messages.traffic_forecast import num_trained, round_traffic  # noqa: PLC0415

    opened = open_hub(hub)
    made = make_offer(opened, workspace, typed_settings(set_ or []), bundle, out, datetime.now(UTC))
    study, told = made.study, made.offer
    typer.echo(f"study    {study.name}, digest {told.study}, until {study.expires}")
    typer.echo(f"code     {told.app}, sha256 {told.bundle}")
    typer.echo(f"weights  teacher {study.models.teacher.sha256}")
    typer.echo(f"         initial student {study.models.initial_sha256}")
    for sentence in study_releases(study).values():
        typer.echo(f"leaves   {sentence}")
    typer.echo(f"traffic  {round_traffic(study, num_trained(study))}")
    typer.echo(f"{out}: {in_bytes(made.num_bytes)}, sealed as {told.parcel}")
    typer.echo(
        "Send it to each hospital, which types `rounds-site study take`; then `rounds-hub study accept` its answer."
    )


@app.command(epilog=ACCEPT_EXAMPLES)
def accept(
    answer: Annotated[Path, typer.Argument(metavar="ANSWER", help="NAME.answer.json, as a hospital sent it")],
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Take in a hospital's answer: its signatures on the code, and its approval of the study."""
    opened = open_hub(hub)
    offered, found = Offers(opened.path / "offers").accept(
        answer,
        opened.invitation().fingerprint,
        lambda site: _approval_key(opened, site),
        Registry(opened.path / "registry"),
    )
    typer.echo(f"{found.site} approves study {offered.name}, digest {found.study}, and code {found.bundle}.")
    admitted = _admitted(opened)
    approved = _by_admitted(Offers(opened.path / "offers"), offered.study, admitted)
    missing = [site for site in admitted if site not in approved]
    typer.echo(
        f"Approved by {', '.join(approved)}; no answer yet from {', '.join(missing) or 'nobody else'}."
    )
    typer.echo(f"When enough have answered: {offered.again}")


@app.command(epilog=OFFERS_EXAMPLES)
def offers(hub: HubOption = DEFAULT_HUB, as_json: AsJson = False) -> None:
    """List what was offered, which sites approved it and when, and whose answer has not come."""
    opened = open_hub(hub)
    kept, admitted = Offers(opened.path / "offers"), _admitted(opened)
    found = {one.study: one for one in kept.all()}
    rows = []
    for study, one in found.items():
        approved = _by_admitted(kept, study, admitted)
        missing = [site for site in admitted if site not in approved]
        rows.append((one, approved, missing))
    if as_json:
        shown = [
            {
                "study": one.name,
                "digest": one.study,
                "offered": day_of(one.made),
                "approved": approved,
                "missing": missing,
            }
            | {"app": one.app, "bundle": one.bundle, "parcel": one.parcel, "submit": one.again}
            for one, approved, missing in rows
        ]
        typer.echo(json.dumps(shown, indent=1))
        return
    cells = (
        (one.name, one.study[:12], day_of(one.made), ", ".join(approved), ", ".join(missing))
        for one, approved, missing in rows
    )
    wide_console().print(plain_table(_COLUMNS, cells))


def _approval_key(hub: HubFolder, site: str) -> str:
    """Return the approval key of an admitted site; `TrustError` for any other name."""
    with hub.sites() as listed:
        admitted = {row.name: row.approval_key for row in listed.admitted()}
    if site not in admitted:
        raise TrustError(
            f"site {site!r}: is not admitted here, admitted are: {', '.join(admitted) or 'none'}; admit it first with "
            "`rounds-hub admit`"
        )
    return admitted[site]


def _by_admitted(offers: Offers, study: str, admitted: list[str]) -> dict[str, str]:
    """Return the day on which each site that belongs now approved a study."""
    return {site: day for site, day in offers.approved_by(study).items() if site in admitted}


def _admitted(hub: HubFolder) -> list[str]:
    with hub.sites() as listed:
        return [row.name for row in listed.admitted()]
