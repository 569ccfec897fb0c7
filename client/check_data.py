"""Can this hospital's images be used, and how many are there? Counted by class and patient, for the hospital alone.

In: `site.yaml` and the study. Out: findings with counts; nothing of them leaves, and no patient's partition is fixed.
"""

import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from client.findings import Finding
from client.partition import Partition, assign_partitions
from client.site import Site
from shared.config import StudyConfig
from shared.data.image_problems import advice
from shared.data.images import check_images
from shared.data.records import Patient
from shared.data.source import describe_source, source_problems
from shared.errors import RoundsError
from shared.targets import forecast_bytes

FAR_ABOVE, FAR_BELOW = 1.25, 0.5  # real over declared patients, where the declared number no longer serves


def data_findings(site: Site, study: StudyConfig) -> Iterator[Finding]:
    """Yield what is to be said of patients, classes, images, the declared number and the target cache."""
    data = site.config.data
    try:
        patients = site.patients(study)
        parts = _partitions(site, patients)
    except RoundsError as error:
        yield Finding("fail", "data", str(error))
        return
    num_images = sum(len(patient.images) for patient in patients)
    kinds = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    yield Finding("ok", "data", f"{len(patients)} patients ({kinds}), {num_images} images")
    yield from (
        Finding("warn", "data", note) for note in describe_source(data.source, study.task, data.dicom)
    )
    yield from _classes(patients, study)
    yield from _images(site, patients, study)
    yield from _number(site, len(parts["train"]))
    yield from _cache(site, study, len(parts["train"]))


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


def _images(site: Site, patients: list[Patient], study: StudyConfig) -> Iterator[Finding]:
    data = site.config.data
    problems = check_images(patients, study.task).with_left_out(source_problems(data.source, data.dicom))
    share, most = problems.num_unreadable / max(1, problems.num_images), data.max_unreadable
    bad = {kind: count for kind, count in problems.kinds.items() if kind.startswith(("image", "mask"))}
    kinds = ", ".join(f"{kind} {count}" for kind, count in bad.items())
    if share > most:
        sentence = (
            f"{kinds}: {share:.1%} of images cannot be read, data.max_unreadable is {most:.1%}; repair them"
        )
        yield Finding("fail", "images", sentence)
    elif kinds:
        sentence = f"{kinds}: a patient with an unreadable image contributes nothing; repair or remove them"
        yield Finding("warn", "images", sentence)
    else:
        yield Finding("ok", "images", "every image and mask can be read")
    for kind, count in problems.kinds.items():
        yield Finding("warn" if kind in bad else "ok", "images", advice(kind, count))


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


def _cache(site: Site, study: StudyConfig, num_train: int) -> Iterator[Finding]:
    try:
        needed = forecast_bytes(site.teacher(study), study, num_train)
    except RoundsError:
        return  # said under 'teacher'
    folder = next(path for path in (site.config.state_dir, *site.config.state_dir.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    sentence = f"teacher targets will take {needed / 1e6:.1f} MB, {free / 1e6:.0f} MB are free at state_dir"
    yield Finding("ok" if needed < free else "fail", "target cache", sentence)
