"""A parcel is the joined hub's, whole and as sealed, or it is refused before anything of it is used."""

import base64
import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

from server.hub.certificates import Names, Pair, make_authority, make_hub_certificate, make_sender_certificate
from shared.errors import ConfigError, RoundsError, TrustError
from shared.trust.parcel import Contents, opened_parcel, write_parcel
from shared.trust.parcel_seal import Seal, Trusted, seal

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CA = make_authority("lungs", NOW)
NAMES = Names.of(["hub.example.org"], [])
HUB = make_hub_certificate(CA, "lungs", NAMES, NOW)
TRUSTED = Trusted(ca=CA.certificate_pem().decode(), address="hub.example.org:8443")
MEMBERS = {"study": b'{"a":1}', "bundle": b"PK" * 700, "teacher": os.urandom(3000), "initial": os.urandom(50)}
MAGIC = b"teaching-rounds parcel 1\n"


def listed(**changed: Any) -> dict[str, Any]:
    """Return the list of a sound parcel, with fields changed."""
    members = [
        {"role": role, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for role, data in MEMBERS.items()
    ]
    fields = {"format": 1, "federation": "lungs", "ca": TRUSTED.fingerprint, "study": "0" * 64, "made": 1}
    return fields | {"members": members} | changed


def raw_parcel(text: str, sealed: Seal, behind: bytes = b"".join(MEMBERS.values())) -> bytes:
    """Put a parcel together by hand, whatever it says."""
    head = json.dumps({"contents": text, "seal": sealed.model_dump()}, separators=(",", ":")).encode()
    return MAGIC + len(head).to_bytes(4, "big") + head + behind


def sealed_by(pair: Pair, **changed: Any) -> bytes:
    """Return a parcel whose list a key has signed."""
    text = json.dumps(listed(**changed), separators=(",", ":"))
    return raw_parcel(text, seal(text, pair.key, pair.certificate))


def use(path: Path, at: datetime = NOW) -> dict[str, bytes]:
    """Read all of a parcel, as a site does."""
    with opened_parcel(path, TRUSTED, at) as parcel:
        parcel.verify()
        targets = {role: BytesIO() for role in MEMBERS}
        for role, target in targets.items():
            parcel.copy(role, target)  # type: ignore[arg-type]
        return {role: target.getvalue() for role, target in targets.items()}


def refused(tmp_path: Path, data: bytes, at: datetime = NOW) -> str:
    """Return the sentence with which a parcel is refused."""
    path = tmp_path / "x.study"
    path.write_bytes(data)
    with pytest.raises(TrustError) as told:
        use(path, at)
    return str(told.value)


def test_what_the_hub_writes_comes_out_whole(tmp_path: Path) -> None:
    """All members come back byte for byte, and a file that is there is not written over."""
    text = Contents.model_validate(listed()).model_dump_json()
    sealed, sources = (
        seal(text, HUB.key, HUB.certificate),
        {role: BytesIO(data) for role, data in MEMBERS.items()},
    )
    write_parcel(tmp_path / "a.study", text, sealed, sources)  # type: ignore[arg-type]
    assert use(tmp_path / "a.study") == MEMBERS
    with pytest.raises(ConfigError, match="is not overwritten"):
        write_parcel(tmp_path / "a.study", text, sealed, sources)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.study"]


def test_a_member_that_changes_while_it_is_written_makes_no_parcel(tmp_path: Path) -> None:
    """A weights file that is not what was listed leaves nothing behind."""
    text = Contents.model_validate(listed()).model_dump_json()
    sources = {role: BytesIO(data) for role, data in MEMBERS.items()} | {"teacher": BytesIO(b"other")}
    with pytest.raises(ConfigError, match="changed while the parcel was written"):
        write_parcel(tmp_path / "a.study", text, seal(text, HUB.key, HUB.certificate), sources)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_every_altered_byte_is_refused(tmp_path: Path) -> None:
    """One bit turned anywhere: in the beginning, the list, certificate, signature, or the first or last of a member."""
    whole = sealed_by(HUB)
    begin = len(whole) - sum(map(len, MEMBERS.values()))
    places = list(range(0, begin, 3))
    for data in MEMBERS.values():
        places += [begin, begin + len(data) - 1]
        begin += len(data)
    assert begin == len(whole)
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1
        assert refused(tmp_path, bytes(changed)), place


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", lambda _: MAGIC]
)
def test_another_length_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Cut, lengthened, empty, or only begun."""
    assert refused(tmp_path, change(sealed_by(HUB)))


def test_a_list_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    """The length before the list is held against a limit first: of a file of 1 GiB less than 4 MiB are read."""
    path = tmp_path / "large.study"
    path.write_bytes(MAGIC + (1 << 29).to_bytes(4, "big"))
    os.truncate(path, 1 << 30)  # a hole, which takes no disk
    tracemalloc.start()
    try:
        with pytest.raises(TrustError, match="no parcel in format 1"):
            use(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_list_has_one_spelling(tmp_path: Path) -> None:
    """A space more in the list around the sealed text means nothing, and is refused all the same."""
    text = json.dumps(listed(), separators=(",", ":"))
    sealed = seal(text, HUB.key, HUB.certificate).model_dump()
    head = json.dumps({"contents": text, "seal": sealed}).encode()
    data = MAGIC + len(head).to_bytes(4, "big") + head + b"".join(MEMBERS.values())
    assert "no parcel in format 1" in refused(tmp_path, data)


def test_members_are_exchanged_for_nothing(tmp_path: Path) -> None:
    """Two members in each other's place are not those of the list, though all bytes are there."""
    text = json.dumps(listed(), separators=(",", ":"))
    other = b"".join(MEMBERS[role] for role in ("study", "bundle", "initial", "teacher"))
    assert "was altered" in refused(tmp_path, raw_parcel(text, seal(text, HUB.key, HUB.certificate), other))


