"""Which hospitals belong to the federation: one SQLite file, in which a key has one name for ever.

In: introductions that a person has compared by telephone. Out: the admitted sites and the keys that may never come
back. Public keys and names only.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from shared.config.site import check_site_name
from shared.errors import ConfigError, TrustError
from shared.trust.site_introduction import Introduction

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sites (
    name TEXT NOT NULL,
    node_key TEXT NOT NULL UNIQUE,
    approval_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    admitted TEXT NOT NULL,
    removed TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS invited (name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, invited TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_site_a_name ON sites (name COLLATE NOCASE) WHERE removed IS NULL;
"""
_SELECT = (
    "SELECT name, node_key, approval_key, fingerprint, admitted, removed FROM sites ORDER BY name, admitted"
)
_SELECT_INVITED = "SELECT name, invited FROM invited ORDER BY name"
_INVITE = "INSERT INTO invited VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET invited = excluded.invited"
_READ_SECONDS = 2.0  # that a reader waits for who writes
MOST_SITES = 500  # of which a page or table tells
_INSERT = (
    "INSERT INTO sites (name, node_key, approval_key, fingerprint, admitted, removed) "
    "VALUES (?, ?, ?, ?, ?, NULL)"
)


@dataclass(frozen=True)
class AdmittedSite:
    """One row: keys in OpenSSH text, times in UTC as ISO 8601; `removed` is None while the site belongs."""

    name: str
    node_key: str
    approval_key: str
    fingerprint: str
    admitted: str
    removed: str | None


@dataclass(frozen=True)
class InvitedSite:
    """A name to which FEDERATION.json was sent, and when (UTC, ISO 8601); no key of it is known yet."""

    name: str
    invited: str


def read_sites(path: Path) -> tuple[list[AdmittedSite], list[InvitedSite]]:
    """Return all sites ever admitted, and those invited, without a change to the file; `ConfigError` where it cannot.

    For who only looks: `SiteList` itself makes what the file lacks, and touches it.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_READ_SECONDS)
        ) as opened:
            rows = opened.execute(f"{_SELECT} LIMIT {MOST_SITES}").fetchall()
            known = opened.execute("SELECT 1 FROM sqlite_schema WHERE name = 'invited'").fetchone()
            invited = opened.execute(f"{_SELECT_INVITED} LIMIT {MOST_SITES}").fetchall() if known else []
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"{path.name}: cannot be read ({error}); check disk and rights, or put it back with `rounds-hub restore`"
        ) from error
    return [AdmittedSite(*row) for row in rows], [InvitedSite(*row) for row in invited]


class SiteList:
    """The list, open; close it by leaving the `with` block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translated():
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=30)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def all(self) -> list[AdmittedSite]:
        """Return every site ever admitted, in the order of their names."""
        with self._translated():
            rows = self._database.execute(_SELECT)
            return [AdmittedSite(*row) for row in rows]

    def admitted(self) -> list[AdmittedSite]:
        """Return the sites that belong now."""
        return [site for site in self.all() if site.removed is None]

    def admit(self, introduction: Introduction, now: datetime | None = None) -> bool:
        """Write a verified site down; False where just this site is here already. `TrustError` refuses a key."""
        introduction.verify()
        with self._writing():
            for site in self.all():
                if _refused(site, introduction):
                    return False
            self._database.execute(
                _INSERT,
                (
                    introduction.site, introduction.node_key, introduction.approval_key,
                    introduction.fingerprint(), _text(now),
                ),
            )  # fmt: skip
        return True

    def invite(self, name: str, now: datetime | None = None) -> None:
        """Write down that a hospital was sent what it needs to join; `ConfigError` where the name is no site's."""
        check_site_name(name, "--site")
        with self._writing():
            self._database.execute(_INVITE, (name, _text(now)))

    def remove(self, name: str, now: datetime | None = None) -> None:
        """Let a site go; its keys are never admitted again. `ConfigError` where no such site belongs."""
        with self._writing():
            done = self._database.execute(
                "UPDATE sites SET removed = ? WHERE name = ? AND removed IS NULL", (_text(now), name)
            )
            if done.rowcount == 0:
                known = ", ".join(site.name for site in self.admitted()) or "none"
                raise ConfigError(
                    f"NAME is {name!r}: no such site is admitted, admitted are: {known}; correct it"
                )

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise ConfigError(
                f"{self.path.name}: has format {version}, allowed is {_VERSION}; use its own program"
            )
        self._database.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{self.path}: {error}; check disk and rights, or put it back with `rounds-hub restore`"
            ) from error


def _refused(known: AdmittedSite, new: Introduction) -> bool:
    """Whether this very site is admitted already; `TrustError` where it may not be admitted beside a known row.

    A site that was removed may come back with a new node key. Its approval key may be the old one, under its own name
    only: it then shows that the same hospital comes back.
    """
    if known.removed is None and known.fingerprint == new.fingerprint():
        return True
    same_name = known.name.lower() == new.site.lower()
    if known.removed is not None and known.node_key == new.node_key:
        raise TrustError(
            f"{new.site}: brings the node key of {known.name}, which was removed on {known.removed[:10]}; a removed "
            "node key never comes back, have the site make a new one with `rounds-site keys new`"
        )
    if known.removed is None and same_name:
        raise TrustError(
            f"{new.site}: {known.name} is admitted with other keys since {known.admitted[:10]}; if the hospital "
            f"made new keys, `rounds-hub remove {known.name}` first, else choose another name"
        )
    if not same_name and {known.node_key, known.approval_key} & {new.node_key, new.approval_key}:
        raise TrustError(
            f"{new.site}: brings a key that belongs to {known.name}; every site has keys of its own, made with "
            "`rounds-site init`"
        )
    return False


def _text(now: datetime | None) -> str:
    return (now or datetime.now(UTC)).isoformat(timespec="seconds")
