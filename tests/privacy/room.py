"""The made-up hospitals that every check attacks: `Room(folder)` opens what `build_room` made.

Sites with fresh ledgers, requests as a hostile hub sends them, and the clipped sum of one step by the whole path from
the folder of images.
"""

import csv
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.dp_sgd.private_steps import clipped_sum_for_step
from client.rounds.answer import answer
from client.rounds.local_training import SitePatients
from client.site.site import Site
from shared.code_digest import code_digest
from shared.config.files import parse_site, parse_study, read_yaml
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.messages.release_kinds import THIS_RUN_ALONE
from shared.messages.requests import Request, RequestHeader, encode_request
from shared.models.arrays import Arrays, arrays_digest, to_arrays
from shared.models.trainable import load_trainable, trainable_names
from shared.privacy.noise import Coins
from shared.privacy.step_plan import step_plan

KEY = bytes(range(32))
SITE = "film"
PATIENTS = 16  # one more than the length up to which kernels of 1x1 convolutions sum in one order
DISAGREES = f"{SITE}-train-00000"  # a patient of two images, of two classes
ONE_IMAGE = f"{SITE}-train-00001"


@dataclass(frozen=True)
class Room:
    """The folder of a built room, and whether the check has to be short."""

    folder: Path
    quick: bool = False

    def study(self, method: str, **groups: Mapping[str, Any]) -> StudyConfig:
        """Return a method's prepared study with fields of some of its groups changed."""
        raw = json.loads((self.folder / "studies" / f"{method}.json").read_text(encoding="utf-8"))
        return parse_study(
            {key: value | groups[key] if key in groups else value for key, value in raw.items()}
        )

    def flat_biases(self) -> np.ndarray:
        """Return `crafted.flat_biases` of the supervised study's student: they take a while, so they are kept."""
        return np.load(self.folder / "flat_biases.npy")

    @property
    def manifest(self) -> Path:
        """The hospital's table of images."""
        return Path(read_yaml(self.folder / "sites" / f"{SITE}.yaml")["data"]["source"])

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder that is gone afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def site(self, state: Path, source: Path | None = None, **changed: Any) -> Site:
        """Open the hospital with a fresh ledger under `state`, over its own table of images or another."""
        raw = read_yaml(self.folder / "sites" / f"{SITE}.yaml")
        raw |= {"state_dir": str(state), "head_file": str(state / "heads" / "the.head")}
        raw["accepted_digests"] = json.loads((self.folder / "accepted.json").read_text(encoding="utf-8"))
        if source is not None:
            raw["data"] = raw["data"] | {"source": str(source)}
        state.mkdir(parents=True, exist_ok=True)
        (state / "site.key").write_bytes(KEY)
        return Site(parse_site(raw | changed), THIS_RUN_ALONE)


def rows_of(table: Path) -> list[dict[str, str]]:
    """Read a table."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(table: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a table."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def less(source: Path, target: Path, *gone: str) -> Path:
    """Write the table without some patients, as if they had never been there."""
    rows = rows_of(source)
    left = [row for row in rows if row["patient_id"] not in gone]
    if not 0 < len(left) < len(rows):
        raise ValueError(f"none of {gone} is in {source}")
    return write_rows(target, left)


def weights_of(site: Site, study: StudyConfig, which: str) -> Arrays:
    """Return the warm-started weights of a trainable set, as copies that may be changed."""
    compact, _ = site.compact(study)
    parameters = dict(compact.named_parameters())
    return {
        n: a.copy() for n, a in to_arrays({n: parameters[n] for n in trainable_names(compact, which)}).items()
    }


class OpenStudy:
    """A site's model and patients under one study, kept open: many crafted weights are tried on it."""

    def __init__(self, site: Site, study: StudyConfig, which: str, chunk: int = 16) -> None:
        self.site, self.study, self.chunk = site, study, chunk
        self.compact, self.adapters = site.compact(study)
        self.names = trainable_names(self.compact, which)
        self.patients: list[Patient] = site.partitions(study)["train"]
        self.coins = Coins(KEY)

    def clipped_sum(self, weights: Arrays, patients: Sequence[Patient] | None = None) -> Tensor:
        """Go the whole path of a step: files, views, targets, coins, gradients, clip; one flat vector."""
        who = self.patients if patients is None else list(patients)
        load_trainable(self.compact, weights)
        with self.site.target_cache(self.study) as cache:
            sums = clipped_sum_for_step(
                self.compact,
                self.names,
                step_plan(self.study, 1, self.site.config.declared_patients, patients_per_chunk=self.chunk),
                patient_ids=[one.patient_id for one in who],
                coins=self.coins,
                source=SitePatients(who, self.study, self.compact, self.adapters, cache, self.coins),
                step=0,
            )
        return torch.cat([sums[name].double().flatten() for name in sorted(sums)])

    def images(self, patients: Sequence[Patient]) -> Tensor:
        """Return the patients' views of the first step, as the model sees them."""
        with self.site.target_cache(self.study) as cache:
            source = SitePatients(list(patients), self.study, self.compact, self.adapters, cache, self.coins)
            return torch.cat([source.load(index, 0)["images"] for index in range(len(patients))])


def ask(
    site: Site, study: StudyConfig, kind: str, number: int, weights: Arrays, uid: str = "a" * 32
) -> dict[str, bytes]:
    """Send a request to the site's own `answer`, and return what would leave."""
    header = RequestHeader(
        study_uid=uid,
        round=number,
        kind=kind,
        study_json=study.canonical_json(),
        base_digest=arrays_digest(weights),
        code_digest=code_digest(),
    )
    return answer(site, encode_request(Request(header, weights)))
