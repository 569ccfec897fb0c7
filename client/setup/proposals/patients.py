"""Whose is a picture, by its name? Paths of pictures come in; patterns that group them go out, with what they find.

A pattern that takes two people for one protects them as one; one that takes a person for two protects each half. So
patterns that group more come first, and a person decides.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shared.data.folder import SPLIT_NAMES

# For site.yaml as data.patient_pattern, each with what it goes by; looked for in a path below the source.
PATTERNS = (
    (r"(?i)((?:patient|person|subject|pat|subj|case|fall)[-_ ]?[0-9]+)", "the word and number in its path"),
    (r"([^/]+)[-_ ][0-9]{1,4}\.[^./]+$", "its file's name without the last number"),
    (r"^([^/]+)/", "the first folder"),
)
MOST_EACH = 30  # pictures of one patient, on average, beyond which a pattern finds something else
LEAST_FITTING = 0.98


@dataclass(frozen=True)
class Grouping:
    """A pattern, what it goes by, and how many patients it finds in how many pictures."""

    pattern: str
    goes_by: str
    num_patients: int
    num_pictures: int
    num_unfit: int
    example: tuple[str, str]  # a path, and the patient found in it


def groupings(paths: Sequence[str], labels: Collection[str] = ()) -> list[Grouping]:
    """Return the patterns that find a patient in nearly each path and several pictures of some; best first.

    A group that is a label of the data, or the name of a split, is no patient.
    """
    found = []
    for pattern, goes_by in PATTERNS:
        patients = [(path, fit[1]) for path in paths if (fit := re.search(pattern, path))]
        named = {patient for _, patient in patients}
        if (
            len(patients) < LEAST_FITTING * len(paths)
            or named & {*labels}
            or {one.lower() for one in named} & {*SPLIT_NAMES}
        ):
            continue
        if 1 < len(named) < len(patients) <= MOST_EACH * len(named):
            num_unfit = len(paths) - len(patients)
            found.append(Grouping(pattern, goes_by, len(named), len(paths), num_unfit, patients[0]))
    return found
