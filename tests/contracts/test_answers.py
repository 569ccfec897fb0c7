"""Whether a site answers, and with what kind of answer, never depends on a patient."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.rounds import answer as site_round
from client.rounds.answer import answer
from client.rounds.local_evaluation import patient_confusion
from client.site.site import Site
from shared.config.kinds import Partition, RequestKind
from shared.distillation.targets import read_views
from shared.errors import ErrorCode
from shared.messages.releases import decode_release
from shared.models.arrays import to_arrays
from shared.models.trainable import load_trainable, trainable_names

ONE_VIEW = {"distillation": {"num_views": 1, "views_per_step": 1}, "privacy": {"sample_rate": 1.0}}
FLOAT_MAX = float(np.finfo(np.float32).max)


def overflowing_for_one(site: Site, study: Any, partition: Partition) -> tuple[str, dict[str, np.ndarray]]:
    """Scale the classifier until its logits overflow for exactly one patient; returns who, and the weights."""
    compact, _ = site.compact(study)
    names = trainable_names(compact, "scales")
    parameters = dict(compact.named_parameters())
    weights = to_arrays({name: parameters[name] for name in names})
    grown = next(
        name for name in names if name.startswith("student.final_expand_layer") and name.endswith("weight")
    )
    weights[grown] = weights[grown] * 1e3
    load_trainable(compact, weights)
    patients = site.partitions(study)[partition]
    with torch.inference_mode():
        logits = {
            p.patient_id: compact(read_views(p, study).images((0,))).abs().max().item() for p in patients
        }
    first, second = sorted(logits, key=lambda name: -logits[name])[:2]
    assert logits[first] > 1.001 * logits[second]
    factor = FLOAT_MAX / np.sqrt(logits[first] * logits[second])
    for name in ("student.classifier.linear.weight", "student.classifier.linear.bias"):
        weights[name] = (weights[name].astype(np.float64) * factor).astype(np.float32)
    assert all(np.isfinite(array).all() for array in weights.values())
    load_trainable(compact, weights)
    with torch.inference_mode():
        broken = [
            p.patient_id for p in patients if not compact(read_views(p, study).images((0,))).isfinite().all()
        ]
    assert broken == [first]
    return first, weights


def without(site: Site, patient_id: str, folder: Path) -> dict[str, Any]:
    """Return the site's data without one patient."""
    with site.config.data.source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    manifest = folder / "without.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["patient_id"] != patient_id)
    return {"data": {"source": str(manifest)}}


@pytest.mark.parametrize(
    ("kind", "partition", "part"), [("train", "train", "update"), ("evaluate", "evaluation", "evaluation")]
)
def test_weights_that_overflow_for_one_patient_are_answered_as_if_they_did_not(
    tiny_federation: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: RequestKind,
    partition: Partition,
    part: str,
) -> None:
    """With and without the patient for whom crafted weights overflow, the reply is a release of finite values."""
    monkeypatch.setattr(site_round, "MAX_ABSOLUTE_WEIGHT", FLOAT_MAX)  # past the first line of defence
    study = tiny_federation.changed(**ONE_VIEW)
    site = tiny_federation.site("film", tmp_path / "with")
    who, weights = overflowing_for_one(site, study, partition)
    if kind == "evaluate":  # the images that are counted overflow too, and that patient counts for nothing
        compact, _ = site.compact(study)
        load_trainable(compact, weights)
        shares = {
            p.patient_id: patient_confusion(compact, p, study.task).sum()
            for p in site.partitions(study)[partition]
        }
        assert shares[who] == 0
    less = tiny_federation.site("film", tmp_path / "without", **without(site, who, tmp_path))
    for one in (site, less):
        parts = answer(one, tiny_federation.request(kind, 1, weights, study))
        assert set(parts) == {part, "ledger_statement"}
        expected = tiny_federation.shapes if kind == "train" else {"confusion": (2, 2)}
        release = decode_release(parts[part], expected, kinds=(part,))
        assert all(np.isfinite(array).all() for array in release.arrays.values())


def test_weights_out_of_range_are_refused_before_data_is_read(tiny_federation: Any, tmp_path: Path) -> None:
    """Weights beyond the allowed range get one code, from a site whose data does not even exist."""
    site = tiny_federation.site("film", tmp_path, data={"source": str(tmp_path / "nowhere.csv")})
    weights = {name: array.copy() for name, array in tiny_federation.initial.items()}
    weights[next(iter(weights))][...] = 1e30
    parts = answer(site, tiny_federation.request("train", 1, weights))
    assert set(parts) == {"error"}
    assert decode_release(parts["error"]).fields.code == ErrorCode.BAD_REQUEST


def test_whatever_fails_on_data_has_one_code_and_no_text(tiny_federation: Any, tmp_path: Path) -> None:
    """A folder that is gone is `failed`, and no path or name of it stands in the bytes that leave."""
    source = tmp_path / "secret-folder" / "patients.csv"
    site = tiny_federation.site("film", tmp_path, data={"source": str(source)})
    parts = answer(site, tiny_federation.request("train", 1))
    assert set(parts) == {"error"}
    assert decode_release(parts["error"]).fields.code == ErrorCode.FAILED
    assert b"secret-folder" not in b"".join(parts.values())
