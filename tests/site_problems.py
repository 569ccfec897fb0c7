"""What a reader of DICOM leaves out, for tests: a source and its rules come in, counts by kind go out."""

from collections import Counter
from pathlib import Path

from shared.config.site_data import DicomData
from shared.config.study import Task
from shared.data.patients import LeftOut
from shared.data.sources import read_records

TASK = Task(classes=("normal", "pneumonia"), image_size=32)


def source_problems(source: Path, rules: DicomData) -> dict[str, int]:
    """Count by kind what reading a DICOM source leaves out."""
    found = read_records(source, TASK, rules)
    return dict(Counter(one.kind for one in found if isinstance(one, LeftOut)))
