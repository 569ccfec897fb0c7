"""What a request costs a site, and what the hub hears of it: open the ledger, charge, state.

In: the request and the study's public numbers. Out: rows in the ledger, refusals, and a statement through the door.
Nothing here reads a patient.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from client.ledger.ledger import Ledger, RequestKey, Reservation
from client.rounds.egress import Door
from client.site.site import Site
from shared.config.kinds import ReleaseKind
from shared.config.study import StudyConfig
from shared.errors import ErrorCode, Refusal
from shared.messages.releases import Release
from shared.messages.requests import Request
from shared.privacy.mechanisms import Declared, Mechanism


def may_leave(site: Site, kind: ReleaseKind) -> None:
    """Refuse, before anything is charged or drawn, a kind of release that the hospital keeps in."""
    if kind not in site.config.allow_releases:
        raise Refusal(ErrorCode.RELEASE_NOT_ALLOWED, f"allow_releases does not list {kind}")


@contextmanager
def checked_ledger(site: Site, request: Request) -> Iterator[Ledger]:
    """Open the ledger; `LedgerError` where it lacks the head that it stated to the hub before."""
    known = request.header.known_head
    with site.ledger() as ledger:
        if known is not None:
            ledger.require_head(known.seq, known.hash)
        yield ledger


def charge_weights(site: Site, ledger: Ledger, study: StudyConfig) -> None:
    """Charge, once a file, what the weights had spent on this hospital's patients when they came.

    Weights that the hospital does not list may hold anything of its patients: they end the guarantee for good.
    """
    for digest, spend in site.weights_spends(study).items():
        if isinstance(spend, Declared):
            ledger.record_declared(digest, spend.epsilon, spend.delta)
        else:
            ledger.record_unlisted(digest)


def reserve(
    site: Site, ledger: Ledger, request: Request, mechanism: Mechanism, partition: str
) -> Reservation:
    """Charge the ledger before any patient is sampled."""
    header = request.header
    key = RequestKey(study_uid=header.study_uid, round=header.round, kind=header.kind)
    return ledger.reserve(
        key,
        header.base_digest,
        mechanism,
        partition,
        site.config.cap,
        allow_without_privacy=site.config.allow_without_privacy,
    )


def statement(site: Site, ledger: Ledger, study: StudyConfig, request: Request) -> dict[str, bytes]:
    """State what was spent so far, where the hospital lets statements out."""
    if "ledger_statement" not in site.config.allow_releases:
        return {}
    stated = ledger.statement(
        study.privacy.delta,
        site=site.config.name,
        span=site.span,
        shown_cap=site.config.cap if site.config.show_cap else None,
    )
    release = Release(request.header.study_uid, request.header.round, stated)
    return {"ledger_statement": Door(site.config).let_out(release, None)}
