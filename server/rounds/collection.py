"""One stage of a study: the same request to every site, and what each answer is worth.

In come the weights that go out and the sites' answers as bytes; out come the releases that were accepted and,
by name, why others are missing. Nothing is believed before it has been checked here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from server.rounds.aggregation import RunningMean, rounding_error, update_norm
from server.rounds.exchange import Answer, Exchange
from server.runs.checkpoints import StudyState
from server.runs.enrolled_site import EnrolledSite
from server.runs.run_folder import RunFolder
from server.runs.study_journal import ACCEPTED, plain
from server.store.record_kinds import Body, ReleaseBody, StatementBody
from shared.code_digest import code_digest
from shared.config.kinds import ReleaseKind, RequestKind
from shared.config.study import StudyConfig
from shared.errors import RoundsError, StudyError
from shared.messages.refusal_meanings import NO_ANSWER
from shared.messages.releases import ErrorRelease, LedgerStatement, Release, Shapes, decode_release
from shared.messages.requests import LedgerHead, Request, RequestHeader, encode_request
from shared.messages.stages import STAGES
from shared.models.arrays import Arrays, arrays_digest
from shared.privacy.bounds import update_norm_bound
from shared.privacy.step_plan import step_plan


@dataclass(frozen=True)
class Stage:
    """One request to all sites: its round and kind, and the weights that go with it."""

    round: int
    kind: RequestKind
    weights: Arrays

    @cached_property
    def base_digest(self) -> str:
        """Digest of the weights, taken once: every answer is held against it."""
        return arrays_digest(self.weights)


@dataclass
class Collected:
    """What came back from one stage, by site: releases, bytes, why others are missing, who was asked again.

    Updates go into `mean` as they come, and their releases keep no arrays: those of many sites would fill the memory.
    `heard` is what the audit store is to know of the answers.
    `rounding` says how far float16 can have moved an update, over its norm, where updates travel so.
    """

    releases: dict[str, Release] = field(default_factory=dict)
    statements: dict[str, LedgerStatement] = field(default_factory=dict)
    num_bytes: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    asked_again: list[str] = field(default_factory=list)
    heard: list[Body] = field(default_factory=list)
    rounding: dict[str, float] = field(default_factory=dict)
    mean: RunningMean | None = None


def collect(
    study: StudyConfig,
    state: StudyState,
    stage: Stage,
    asked: tuple[EnrolledSite, ...],
    exchange: Exchange,
    folder: RunFolder,
    *,
    at_least: int = 0,
    before_sending: Callable[[], None] = lambda: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Collected:
    """Send the stage to the sites and sort what comes back; every site ends in releases or in missing.

    While fewer than `at_least` releases are in, a site that failed and is not connected is waited for. Requests leave
    when `before_sending` has returned; `meanwhile` is done once all is sent.
    """
    header = RequestHeader(
        study_uid=state.study_uid,
        round=stage.round,
        kind=stage.kind,
        study_json=study.canonical_json(),
        base_digest=stage.base_digest,
        code_digest=code_digest(),
    )
    by_node = {site.node_id: site for site in asked}
    heads = {node: known_head(state, site) for node, site in by_node.items()}
    collected = Collected()
    if stage.kind == "train":
        collected.mean = RunningMean({site.name: float(site.declared_patients) for site in asked})
    answers = exchange.ask(
        stage.kind,
        _Requests(header, stage.weights, heads, before_sending),
        study.federation.deadline_seconds,
        enough=lambda: len(collected.releases) >= at_least,
        meanwhile=meanwhile,
        number=stage.round,
    )
    for answer in answers:
        if answer.late_for is not None:
            record_late(answer, asked, folder)
            continue
        site = by_node[answer.node_id]
        if answer.asked_again:
            collected.asked_again.append(site.name)
            folder.record_event("asked_again", round=stage.round, kind=stage.kind, site=site.name)
            continue
        try:
            accept(study, state, stage, site, answer, collected)
        except RoundsError as error:
            collected.missing[site.name] = str(error)
        collected.heard += release_body(stage, site, answer, collected.missing.get(site.name, ACCEPTED))
        folder.record_event(
            "answered",
            round=stage.round,
            kind=stage.kind,
            site=site.name,
            outcome=collected.missing.get(site.name, ACCEPTED),
            epsilon=collected.statements[site.name].epsilon if site.name in collected.statements else None,
        )
    for site in asked:
        if site.name not in collected.releases and site.name not in collected.missing:
            collected.missing[site.name] = NO_ANSWER
            folder.record_event("deadline", round=stage.round, site=site.name)
    return collected


def record_late(answer: Answer, sites: Iterable[EnrolledSite], folder: RunFolder) -> None:
    """Write down that a site answered a stage that was closed without it, and what it says that it has spent.

    Nothing of the answer is used: the round is merged, and the site's own ledger has charged it.
    """
    if answer.late_for is None:
        return
    kind, number = answer.late_for
    names = [site.name for site in sites if site.node_id == answer.node_id]
    who = {"site": names[0]} if names else {"node": str(answer.node_id)}
    epsilon = None
    with suppress(RoundsError):
        statement = read_part(answer, "ledger_statement")
        if statement is not None and isinstance(statement.fields, LedgerStatement):
            epsilon = statement.fields.epsilon
    folder.record_event("late", round=number, kind=kind, **who, epsilon=epsilon)


@dataclass(frozen=True)
class _Requests(Mapping[int, bytes]):
    """What each node is sent, encoded as it leaves: the same weights, and the last head of that site's ledger.

    Kept encoded, the requests of many sites would fill the hub's memory with copies of the weights.
    """

    header: RequestHeader
    weights: Arrays
    heads: dict[int, LedgerHead | None]
    before_sending: Callable[[], None]

    def __getitem__(self, node: int) -> bytes:
        header = self.header.model_copy(update={"known_head": self.heads[node]})
        payload = encode_request(Request(header, self.weights))
        self.before_sending()
        return payload

    def __iter__(self) -> Iterator[int]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)


def accept(
    study: StudyConfig,
    state: StudyState,
    stage: Stage,
    site: EnrolledSite,
    answer: Answer,
    collected: Collected,
) -> None:
    """Check one answer and put it where it belongs; `StudyError` or `WeightsError` say why not."""
    if answer.parts is None:
        raise StudyError(answer.failure)
    collected.num_bytes[site.name] = answer.num_bytes
    accept_statement(state, stage, site, answer, collected)
    error = read_part(answer, "error")
    if error is not None and isinstance(error.fields, ErrorRelease):
        raise StudyError(str(error.fields.code))
    protocol = STAGES[stage.kind]
    expected = protocol.shapes(study, {name: array.shape for name, array in stage.weights.items()})
    release = read_part(answer, protocol.release, expected)
    if release is None:
        raise StudyError("sent nothing usable")
    if (release.study_uid, release.round) != (state.study_uid, stage.round):
        raise StudyError("answered another round; discarded")
    if release.fields.base != stage.base_digest:
        raise StudyError("answered for other base weights; discarded")
    if release.fields.array_type != protocol.array_type(study):
        raise StudyError("sent values of another type than the study asks for; discarded")
    if stage.kind == "train":
        check_update(study, stage.round, release.arrays, site.declared_patients)
        release = take_update(site, release, collected)
    collected.releases[site.name] = release


def take_update(site: EnrolledSite, release: Release, collected: Collected) -> Release:
    """Add a checked update to the mean; returns its release without the arrays."""
    if collected.mean is not None:
        collected.mean.add(site.name, release.arrays)
    if release.fields.array_type == "float16":
        collected.rounding[site.name] = rounding_error(release.arrays)
    return replace(release, arrays={})


def accept_statement(
    state: StudyState, stage: Stage, site: EnrolledSite, answer: Answer, collected: Collected
) -> None:
    """Take the ledger statement, if one came; `StudyError` where it is not this site's or its ledger lost rows."""
    statement = read_part(answer, "ledger_statement")
    if statement is None or not isinstance(statement.fields, LedgerStatement):
        return
    said = (statement.fields.site, statement.study_uid, statement.round)
    if said != (site.name, state.study_uid, stage.round):
        raise StudyError("sent a ledger statement of another site or round; discarded")
    known = known_head(state, site)
    follows = None if known is None else follows_head(known, statement.fields)
    collected.heard.append(StatementBody(round=stage.round, statement=statement.fields, follows=follows))
    if known is not None and not follows:
        raise StudyError(
            f"its ledger is at row {statement.fields.head_seq} with another head than row {known.seq} stated before: "
            "it was restored or cut; discarded, the site must put back the newest ledger and head file"
        )
    collected.statements[site.name] = statement.fields


