"""What this hub has offered, and which hospital has approved it: the studies of parcels, and the answers to them.

In: parcels that were written here, and verified answers. Out: who approved which study, and the one study that may be
submitted. Each answer is kept as it came, so that its signature can be looked at again.
"""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from server.hub.bundle_registry import Registry
from shared.config.values import Digest, Frozen
from shared.errors import ConfigError, StudyError, TrustError
from shared.trust.parcel_answer import ParcelAnswer, read_answer
from shared.trust.private_files import private_folder, write_file

_FILE, _ANSWER = "offer.json", ".answer.json"
T = TypeVar("T", "Offer", ParcelAnswer)
Settings = dict[str, str | int | float | bool]


class Offer(Frozen):
    """One parcel: the study that it offers, the app that it brings, and how it was made."""

    parcel: Digest
    study: Digest
    name: str
    workspace: Path
    settings: Settings
    app: str
    bundle: Digest
    made: int

    @property
    def again(self) -> str:
        """The command that asks just this study."""
        typed = (
            f"{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in self.settings.items()
        )
        options = [word for one in typed for word in ("--set", one)]
        return shlex.join(["rounds-hub", "study", "submit", str(self.workspace), *options])


@dataclass(frozen=True)
class Offers:
    """A folder: one folder a parcel, with the offer and one answer a site."""

    folder: Path

    def record(self, offer: Offer) -> None:
        """Write down what was offered."""
        place = private_folder(private_folder(self.folder) / offer.parcel)
        write_file(place / _FILE, offer.model_dump_json(indent=1).encode(), replace=True)

    def all(self) -> list[Offer]:
        """Return all offers, the newest last; `StudyError` where one is damaged."""
        found = [_parsed(Offer, path) for path in self.folder.glob(f"*/{_FILE}")]
        return sorted(found, key=lambda one: (one.made, one.parcel))

    def answers(self, offer: Offer) -> list[ParcelAnswer]:
        """Return the answers to an offer, by site."""
        files = sorted((self.folder / offer.parcel).glob(f"*{_ANSWER}"))
        return [_parsed(ParcelAnswer, path) for path in files]

    def came(self, offer: Offer, site: str) -> datetime:
        """Return when a site's answer was taken in here, by this machine's clock."""
        written = (self.folder / offer.parcel / f"{site}{_ANSWER}").stat().st_mtime
        return datetime.fromtimestamp(written, UTC)

    def approved_by(self, study: str) -> dict[str, str]:
        """Return the day on which each site approved a study, by its answers to whatever parcel offered it."""
        answers = [one for offer in self.all() if offer.study == study for one in self.answers(offer)]
        return {one.site: day_of(one.made) for one in sorted(answers, key=lambda one: (one.site, one.made))}

    def accept(
        self, file: Path, ca: str, key_of: Callable[[str], str], registry: Registry
    ) -> tuple[Offer, ParcelAnswer]:
        """Take an answer in: verified, to a parcel of this hub, and not older than what its site answered before.

        The registry gets the signatures in it. An answer that is here already changes nothing.
        """
        answer = read_answer(file, key_of)
        if answer.ca != ca:
            raise TrustError(
                f"{file.name}: answers another federation's hub than this one; ask {answer.site}"
            )
        offer = next((one for one in self.all() if one.parcel == answer.parcel), None)
        if offer is None or (offer.study, offer.bundle) != (answer.study, answer.bundle):
            raise TrustError(
                f"{file.name}: answers parcel {answer.parcel[:12]}, which was not offered here; send {answer.site} the "
                "parcel that `rounds-hub study offer` writes, and ask for its answer"
            )
        held = [one for any_ in self.all() for one in self.answers(any_) if one.site == answer.site]
        newest = max((one.number for one in held if _same_key(one, answer)), default=0)
        if answer.number < newest:
            raise ConfigError(
                f"{file.name}: is of decision {answer.number}, {answer.site} has sent its decision {newest}; ask "
                "the hospital for its newest file"
            )
        registry.take_in(answer.signatures, file.name)
        write_file(self.folder / offer.parcel / f"{answer.site}{_ANSWER}", answer.to_json(), replace=True)
        return offer, answer

    def offer_of(self, study: str, name: str) -> Offer | None:
        """Return the newest offer of a study; None where none of its name was ever offered.

        `StudyError` where another study of this name was: the sites would refuse this one.
        """
        named = [one for one in self.all() if one.name == name]
        found = [one for one in named if one.study == study]
        if named and not found:
            last = named[-1]
            sites = ", ".join(self.approved_by(last.study)) or "no site yet"
            raise StudyError(
                f"study {name}: with these settings its digest is {study[:12]}, offered was {last.study[:12]} "
                f"(approved by {sites}), so sites would refuse it; ask what was offered with `{last.again}`, offer "
                "this one with `rounds-hub study offer`, or give --not-offered where sites approved it by another way"
            )
        return found[-1] if found else None


def require_bundle(offer: Offer, registry: Registry) -> str:
    """Return the offered app; `StudyError` where the registry has another bundle under its name since."""
    app, _, version = offer.app.rpartition("==")
    if registry.find(app, version) != offer.bundle:
        raise StudyError(
            f"{offer.app}: in the registry it is another bundle than {offer.bundle[:12]}, which was offered; "
            "add the offered one again with `rounds-hub code add`, or offer the study anew"
        )
    return offer.app


def day_of(seconds: int) -> str:
    """Return a day (UTC) as people write it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _same_key(one: ParcelAnswer, other: ParcelAnswer) -> bool:
    return one.signatures.approval_key == other.signatures.approval_key


def _parsed(kind: type[T], path: Path) -> T:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StudyError(
            f"{path}: is damaged; put it back from the backup, or move its folder away"
        ) from error
