"""A parcel: one file in which the hub offers a study, with all that a site needs for it.

In, at the hub: the study, the app bundle, the weights of teacher and initial student. Out, at a site: the same, once
the hub's seal and every digest are right. Members have a role and a digest and no name, are not compressed, and lie
one behind the other as the sealed list says: there is no path, no link, no double and nothing to unpack that a list
could hide. Whoever made the file is believed only after the seal, and no more is read than the list allows.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from shared.config.strict_json import one_meaning
from shared.config.strict_yaml import MAX_BYTES as MAX_STUDY_BYTES
from shared.config.values import Digest, Frozen
from shared.errors import ConfigError, TrustError
from shared.trust.app_bundle import MAX_BUNDLE_BYTES
from shared.trust.hub_invitation import FEDERATION_NAME
from shared.trust.parcel_seal import Seal, Trusted, require_seal
from shared.whole_file import whole_file

Role = Literal["study", "bundle", "teacher", "initial"]
ROLES: tuple[Role, ...] = get_args(Role)
WEIGHTS: tuple[Role, ...] = ("teacher", "initial")
MAX_WEIGHTS_BYTES = 2 << 30
_LARGEST: Mapping[Role, int] = {
    "study": MAX_STUDY_BYTES, "bundle": MAX_BUNDLE_BYTES, "teacher": MAX_WEIGHTS_BYTES, "initial": MAX_WEIGHTS_BYTES,
}  # fmt: skip
_MAGIC = b"teaching-rounds parcel 1\n"
_LENGTH_BYTES, _MAX_LIST_BYTES, _BLOCK_BYTES = 4, 1 << 16, 1 << 20


class Member(Frozen):
    """One thing in a parcel; the digest is of its bytes."""

    role: Role
    sha256: Digest
    size: int = Field(ge=1)

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.size > _LARGEST[self.role]:
            raise ValueError(f"{self.role} has {self.size} bytes, allowed are {_LARGEST[self.role]}")
        return self


class Contents(Frozen):
    """What a parcel holds, in the order in which it lies there, and which study of which federation it is about."""

    format: Literal[1] = 1
    federation: str = Field(pattern=FEDERATION_NAME)
    ca: Digest = Field(description="SHA-256 of the federation's CA certificate")
    study: Digest = Field(description="the study's digest: what is approved and what is asked")
    made: int = Field(ge=0, lt=1 << 40, description="seconds since 1970")
    members: tuple[Member, ...]

    @model_validator(mode="after")
    def _each_role_once(self) -> Self:
        if tuple(one.role for one in self.members) != ROLES:
            raise ValueError(f"members must be {', '.join(ROLES)}, each once and in this order")
        return self

    def of(self, role: Role) -> Member:
        """Return the member of a role."""
        return self.members[ROLES.index(role)]


class _List(Frozen):
    contents: str
    seal: Seal


@dataclass(frozen=True)
class Parcel:
    """An open parcel whose seal is right; what a member's bytes are is checked whenever they are read."""

    contents: Contents
    digest: str
    _file: BinaryIO
    _begin: int

    def read(self, role: Literal["study", "bundle"]) -> bytes:
        """Return a small member's bytes."""
        target = BytesIO()
        self.copy(role, target)
        return target.getvalue()

    def copy(self, role: Role, target: BinaryIO | None) -> None:
        """Write a member's bytes, a MiB at a time; `TrustError` after the last where they are not those of the list.

        Whoever copies uses nothing of it before this returns. Without a target it only looks.
        """
        member = self.contents.of(role)
        before = self.contents.members[: ROLES.index(role)]
        self._file.seek(self._begin + sum(one.size for one in before))
        digest, left = hashlib.sha256(), member.size
        while left and (block := self._file.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
            if target is not None:
                target.write(block)
        if left or digest.hexdigest() != member.sha256:
            raise TrustError(f"parcel: its {role} is cut or was altered; ask the hub for the parcel again")

    def verify(self) -> None:
        """Look at every byte; `TrustError` where one is another than the hub sealed."""
        for role in ROLES:
            self.copy(role, None)


def contents_digest(text: str) -> str:
    """Return what a parcel is known by: the SHA-256 of its list, which holds that of everything in it."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_parcel(target: Path, text: str, sealed: Seal, members: Mapping[Role, BinaryIO]) -> None:
    """Write a parcel whole or not at all; `ConfigError` where a file is there already, or a member has changed."""
    if target.exists():
        raise ConfigError(
            f"--out is {str(target)!r}: is there already and is not overwritten; choose another name"
        )
    contents = Contents.model_validate_json(text)
    head = _List(contents=text, seal=sealed).model_dump_json().encode()
    with whole_file(target) as part, part.open("wb") as file:
        file.write(_MAGIC + len(head).to_bytes(_LENGTH_BYTES, "big") + head)
        for member in contents.members:
            _copy_member(member, members[member.role], file)


def is_parcel(path: Path) -> bool:
    """Tell whether a file begins as a parcel does; what it holds is not believed for that."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


@contextmanager
def opened_parcel(path: Path, trusted: Trusted, at: datetime) -> Iterator[Parcel]:
    """Open a parcel; `TrustError` unless the hub that this site has joined sealed it, and it is as long as it says."""
    try:
        # O_NONBLOCK: a pipe of this name must not make us wait
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise ConfigError(
            f"PARCEL is {str(path)!r}: cannot be read ({error.strerror}); give the file"
        ) from error
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(
                f"PARCEL is {str(path)!r}: is no plain file; give what `rounds-hub study offer` wrote"
            )
        text, sealed = _read_list(file)
        require_seal(text, sealed, trusted, at)
        contents = _parsed(text)
        if contents.ca != trusted.fingerprint:
            raise TrustError("parcel: is of another federation than this site has joined; ask your own hub")
        begin = file.tell()
        length = begin + sum(one.size for one in contents.members)
        if found.st_size != length:
            raise TrustError(
                f"parcel: has {found.st_size} bytes, sealed are {length}; ask the hub for it again"
            )
        yield Parcel(contents, contents_digest(text), file, begin)


def _read_list(file: BinaryIO) -> tuple[str, Seal]:
    """Read what comes before the members, and nothing beyond a limit that holds for whoever made the file."""
    magic = file.read(len(_MAGIC))
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    head = file.read(length) if magic == _MAGIC and length <= _MAX_LIST_BYTES else b""
    try:
        found = _List.model_validate_json(one_meaning(head))
        if len(head) != length or found.model_dump_json().encode() != head:
            raise ValueError("it is not as this program writes it")
    except ValueError as error:
        raise TrustError(
            "parcel: is no parcel in format 1, or its beginning was altered; give what `rounds-hub study offer` wrote"
        ) from error
    return found.contents, found.seal


def _parsed(text: str) -> Contents:
    try:
        return Contents.model_validate_json(one_meaning(text.encode()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrustError(f"parcel: {where or 'its list'} is refused ({first['msg']}); ask the hub") from error
    except ValueError as error:
        raise TrustError(f"parcel: its list is refused ({error}); ask the hub") from error


def _copy_member(member: Member, source: BinaryIO, target: BinaryIO) -> None:
    digest, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
        target.write(block)
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise ConfigError(
            f"{member.role}: its file changed while the parcel was written; offer the study again"
        )
