"""All that the hub knows of each site, gathered in one place for `rounds-hub sites` and the dashboard.

In: the hub's folder: list of sites, status of its services, registry, studies, and what else tells how a site stands
(`server.connections.site_answers.SOURCES`). Out: one frozen value. Nothing is asked of the network and nothing is
written; simulated hospitals never stand here, for only a site whose key was admitted, or that was invited by name,
does.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from server.connections.next_steps import (
    NEVER_CAME,
    NOT_KNOWN,
    NOT_REGISTERED,
    ONLINE,
    Known,
    SiteFacts,
    Situation,
    lacks,
    nothing_to_do,
)
from server.connections.site_answers import SOURCES, AnswerSource, SiteAnswer, newest_study, site_answers
from server.hub.admitted_sites import AdmittedSite, read_sites
from server.hub.bundle_registry import OfferedBundle, Registry
from server.hub.hub_folder import HubFolder
from server.hub.hub_state import NEVER_CAME as FLOWERS_NEVER
from server.hub.hub_state import HubState, read_hub_state
from shared.errors import RoundsError
from shared.messages.refusal_meanings import Turn
from shared.trust.bundle_signatures import Signatures, fingerprint

SOON_DAYS: Final = 30  # before its end a certificate should be renewed


@dataclass(frozen=True)
class Connection:
    """One site: what is known, what is missing, whose turn it is, and one sentence on what to do next."""

    facts: SiteFacts
    missing: tuple[str, ...]
    turn: Turn
    next_step: str
    key: str = ""  # fingerprint of the keys that it was admitted with


@dataclass(frozen=True)
class Certificate:
    """One of the hub's certificates, and how many whole days it still holds."""

    what: str
    ends: datetime
    days: int

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        return "ended" if self.days < 0 else "ends soon" if self.days < SOON_DAYS else "holds"


@dataclass(frozen=True)
class Connections:
    """The federation as the hub sees it at `gathered`; `notes` are sentences on what could not be read."""

    federation: str
    address: str
    hub: HubState
    certificates: tuple[Certificate, ...]
    situation: Situation
    sites: tuple[Connection, ...]
    notes: tuple[str, ...]
    gathered: datetime

    @property
    def finding(self) -> str:
        """One sentence: who is here, and whose turn it is."""
        here = [one for one in self.sites if one.facts.standing == "admitted"]
        if not self.sites:
            return "No site is admitted or invited yet."
        online = sum(one.facts.connection == ONLINE for one in here)
        invited = sum(one.facts.standing == "invited" for one in self.sites)
        turns = [
            f"it is {whose} turn at {number}"
            for turn, whose in (("hub", "the hub's"), ("hospital", "the hospital's"))
            if (number := sum(one.turn == turn for one in self.sites))
        ]
        first = f"{len(here)} admitted, {invited} invited, {online} online"
        return f"{first}; {', '.join(turns) or 'nothing is missing'}."


def gather(
    hub: HubFolder,
    *,
    state: HubState | None = None,
    sources: Iterable[AnswerSource] = SOURCES,
    now: datetime | None = None,
) -> Connections:
    """Gather what is known; `state` is what was asked live, else what the hub's services last wrote.

    `ConfigError` or `TrustError` where the hub's folder itself cannot be read; what else cannot is a note.
    """
    now, notes = now or datetime.now(UTC), list[str]()
    invitation, state = hub.invitation(), state or read_hub_state(hub)
    admitted, invited = read_sites(hub.sites_file)
    bundles, signatures = _registry(hub, notes)
    answers = _answers(hub, sources, notes)
    situation = _situation(hub, state, bundles, notes)
    belong = {row.name for row in admitted if row.removed is None}
    facts = [
        _facts(
            row, state, _code(row, bundles, signatures, answers.get(row.name)), answers.get(row.name), belong
        )
        for row in admitted
    ]
    known = {row.name.lower() for row in admitted}
    facts += [
        SiteFacts(one.name, "invited", _time(one.invited)) for one in invited if one.name.lower() not in known
    ]
    keys = [row.fingerprint for row in admitted] + [""] * (len(facts) - len(admitted))
    return Connections(
        invitation.federation,
        invitation.address,
        state,
        tuple(_certificates(hub, now)),
        situation,
        tuple(_connection(one, situation, key) for one, key in zip(facts, keys, strict=True)),
        tuple(notes),
        now,
    )


