"""What the API answers, field by field. A figure that was not measured is null, and `reason` says why: never zero."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from server.store.record_kinds import Grid
from shared.config.values import Frozen
from shared.messages.release_kinds import LedgerStatement

Item = TypeVar("Item")


class Refusal(Frozen):
    """Why a request was not answered."""

    status: int
    error: str


class Paged(Frozen, Generic[Item]):
    """One page of a list, which has `total` items; `page` counts from 1."""

    items: tuple[Item, ...]
    page: int
    size: int
    total: int


class Study(Frozen):
    """A study: `verdict` is the gate's, `decision` the last person's. `last_received` is the store's own clock."""

    study_uid: str
    name: str
    digest: str
    simulation: bool
    state: str
    why: str
    rounds_done: int
    rounds: int
    verdict: str
    decision: str
    started: datetime
    updated: datetime
    source: str
    last_received: datetime | None


class Participation(Frozen):
    """One site in one round; `outcome` is `accepted`, or why the site is missing."""

    site: str
    outcome: str
    num_bytes: int | None
    epsilon: float | None


class Round(Frozen):
    """A closed round; `value` is the AUC of the merged student on public test images, with its 95 % interval."""

    round: int
    num_answered: int
    num_missing: int
    seconds: float | None
    mask_area: float | None
    num_bytes: int
    value: float | None
    low: float | None
    high: float | None
    n: int
    closed: datetime
    sites: tuple[Participation, ...] = ()


class Site(Frozen):
    """What a site declared when it enrolled, and when it was last heard of."""

    site: str
    declared_patients: int | None
    code_digest: str | None
    versions: dict[str, str]
    last_seen: datetime


class Statement(Frozen):
    """A ledger statement that a site released; `follows` tells whether its head follows the one remembered."""

    site: str
    round: int
    time: datetime
    follows: bool | None
    statement: LedgerStatement


class Figure(Frozen):
    """One measured number with its 95 % interval."""

    of: str
    name: str
    subject: str
    label: str
    source: str = Field(validation_alias="from_source")
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str


class Map(Frozen):
    """A mean map, as share of energy times uniform; `grid` is null where no image showed positive evidence.

    A site's map of too few patients, or with more noise than map, holds no number at all (`too_few`).
    """

    digest: str
    subject: str
    label: str
    source: str = Field(validation_alias="from_source")
    round: int | None
    site_release: bool
    frame: str
    num_images: int | None
    num_patients: int | None
    num_without_evidence: int | None
    too_few: bool
    noise_std: float | None
    epsilon: float | None
    grid: Grid | None


class Check(Frozen):
    """One check of the gate; `passed` is null where it does not apply.

    `side` is `least` or `most`: the value must be at least, or at most, the threshold; null where the record of before
    did not say.
    """

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    sentence: str
    side: str | None


class Decision(Frozen):
    """A person's decision, bound to the digest of the evidence that was shown."""

    person: str
    role: str
    action: str
    reason: str
    evidence: str
    own_view: str
    time: datetime


class Gate(Frozen):
    """The automatic verdict with its checks, and what people decided, the last one first."""

    verdict: Literal["accepted", "held", "none"]
    sentence: str
    checks: tuple[Check, ...]
    decisions: tuple[Decision, ...]


class Event(Frozen):
    """Something that happened, in words; `record` is its number in the store."""

    record: int
    time: datetime
    kind: str
    study_uid: str
    round: int | None
    site: str
    what: str
    source: str


class Description(Frozen):
    """OpenAPI's description of this API."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
