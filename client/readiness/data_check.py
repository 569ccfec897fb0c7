"""Can this hospital's images be used, and how many are there? Counted by class and patient, for the hospital alone.

In: `site.yaml` and the study. Out: findings with counts; nothing of them leaves, and no patient's partition is fixed.
"""

import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

from client.readiness.finding import Finding
from client.readiness.identity_check import identity_findings, passed_over_findings
from client.site.patient_partitions import assign_partitions
from client.site.site import Site
from shared.config.kinds import Partition
from shared.config.site import FAR_ABOVE, FAR_BELOW
from shared.config.study import StudyConfig
from shared.data.hospital import HospitalPatients
from shared.data.image_problems import advice, makes_unusable
from shared.data.images import check_images
from shared.data.patients import Patient
from shared.data.sources import describe_source
from shared.errors import RoundsError

MOST_LABELS = 6  # named in one line


def data_findings(site: Site, study: StudyConfig) -> Generator[Finding, None, int | None]:
    """Yield what is to be said of labels, patients, classes, images, masks and the declared number.

    Returns the number of training patients, None where they cannot be counted.
    """
    data = site.config.data
    try:
        found = site.records(study)
        labels = _label_map(found, site, study)
        yield labels
        if labels.mark == "fail":
            return None
        patients = found.patients
        parts = _partitions(site, patients)
    except RoundsError as error:
        yield Finding("fail", "data", str(error))
        return None
    num_images = sum(len(patient.images) for patient in patients)
    kinds = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    yield Finding("ok", "data", f"{len(patients)} patients ({kinds}), {num_images} images")
    for note in describe_source(data.source, study.task, data.dicom, data.naming):
        yield Finding("warn", "data", f"{note} If that is not what you want, change the data or site.yaml.")
    yield from _classes(patients, study)
    yield from identity_findings(found, study.task)
    yield from _images(site, found, study)
    yield from passed_over_findings(found)
    yield _masks(patients)
    yield from _number(site, len(parts["train"]))
    return len(parts["train"])


def _label_map(records: HospitalPatients, site: Site, study: StudyConfig) -> Finding:
    """Say what becomes of every label that the data holds; all that nobody mapped are named at once.

    It fails where more records than data.max_unreadable have such a label; fewer cost their patients alone.
    """
    labels, classes, found = site.config.data.label_map, study.task.classes, records.labels
    lost = {label: count for label, count in found.items() if labels.get(label, label) not in {*classes, ""}}
    if lost:
        named = ", ".join(f"{label!r} ({count})" for label, count in sorted(lost.items())[:MOST_LABELS])
        more = f" and {len(lost) - MOST_LABELS} more" if len(lost) > MOST_LABELS else ""
        sentence = (
            f"{named}{more}: no class of the study ({', '.join(classes)}); add each to data.label_map, or map it "
            'to "" to leave it out'
        )
        if sum(lost.values()) > site.config.data.max_unreadable * found.total():
            return Finding("fail", "label map", sentence)
        return Finding(
            "warn", "label map", f"{sentence}; till then the patients concerned contribute nothing"
        )
    left = sum(count for label, count in found.items() if labels.get(label) == "")
    unused = sorted(set(labels) - set(found))
    if unused:
        sentence = (
            f"data.label_map names {', '.join(map(repr, unused[:MOST_LABELS]))}, which the data does not hold; "
            "correct or remove"
        )
        return Finding("warn", "label map", sentence)
    num_named = len(found) - ("" in found and "" not in labels)
    return Finding("ok", "label map", f"complete: {num_named} labels, {left} images left out by it")


def _partitions(site: Site, patients: list[Patient]) -> dict[Partition, list[Patient]]:
    """Return what the site's table would say, on a copy: only enrolment fixes a patient's partition."""
    table = site.config.state_dir / "partitions.sqlite"
    key = site.key() if (site.config.state_dir / "site.key").is_file() else secrets.token_bytes(32)
    with tempfile.TemporaryDirectory(prefix="rounds-check-") as scratch:
        copy = Path(scratch) / table.name
        if table.is_file():
            shutil.copyfile(table, copy)
        return assign_partitions(patients, copy, key)


def _classes(patients: list[Patient], study: StudyConfig) -> Iterator[Finding]:
    images = Counter(image.label for patient in patients for image in patient.images)
    people = Counter(label for patient in patients for label in {image.label for image in patient.images})
    for label, name in enumerate(study.task.classes):
        sentence = f"{people[label]} patients, {images[label]} images"
        if people[label]:
            yield Finding("ok", f"class {name}", sentence)
        else:
            yield Finding(
                "warn", f"class {name}", f"{sentence}; right if this hospital has none, else see label_map"
            )


def _images(site: Site, found: HospitalPatients, study: StudyConfig) -> Iterator[Finding]:
    problems = check_images(found.patients, study.task).with_left_out(found.problems)
    share, most = problems.num_unreadable / max(1, problems.num_images), site.config.data.max_unreadable
    bad = {
        kind: count
        for kind, count in problems.kinds.items()
        if makes_unusable(kind) or kind.startswith("mask")
    }
    kinds = ", ".join(f"{kind} {count}" for kind, count in bad.items())
    if share > most:
        sentence = (
            f"{kinds}: {share:.1%} of images cannot be used, data.max_unreadable is {most:.1%}; repair them"
        )
        yield Finding("fail", "images", sentence)
    elif kinds:
        meaning = [
            sentence
            for number, sentence in (
                (
                    problems.num_unreadable,
                    "a patient with an image or record that cannot be used contributes nothing",
                ),
                (problems.num_bad_masks, "masks take no part in training, only an audit uses them"),
            )
            if number
        ]
        yield Finding("warn", "images", f"{kinds}: {'; '.join(meaning)}; repair or remove them")
    else:
        yield Finding("ok", "images", "every image and mask can be read")
    for kind, count in problems.kinds.items():
        if kind in bad:
            yield Finding("warn", "images", advice(kind, count))


def _number(site: Site, num_train: int) -> Iterator[Finding]:
    declared = site.config.declared_patients
    share = num_train / declared
    if num_train == 0:
        yield Finding("fail", "declared", "no training patient; check data.site and the splits")
    elif share > FAR_ABOVE:
        sentence = (
            f"{declared} declared, {num_train} train: updates may exceed the bound; declare a larger number"
        )
        yield Finding("warn", "declared", sentence)
    elif share < FAR_BELOW:
        sentence = (
            f"{declared} declared, {num_train} train: the site counts for more than it has; declare less"
        )
        yield Finding("warn", "declared", sentence)
    else:
        yield Finding(
            "ok", "declared", f"{declared} declared, {num_train} train (the declared number is public)"
        )


def _masks(patients: list[Patient]) -> Finding:
    images = [image for patient in patients for image in patient.images]
    regions = sum(image.mask is not None for image in images)
    lesions = sum(image.lesion_mask is not None for image in images)
    sentence = f"{regions} of {len(images)} images name a region mask, {lesions} a lesion mask"
    return Finding("ok", "masks", f"{sentence} (none is needed to take part)")
