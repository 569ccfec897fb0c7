"""Making an offer: a workspace becomes one parcel, with the one study that will be asked and all that a site needs.

In: a prepared workspace, settings, an app bundle. Out: the parcel's file, a record of it in the hub's folder, the
bundle in its registry. Everything in a parcel is public.
"""

import hashlib
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from server.hub.bundle_registry import Registry
from server.hub.certificates import read_pair
from server.hub.hub_folder import HubFolder, verify_hub
from server.rounds.feasibility import check_test_set
from server.studies.offered_studies import Offer, Offers, Settings
from server.studies.resolved_study import prepared_study
from shared.code_digest import code_digest, code_root
from shared.config.study import StudyConfig
from shared.errors import ConfigError
from shared.models.weights import find_weights
from shared.trust.app_bundle import Bundle, read_bundle
from shared.trust.parcel import ROLES, WEIGHTS, Contents, Member, Role, contents_digest, write_parcel
from shared.trust.parcel_seal import seal

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Offered:
    """What was offered, for the person who sends it."""

    offer: Offer
    study: StudyConfig
    num_bytes: int


def make_offer(
    hub: HubFolder, workspace: Path, settings: Settings, bundle: Path | None, target: Path, now: datetime
) -> Offered:
    """Write the parcel, and record it; refused before anything is written where no site could take the study."""
    verify_hub(hub, now)
    own = {key: value for key, value in settings.items() if key != "threads"}
    study = prepared_study(workspace, own)
    if study.expires < now.astimezone(UTC).date():
        raise ConfigError(f"expires is {study.expires}, allowed is today or later; correct it in study.yaml")
    check_test_set(workspace, study.task)
    weights = _weights(workspace, study)
    app = offered_bundle(Registry(hub.path / "registry"), bundle)
    with ExitStack() as opened:
        members: dict[Role, BinaryIO] = {
            "study": BytesIO(study.canonical_json().encode()),
            "bundle": BytesIO(app.content),
        }
        members |= {role: opened.enter_context(path.open("rb")) for role, path in weights.items()}
        contents = Contents(
            federation=hub.invitation().federation,
            ca=hub.invitation().fingerprint,
            study=study.digest(),
            made=int(now.timestamp()),
            members=tuple(_member(role, members[role]) for role in ROLES),
        )
        named = {"teacher": study.models.teacher.sha256, "initial": study.models.initial_sha256}
        for role in WEIGHTS:
            if contents.of(role).sha256 != named[role]:
                raise ConfigError(
                    f"weights/{named[role]}.safetensors: its bytes have another digest; prepare the workspace again"
                )
        text = contents.model_dump_json()
        pair = read_pair(hub.key_file.read_bytes(), hub.certificate_file.read_bytes(), "tls")
        write_parcel(target, text, seal(text, pair.key, pair.certificate), members)
    name, version = app.app
    offer = Offer(
        parcel=contents_digest(text), study=study.digest(), name=study.name, workspace=workspace.resolve(),
        settings=own, app=f"{name}=={version}", bundle=app.sha256, made=contents.made,
    )  # fmt: skip
    Offers(hub.path / "offers").record(offer)
    return Offered(offer, study, target.stat().st_size)


def offered_bundle(registry: Registry, given: Path | None) -> Bundle:
    """Return the app's bundle, which the registry then has as the one added last.

    The file that was given; else the newest of the registry, if it holds this program's code; else one built here.
    """
    if given is not None:
        bundle = read_bundle(given)
        name, version = bundle.app
        if registry.newest() != f"{name}=={version}" or registry.find(name, version) != bundle.sha256:
            registry.add(given)
        return bundle
    newest = registry.newest()
    if newest is not None:
        name, _, version = newest.rpartition("==")
        held = read_bundle(registry.bundle_file(str(registry.find(name, version))))
        if held.code_digest == code_digest():
            return held
    return _built(registry)


def _built(registry: Registry) -> Bundle:
    """Build this program's own bundle, as `flwr build` does, and add it."""
    root = code_root()
    if not (root / "pyproject.toml").is_file():
        raise ConfigError(
            "--bundle: is not given, and this program was installed without its sources; build the bundle from them "
            "with `flwr build` and give the .fab file"
        )
    from server.flower.bundle_building import built_bundle  # noqa: PLC0415 - Flower's command line, for this alone

    with tempfile.TemporaryDirectory(prefix="rounds-bundle-") as scratch:
        file = Path(scratch) / "app.fab"
        file.write_bytes(built_bundle(root))
        return registry.add(file)


def _weights(workspace: Path, study: StudyConfig) -> dict[Role, Path]:
    """Return the weights that a site needs; `ConfigError` where the study names none."""
    named = {"teacher": study.models.teacher.sha256, "initial": study.models.initial_sha256}
    found: dict[Role, Path] = {}
    for role in WEIGHTS:
        digest = named[role]
        if digest is None:
            raise ConfigError(
                f"models: the study names no {role} weights; prepare the workspace (`make prepare`)"
            )
        found[role] = find_weights(workspace / "weights", digest)
    return found


def _member(role: Role, source: BinaryIO) -> Member:
    digest, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    source.seek(0)
    try:
        return Member(role=role, sha256=digest.hexdigest(), size=size)
    except ValueError as error:
        raise ConfigError(f"{role}: has {size} bytes, which no parcel may hold; use a smaller one") from error
