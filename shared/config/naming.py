"""What a hospital calls its own things: a table's columns, and whose a picture is by its name.

Typed in `site.yaml`, used by the readers of `shared/data`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

TextRule = Literal["refuse", "refuse_flagged", "allow"]  # of text burned into a DICOM picture


@dataclass(frozen=True)
class Naming:
    """What a hospital's data calls our columns, and how a file's path names its patient where nothing else does."""

    columns: Mapping[str, str] = field(default_factory=dict)  # column of ours: the table's own name
    patient_pattern: str | None = None

    def patient_of(self, path: str) -> str:
        """Return what the pattern's groups hold for a path, "" where it does not fit: then nobody is named."""
        found = None if self.patient_pattern is None else re.search(self.patient_pattern, path)
        parts = [part or "" for part in found.groups()] if found else []
        return "/".join(parts) if any(parts) else ""


OURS = Naming()  # columns by our own names
