"""Taking a parcel: what the hub offers is looked at, decided on, and put in place, all of it or nothing.

In: a parcel that the hub of this site's federation sealed, and a person's two decisions. Out: weights in `weights_dir`,
their digests in site.yaml, the decisions in the record, and one answer for the hub. The answer alone leaves; nothing in
it comes from patients.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from client.consent.approvals import Approvals
from client.consent.bundle_signing import signatures, write_trusted_entities
from client.identity.approval_key import load_approval_key
from client.identity.site_yaml_edit import accepting
from client.review.reviewed_documents import keep_bundle, keep_study
from client.site.site_rules import SiteRules
from shared.config.files import parse_study
from shared.config.strict_json import one_meaning
from shared.config.study import StudyConfig
from shared.errors import ConfigError, TrustError
from shared.trust.app_bundle import Bundle, opened_bundle
from shared.trust.parcel import WEIGHTS, Parcel, Role
from shared.trust.parcel_answer import ParcelAnswer
from shared.trust.parcel_seal import Trusted
from shared.trust.private_files import write_file
from shared.whole_file import PUBLIC, sync_folder

_ANOTHER = "parcel: its study is another than its seal names, or its weights are; ask the hub"
_SPARE_BYTES = 64 << 20  # of the disk, left for ledger and decisions


@dataclass(frozen=True)
class TakenParcel:
    """What a parcel offers, each byte of it looked at."""

    parcel: Parcel
    study: StudyConfig
    bundle: Bundle

    @property
    def weights(self) -> dict[Role, str]:
        """The digests of the weights."""
        return {role: self.parcel.contents.of(role).sha256 for role in WEIGHTS}


def trusted_hub(site: SiteRules) -> Trusted:
    """Return the hub that this site has joined; `ConfigError` where it has joined none."""
    hub = site.config.hub
    if hub is None:
        raise not_joined()
    return trusted(hub.address, hub.ca_file)


def trusted(address: str, ca_file: Path) -> Trusted:
    """Return the hub at an address, to be believed by its CA; `ConfigError` where that cannot be read."""
    try:
        return Trusted(ca=ca_file.read_text(encoding="ascii"), address=address)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"hub.ca_file is {str(ca_file)!r}: cannot be read; join again with `rounds-site join`"
        ) from error


def not_joined() -> ConfigError:
    """Say why no parcel can be believed."""
    return ConfigError("hub: is not filled in, so no parcel is believed; join first with `rounds-site join`")


def looked_at(parcel: Parcel) -> TakenParcel:
    """Check every byte, and that study and weights are those that the seal and the study name."""
    parcel.verify()
    study = offered_study(parcel)
    taken = TakenParcel(parcel, study, opened_bundle(parcel.read("bundle")))
    named = {"teacher": study.models.teacher.sha256, "initial": study.models.initial_sha256}
    if named != taken.weights:
        raise TrustError(_ANOTHER)
    if study.expires < datetime.now(UTC).date():
        raise ConfigError(f"study {study.name}: expired on {study.expires}; ask the hub for a new one")
    return taken


def offered_study(parcel: Parcel) -> StudyConfig:
    """Return the study of a parcel; `TrustError` where it is not just the one that the seal names."""
    text = parcel.read("study")
    try:
        study = parse_study(json.loads(one_meaning(text)), "the parcel's study")
        names_itself = (study.digest(), study.canonical_json().encode()) == (parcel.contents.study, text)
    except ValueError as error:
        raise TrustError(f"parcel: its study cannot be read ({error}); ask the hub") from error
    if not names_itself:
        raise TrustError(_ANOTHER)
    return study


def with_weights(site: SiteRules, taken: TakenParcel) -> SiteRules:
    """Return the site as it will be once the parcel's weights are listed, to say what the study would cost then."""
    listed = dict.fromkeys(taken.weights.values(), "public") | site.config.accepted_digests
    return replace(site, config=site.config.model_copy(update={"accepted_digests": listed}))


def put_in_place(site: SiteRules, site_file: Path, taken: TakenParcel) -> Path:
    """Do all that two yeses mean; returns the answer's file.

    Until the study's approval is recorded a failure undoes what was done; Ctrl-C waits for the end of that.
    """
    text = accepting(site_file, taken.weights.values()).encode()
    with _alone(site), _staged(site, taken) as staged, _undisturbed():
        before, placed = site_file.read_bytes(), list[Path]()
        try:
            keep_bundle(site, taken.bundle)
            keep_study(site, taken.study)
            for part, target in staged:
                if not target.exists():
                    placed.append(target)
                part.replace(target)
                sync_folder(target.parent)
            if text != before:
                write_file(site_file, text, replace=True)
            approvals = site.approvals().decide(
                "code", "approve", taken.bundle.sha256, code_digest=taken.bundle.code_digest
            )
            approvals = approvals.decide("study", "approve", taken.study.digest())
        except BaseException:
            if site_file.read_bytes() != before:
                write_file(site_file, before, replace=True)
            for path in placed:
                path.unlink(missing_ok=True)
            raise
        write_trusted_entities(approvals, site.config.state_dir)
        file = site_file.parent / f"{site.config.name}.answer.json"
        return write_file(file, _answer(site, approvals, taken).to_json(), mode=PUBLIC, replace=True)


def _answer(site: SiteRules, approvals: Approvals, taken: TakenParcel) -> ParcelAnswer:
    return ParcelAnswer(
        ca=taken.parcel.contents.ca,
        parcel=taken.parcel.digest,
        study=taken.study.digest(),
        bundle=taken.bundle.sha256,
        site=site.config.name,
        number=approvals.number,
        made=int(time.time()),
        signatures=signatures(approvals, site.config.name),
    ).signed(load_approval_key(approvals.keys_dir))


@contextmanager
def _alone(site: SiteRules) -> Iterator[None]:
    """Refuse to work beside another take; the lock ends with its process."""
    site.config.state_dir.mkdir(parents=True, exist_ok=True)
    with (site.config.state_dir / "take.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError("another `rounds-site study take` is at work here; wait for its end") from None
        yield


@contextmanager
def _staged(site: SiteRules, taken: TakenParcel) -> Iterator[list[tuple[Path, Path]]]:
    """Copy the weights that are not here yet beside their places; yields copy and place, and leaves no copy behind.

    A copy has a fixed name, so that the next take writes over what a killed one left.
    """
    folder = site.config.weights_dir
    folder.mkdir(parents=True, exist_ok=True)
    missing = {digest: role for role, digest in taken.weights.items() if not _is_here(folder, digest)}
    needed = sum(taken.parcel.contents.of(role).size for role in missing.values())
    free = shutil.disk_usage(folder).free
    if missing and free < needed + _SPARE_BYTES:
        raise ConfigError(
            f"weights_dir: its volume has {free >> 20} MiB free, needed are {(needed + _SPARE_BYTES) >> 20}; free "
            "space there, then take the parcel again"
        )
    parts = {digest: folder / f".{digest}.take" for digest in missing}
    try:
        for digest, part in parts.items():
            part.unlink(missing_ok=True)
            with part.open("xb") as file:  # x: nothing that lies there is followed or written into
                taken.parcel.copy(missing[digest], file)
                file.flush()
                os.fsync(file.fileno())
        yield [(part, folder / f"{digest}.safetensors") for digest, part in parts.items()]
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _is_here(folder: Path, digest: str) -> bool:
    path = folder / f"{digest}.safetensors"
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block is over; they then do what they would have done."""
    came: list[int] = []

    def later(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {}
    with suppress(ValueError):  # in a thread other than the main one no signal disturbs
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.signal(number, later)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)
