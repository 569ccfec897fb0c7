"""The tables of the audit store, the same for SQLite and PostgreSQL.

`records`, `sources` and `blobs` are evidence: append-only, and the migration's triggers refuse anything else. The
tables from `studies` to `events` are made from records and can be made anew. Accounts and sessions are neither. A
change here needs a revision in `migrations/versions`; its test prints what to write.
"""

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

METADATA: Final = sa.MetaData()
_INTERVAL: Final = ("value", "low", "high")


class Moment(TypeDecorator[datetime]):
    """A time with its zone, kept as UTC: SQLite forgets zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """To the database: UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - likewise
        """From the database: UTC, with its zone."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _interval() -> list[sa.Column[Any]]:
    return [*(sa.Column(name, sa.Float) for name in _INTERVAL), sa.Column("n", sa.Integer, nullable=False)]


def _record_id() -> sa.Column[Any]:
    """Which record a row was made from."""
    return sa.Column("record", sa.ForeignKey("records.id"), nullable=False)


def _row_id() -> sa.Column[Any]:
    """Return the record's number and the row's place among those made of it: the same each time they are made."""
    large = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("id", large, primary_key=True, autoincrement=False)


def _of_study(*, key: bool = False) -> sa.Column[Any]:
    return sa.Column("study_uid", sa.String(64), primary_key=key, nullable=False)


# --- evidence -------------------------------------------------------------------------------------------------------
RECORDS: Final = sa.Table(
    "records", METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ... over all sources, without a gap
    sa.Column("source", sa.String(200), nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    _of_study(),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("time", Moment, nullable=False),  # the sender's clock
    sa.Column("received", Moment, nullable=False),  # this machine's clock
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("chain", sa.String(64), nullable=False),  # of its source
    sa.Column("seal", sa.String(64), nullable=False),  # of this store, over all sources
    sa.UniqueConstraint("source", "seq"),
    sa.Index("records_of_study", "study_uid", "kind"),
)  # fmt: skip
SOURCES: Final = sa.Table(  # the head of each chain; its row is locked while records are appended
    "sources", METADATA,
    sa.Column("source", sa.String(200), primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("chain", sa.String(64), nullable=False),
    sa.Column("last_received", Moment, nullable=False),
)  # fmt: skip
BLOBS: Final = sa.Table(
    "blobs", METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("media_type", sa.String(100), nullable=False),
    sa.Column("num_bytes", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)  # fmt: skip

# --- made from records ----------------------------------------------------------------------------------------------
STUDIES: Final = sa.Table(
    "studies", METADATA,
    _of_study(key=True),
    _record_id(),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("simulation", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("rounds_done", sa.Integer, nullable=False),
    sa.Column("rounds", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),  # the gate's: accepted, held, none
    sa.Column("decision", sa.Text, nullable=False),  # the last person's: accepted, held, withdrawn, none
    sa.Column("evidence", sa.String(64), nullable=False),  # digest of its evidence so far
    sa.Column("started", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),  # sender's time of the last record
)  # fmt: skip
ROUNDS: Final = sa.Table(
    "rounds", METADATA,
    _of_study(key=True), sa.Column("round", sa.Integer, primary_key=True), _record_id(),
    sa.Column("num_answered", sa.Integer, nullable=False), sa.Column("num_missing", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float), sa.Column("mask_area", sa.Float),
    sa.Column("num_bytes", sa.BigInteger, nullable=False), *_interval(), sa.Column("closed", Moment, nullable=False),
)  # fmt: skip
PARTICIPATION: Final = sa.Table(  # one row a site and round
    "participation", METADATA,
    _of_study(key=True), sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True), _record_id(),
    sa.Column("outcome", sa.Text, nullable=False),  # `accepted`, or why the site is missing
    sa.Column("num_bytes", sa.BigInteger), sa.Column("epsilon", sa.Float),
)  # fmt: skip
SITES: Final = sa.Table(
    "sites", METADATA,
    _of_study(key=True), sa.Column("site", sa.Text, primary_key=True), _record_id(),
    sa.Column("declared_patients", sa.Integer), sa.Column("code_digest", sa.String(64)),
    sa.Column("versions", sa.JSON, nullable=False), sa.Column("last_seen", Moment, nullable=False),
)  # fmt: skip
RELEASES: Final = sa.Table(
    "releases", METADATA,
    _row_id(), _of_study(), _record_id(),
    sa.Column("site", sa.Text, nullable=False), sa.Column("round", sa.Integer, nullable=False),
    sa.Column("release", sa.Text, nullable=False), sa.Column("num_bytes", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False), sa.Column("time", Moment, nullable=False),
    sa.Index("releases_of_study", "study_uid", "site", "round"),
    sa.Index("releases_by_kind", "study_uid", "release", "outcome", "num_bytes"),  # all that their sums ask for
)  # fmt: skip
STATEMENTS: Final = sa.Table(
    "statements", METADATA,
    _row_id(), _of_study(), _record_id(),
    sa.Column("site", sa.Text, nullable=False), sa.Column("round", sa.Integer, nullable=False),
    sa.Column("epsilon", sa.Float), sa.Column("delta", sa.Float, nullable=False),
    sa.Column("cap_epsilon", sa.Float), sa.Column("head_seq", sa.Integer, nullable=False),
    sa.Column("head_hash", sa.String(64), nullable=False), sa.Column("follows", sa.Boolean),
    sa.Column("statement", sa.JSON, nullable=False), sa.Column("time", Moment, nullable=False),
    sa.Index("statements_of_study", "study_uid", "site", "round", "epsilon", "follows"),  # for lines of spend
)  # fmt: skip
FIGURES: Final = sa.Table(
    "figures", METADATA,
    _row_id(), _of_study(), _record_id(),
    sa.Column("of", sa.Text, nullable=False), sa.Column("name", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False), sa.Column("label", sa.Text, nullable=False),
    sa.Column("from_source", sa.Text, nullable=False), *_interval(),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("figures_of_study", "study_uid", "of", "name"),
)  # fmt: skip
MAPS: Final = sa.Table(
    "maps", METADATA,
    _row_id(), _of_study(), _record_id(),
    sa.Column("subject", sa.Text, nullable=False), sa.Column("label", sa.Text, nullable=False),
    sa.Column("from_source", sa.Text, nullable=False), sa.Column("round", sa.Integer),
    sa.Column("site_release", sa.Boolean, nullable=False), sa.Column("frame", sa.Text, nullable=False),
    sa.Column("num_images", sa.Integer, nullable=False), sa.Column("num_patients", sa.Integer, nullable=False),
    sa.Column("num_without_evidence", sa.Integer, nullable=False), sa.Column("noise_std", sa.Float),
    sa.Column("epsilon", sa.Float), sa.Column("digest", sa.String(64), nullable=False),  # names its picture
    sa.Column("grid", sa.JSON(none_as_null=True)),
    sa.Index("maps_of_study", "study_uid", "label", "from_source", "round"), sa.Index("maps_by_digest", "digest"),
)  # fmt: skip
FILMS: Final = sa.Table(
    "films", METADATA,
    _of_study(key=True), sa.Column("frame", sa.Text, primary_key=True),
    sa.Column("from_source", sa.Text, primary_key=True), _record_id(),
    sa.Column("film", sa.String(64), nullable=False), sa.Column("num_images", sa.Integer, nullable=False),
    sa.Column("outlines", sa.JSON, nullable=False), sa.Column("laterality", sa.Text, nullable=False),
)  # fmt: skip
IMAGES: Final = sa.Table(
    "images", METADATA,
    _of_study(key=True), sa.Column("key", sa.Text, primary_key=True), _record_id(),
    sa.Column("rank", sa.Integer, nullable=False), sa.Column("patient", sa.Integer, nullable=False),
    sa.Column("from_source", sa.Text, nullable=False), sa.Column("true_class", sa.Text, nullable=False),
    sa.Column("predicted_class", sa.Text, nullable=False), sa.Column("film", sa.String(64), nullable=False),
    sa.Column("region", sa.String(64)), sa.Column("lesions", sa.String(64)),
    sa.Column("maps", sa.JSON, nullable=False), sa.Column("figures", sa.JSON, nullable=False),
    sa.Index("images_by_rank", "study_uid", "rank"),
)  # fmt: skip
CHECKS: Final = sa.Table(
    "checks", METADATA,
    _of_study(key=True), sa.Column("position", sa.Integer, primary_key=True), _record_id(),
    sa.Column("name", sa.Text, nullable=False), sa.Column("value", sa.Float), sa.Column("threshold", sa.Float),
    sa.Column("passed", sa.Boolean), sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("side", sa.String(10)),
)  # fmt: skip
DOCUMENTS: Final = sa.Table(
    "documents", METADATA,
    _of_study(key=True), sa.Column("name", sa.Text, primary_key=True), _record_id(),
    sa.Column("document", sa.JSON, nullable=False),
)  # fmt: skip
MODELS: Final = sa.Table(
    "models", METADATA,
    _of_study(key=True), _record_id(), sa.Column("weights", sa.String(64), nullable=False),
    sa.Column("num_bytes", sa.BigInteger, nullable=False), sa.Column("facts", sa.JSON, nullable=False),
)  # fmt: skip
DECISIONS: Final = sa.Table(
    "decisions", METADATA,
    _row_id(), _of_study(), _record_id(),
    sa.Column("person", sa.Text, nullable=False), sa.Column("role", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False), sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.String(64), nullable=False), sa.Column("own_view", sa.Text, nullable=False),
    sa.Column("time", Moment, nullable=False),
    sa.Index("decisions_of_study", "study_uid"),
)  # fmt: skip
EVENTS: Final = sa.Table(  # also releases that were refused, decisions, logins and incidents, in words
    "events", METADATA,
    _row_id(), _of_study(), _record_id(),
    sa.Column("source", sa.Text, nullable=False), sa.Column("kind", sa.Text, nullable=False),
    sa.Column("round", sa.Integer), sa.Column("site", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False), sa.Column("time", Moment, nullable=False),
    sa.Index("events_of_study", "study_uid", "time"),
)  # fmt: skip
PROJECTED: Final = (
    STUDIES, ROUNDS, PARTICIPATION, SITES, RELEASES, STATEMENTS, FIGURES, MAPS, FILMS, IMAGES, CHECKS, DOCUMENTS,
    MODELS, DECISIONS, EVENTS,
)  # fmt: skip

# --- people ---------------------------------------------------------------------------------------------------------
ACCOUNTS: Final = sa.Table(
    "accounts", METADATA,
    sa.Column("name", sa.String(100), primary_key=True), sa.Column("role", sa.String(20), nullable=False),
    sa.Column("password", sa.String(200), nullable=False),  # argon2id
    sa.Column("must_change", sa.Boolean, nullable=False), sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("created", Moment, nullable=False),
)  # fmt: skip
SESSIONS: Final = sa.Table(
    "sessions", METADATA,
    sa.Column("token", sa.String(64), primary_key=True),  # SHA-256 of the cookie
    sa.Column("person", sa.ForeignKey("accounts.name"), nullable=False, index=True),
    sa.Column("csrf", sa.String(64), nullable=False),
    sa.Column("began", Moment, nullable=False), sa.Column("seen", Moment, nullable=False),
    sa.Column("proved", Moment, nullable=False),  # when the password was last given
)  # fmt: skip
TOKENS: Final = sa.Table(  # for the read-only API
    "tokens", METADATA,
    sa.Column("token", sa.String(64), primary_key=True),  # SHA-256 of what the client sends
    sa.Column("name", sa.String(100), nullable=False), sa.Column("created", Moment, nullable=False),
    sa.Column("expires", Moment, nullable=False), sa.Column("revoked", sa.Boolean, nullable=False),
)  # fmt: skip
ATTEMPTS: Final = sa.Table(  # of logging in, for the throttle, shared by all workers
    "attempts", METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("person", sa.String(100), nullable=False), sa.Column("address", sa.String(64), nullable=False),
    sa.Column("time", Moment, nullable=False),
    sa.Index("attempts_of_person", "person", "time"), sa.Index("attempts_from", "address", "time"),
)  # fmt: skip
