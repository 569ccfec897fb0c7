"""The hub's registry: app bundles and, for each, the signatures of the hospitals that approve it.

In: bundles that the coordinator adds, and the signature files that hospitals send. Out: what Flower's SuperLink asks
for. Hospitals do not believe it: their nodes check each signature themselves, so a hub that lies here is refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from shared.errors import ConfigError, DataError
from shared.trust.app_bundle import Bundle, read_bundle
from shared.trust.bundle_signatures import Signatures, key_id, read_signatures
from shared.whole_file import whole_file


@dataclass(frozen=True)
class OfferedBundle:
    """A bundle that was added: the app's name and version, and the digest that hospitals sign."""

    app: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Registry:
    """A folder: bundles by digest, the order in which they were added, one signature file a site."""

    folder: Path

    def add(self, file: Path) -> Bundle:
        """Take a bundle in; what SuperLink gets under its name and version is the one added last."""
        bundle = read_bundle(file)
        app, version = bundle.app
        path = self.bundle_file(bundle.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bundle.content)
        line = {"app": app, "version": version, "sha256": bundle.sha256}
        with (self.folder / "bundles.jsonl").open("a", encoding="utf-8") as added:
            added.write(json.dumps(line) + "\n")
        return bundle

    def sign_in(self, file: Path, site: str, approval_key: str) -> Signatures:
        """Take a hospital's signatures in, verified against the name and key that it was admitted with.

        `ConfigError` for a file in another's name, and for one that is older than the one here: it may approve what
        was withdrawn since.
        """
        new = read_signatures(file, approval_key)
        if new.site != site:
            raise ConfigError(
                f"{file.name}: speaks for {new.site}, but its key belongs to {site}; ask {site}"
            )
        self.take_in(new, file.name)
        return new

    def take_in(self, new: Signatures, file: str) -> None:
        """Take verified signatures in; `ConfigError` for some that are older than those here."""
        path = self.folder / "signatures" / f"{new.site}.json"
        if path.is_file():
            held = Signatures.model_validate_json(path.read_bytes())
            if held.approval_key == new.approval_key and new.number < held.number:
                raise ConfigError(
                    f"{file}: is of decision {new.number}, the registry has {new.site}'s decision {held.number}; "
                    "ask the hospital for its newest file"
                )
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text(new.model_dump_json(indent=1), encoding="utf-8")

    def bundle_file(self, sha256: str) -> Path:
        """Return where a bundle lies."""
        return self.folder / "bundles" / f"{sha256}.fab"

    def offered(self) -> tuple[OfferedBundle, ...]:
        """Return all bundles in the order in which they were added, the newest at the end."""
        path = self.folder / "bundles.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return tuple(OfferedBundle(**json.loads(line)) for line in lines)

    def versions(self, app: str) -> dict[str, str]:
        """Return the digest that each version of an app now has, the one added last at the end."""
        found: dict[str, str] = {}
        for one in self.offered():
            if one.app == app:
                found.pop(one.version, None)
                found[one.version] = one.sha256
        return found

    def newest(self) -> str | None:
        """Return the app that was added last, as `flwr run` takes it; None where there is none."""
        last = self.offered()[-1:]
        return f"{last[0].app}=={last[0].version}" if last else None

    def find(self, app: str, version: str | None) -> str | None:
        """Return the digest of an app's version, or of the one added last; None where there is none."""
        known = self.versions(app)
        return known.get(version) if version is not None else next(reversed(known.values()), None)

    def signatures(self) -> list[Signatures]:
        """Return the signature files of all sites, by name."""
        files = sorted((self.folder / "signatures").glob("*.json"))
        try:
            return [Signatures.model_validate_json(file.read_bytes()) for file in files]
        except ValidationError as error:
            raise DataError(
                f"{self.folder}: a signature file is damaged; take the hospitals' files in again"
            ) from error

    def verifications(self, sha256: str) -> list[dict[str, str | int]]:
        """Return all hospitals' signatures on a bundle as Flower 1.41 passes them on to nodes."""
        return [
            {
                "public_key_id": key_id(held.code_key),
                "signed_at": one.signed_at,
                "signature": one.signature,
            }
            for held in self.signatures()
            for one in held.bundles
            if one.sha256 == sha256
        ]