def known_head(state: StudyState, site: EnrolledSite) -> LedgerHead | None:
    """Return the last head that a site's ledger stated in this study."""
    stated = state.statements.get(site.name)
    return None if stated is None else LedgerHead(seq=stated["head_seq"], hash=stated["head_hash"])


def follows_head(known: LedgerHead, stated: LedgerStatement) -> bool:
    """Tell whether a stated ledger has more rows than the one known, or is the same: it was not restored or cut."""
    return stated.head_seq > known.seq or (stated.head_seq, stated.head_hash) == (known.seq, known.hash)


def release_body(stage: Stage, site: EnrolledSite, answer: Answer, outcome: str) -> list[ReleaseBody]:
    """Return the record of an answer; none where a node failed, of which nothing came."""
    if answer.parts is None:
        return []
    return [
        ReleaseBody(
            site=site.name,
            round=stage.round,
            release="error" if "error" in answer.parts else STAGES[stage.kind].release,
            num_bytes=answer.num_bytes,
            outcome=plain(outcome),
        )
    ]


def read_part(answer: Answer, kind: ReleaseKind, expected: Shapes | None = None) -> Release | None:
    """Decode one part of an answer; None when the answer has no such part."""
    payload = (answer.parts or {}).get(kind)
    return None if payload is None else decode_release(payload, expected, kinds=(kind,))


def check_update(study: StudyConfig, number: int, update: Arrays, declared_patients: int) -> None:
    """Refuse an update whose norm is beyond what the private steps of this round can give."""
    plan = step_plan(study, number, declared_patients)
    bound = update_norm_bound(plan, sum(array.size for array in update.values()), declared_patients)
    norm = update_norm(update)
    if norm > bound:
        raise StudyError(f"update norm is {norm:.3g}, allowed is at most {bound:.3g}; discarded")