OTHER_CA = make_authority("lungs", NOW)
FEED_CA = make_authority("lungs", NOW, what="feed")
FOREIGN = {
    "another hub": make_hub_certificate(OTHER_CA, "lungs", NAMES, NOW),
    "a sender of records": make_sender_certificate(FEED_CA, "lungs-1", NOW),
    "a client under the same CA": make_sender_certificate(CA, "lungs-1", NOW),
    "a hub of another name": make_hub_certificate(CA, "lungs", Names.of(["else.example.org"], []), NOW),
    "the CA itself": CA,
    "a certificate without its key": Pair(OTHER_CA.key, HUB.certificate),
}


@pytest.mark.parametrize("who", FOREIGN)
def test_whoever_is_not_the_joined_hub_is_refused(tmp_path: Path, who: str) -> None:
    """A site believes the certificate that it would believe at the other end of its connection, and no other."""
    told = refused(tmp_path, sealed_by(FOREIGN[who]))
    assert "is not sealed by the hub" in told or "does not fit its contents" in told


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """After the hub's certificate ended its seal is nobody's."""
    path = tmp_path / "a.study"
    path.write_bytes(sealed_by(HUB))
    assert use(path, NOW + timedelta(days=396)) == MEMBERS
    with pytest.raises(TrustError, match="is not sealed by the hub"):
        use(path, NOW + timedelta(days=398))


def test_a_signature_made_for_something_else_is_no_seal(tmp_path: Path) -> None:
    """The hub's key over the bare list, as a handshake might have it sign, does not count."""
    text = json.dumps(listed(), separators=(",", ":"))
    bare = base64.b64encode(HUB.key.sign(text.encode(), ec.ECDSA(SHA384()))).decode()
    sealed = seal(text, HUB.key, HUB.certificate).model_copy(update={"signature": bare})
    assert "does not fit its contents" in refused(tmp_path, raw_parcel(text, sealed))


def one(role: str, /, **changed: Any) -> dict[str, Any]:
    return next(member for member in listed()["members"] if member["role"] == role) | changed


MEANT = listed()["members"]
BAD_LISTS: dict[str, dict[str, Any]] = {
    "a role twice": {"members": [*MEANT, one("teacher")]},
    "a role missing": {"members": MEANT[:3]},
    "another order": {"members": MEANT[::-1]},
    "a role unknown": {"members": [*MEANT[:3], one("initial", role="../../etc/passwd")]},
    "a name": {"members": [*MEANT[:3], one("initial", name="../../.ssh/authorized_keys")]},
    "a link": {"members": [*MEANT[:3], one("initial", link="/etc/passwd")]},
    "a digest that is a path": {"members": [*MEANT[:3], one("initial", sha256="../" * 21 + "x")]},
    "a size below nothing": {"members": [*MEANT[:3], one("initial", size=-50)]},
    "more weights than 2 GiB": {"members": [*MEANT[:3], one("initial", size=(2 << 30) + 1)]},
    "more bundle than 10 MiB": {"members": [MEANT[0], one("bundle", size=(10 << 20) + 1), *MEANT[2:]]},
    "more study than 256 KiB": {"members": [one("study", size=(256 << 10) + 1), *MEANT[1:]]},
    "another federation's CA": {"ca": "1" * 64},
    "another format": {"format": 2},
    "a field more": {"unpack_to": "/"},
}


@pytest.mark.parametrize("what", BAD_LISTS)
def test_a_list_that_the_hub_itself_sealed_is_held_to_the_rules(tmp_path: Path, what: str) -> None:
    """A stolen or mistaken hub key does not make a site write anywhere, read gigabytes, or take a thing twice."""
    told = refused(tmp_path, sealed_by(HUB, **BAD_LISTS[what]))
    assert told.startswith("parcel: ")
    assert "sealed are" not in told  # refused by what the list says, not by the length of the file


def test_equal_keys_in_a_list_are_refused(tmp_path: Path) -> None:
    """Of two studies in one list a reader might be shown the one and approve the other."""
    text = json.dumps(listed(), separators=(",", ":")).replace(
        '"study":', f'"study":"{"1" * 64}","study":', 1
    )
    sealed = seal(text, HUB.key, HUB.certificate)
    assert "stands twice" in refused(tmp_path, raw_parcel(text, sealed))


def test_what_changes_after_the_look_is_not_used(tmp_path: Path) -> None:
    """A file that is written into between looking and copying ends the copy with a refusal."""
    path = tmp_path / "a.study"
    path.write_bytes(sealed_by(HUB))
    with opened_parcel(path, TRUSTED, NOW) as parcel:
        parcel.verify()
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([MEMBERS["initial"][-1] ^ 1]))
        with pytest.raises(TrustError, match="its initial is cut or was altered"):
            parcel.copy("initial", BytesIO())


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe that nobody writes into, a folder, a name that is not there."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        with pytest.raises(RoundsError, match="PARCEL is"):
            use(path)