def _connection(facts: SiteFacts, at: Situation, key: str) -> Connection:
    found = lacks(facts, at)
    if not found:
        return Connection(facts, (), "nobody", nothing_to_do(facts, at), key)
    return Connection(facts, tuple(one.what for one in found), found[0].turn, found[0].sentence, key)


def _facts(
    row: AdmittedSite, state: HubState, code: Known, answer: SiteAnswer | None, belong: set[str]
) -> SiteFacts:
    if row.removed is not None:
        return SiteFacts(row.name, "removed", _time(row.removed), is_back=row.name in belong)
    node = None if state.nodes is None else state.nodes.get(row.name)
    connection = NOT_KNOWN if state.nodes is None else NOT_REGISTERED if node is None else node.state
    seen = state.as_of if connection == ONLINE else _time(node.seen) if node and node.seen else None
    return SiteFacts(
        row.name,
        "admitted",
        _time(row.admitted),
        NEVER_CAME if connection == FLOWERS_NEVER else connection,
        seen,
        code,
        _known(answer and answer.approval),
        _known(answer and answer.data),
        answer,
    )


def _known(said: object) -> Known:
    yes, how = getattr(said, "yes", None), getattr(said, "how", "")
    return Known() if yes is None else Known("yes" if yes else "no", how)


def _code(
    row: AdmittedSite,
    bundles: tuple[OfferedBundle, ...],
    signatures: Mapping[str, Signatures],
    answer: SiteAnswer | None,
) -> Known:
    """Compare what a site signed with what is offered; a refusal that came later than its signature counts."""
    held = signatures.get(row.name)
    signed = (
        {}
        if held is None or not _same_key(held, row)
        else {one.sha256: one.signed_at for one in held.bundles}
    )
    mine = [one for one in bundles if one.sha256 in signed]
    if not mine:
        return Known("no", "withdrawn") if held is not None else _known(answer and answer.code)
    newest, last = bundles[-1], mine[-1]
    refused = answer is not None and answer.code is not None and _time(answer.time).timestamp()
    if refused and refused >= signed[last.sha256]:
        return Known("no", f"refused in {answer.stage}" if answer else "")
    if last.sha256 == newest.sha256:
        return Known("yes", last.version)
    return Known("no", f"{last.version}, not the newest")


def _same_key(held: Signatures, row: AdmittedSite) -> bool:
    return fingerprint(held.approval_key) == fingerprint(row.approval_key)


def _registry(hub: HubFolder, notes: list[str]) -> tuple[tuple[OfferedBundle, ...], Mapping[str, Signatures]]:
    registry = Registry(hub.registry)
    try:
        return registry.offered(), {one.site: one for one in registry.signatures()}
    except (RoundsError, OSError, ValueError) as error:
        notes.append(f"App bundles cannot be read: {error}")
        return (), {}


def _answers(hub: HubFolder, sources: Iterable[AnswerSource], notes: list[str]) -> Mapping[str, SiteAnswer]:
    try:
        return site_answers(hub, sources)
    except (RoundsError, OSError, ValueError) as error:
        notes.append(f"What sites answered cannot be read: {error}")
        return {}


def _situation(
    hub: HubFolder, state: HubState, bundles: tuple[OfferedBundle, ...], notes: list[str]
) -> Situation:
    study, name = newest_study(hub), ""
    submission_state = ""
    if study is not None:
        name = study.path.name
        try:
            submission_state = study.read().state
        except RoundsError as error:
            notes.append(str(error))
    bundle = f"{bundles[-1].version} ({bundles[-1].sha256[:12]})" if bundles else ""
    return Situation(state.serves, bundle, name, submission_state)


def _certificates(hub: HubFolder, now: datetime) -> Iterator[Certificate]:
    for what, held in (("hub", hub.certificate()), ("CA", hub.ca())):
        ends = held.not_valid_after_utc
        yield Certificate(what, ends, (ends - now).days)


def _time(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)
