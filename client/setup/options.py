"""What a person gave as options of `rounds-site setup`; None, or nothing, is what will be asked or proposed."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Answers that were given with the command, each to one question."""

    source: Path | None = None
    kind: str | None = None
    file_column: str | None = None
    label_column: str | None = None
    patient_column: str | None = None
    rows_of: str | None = None
    labels: Path | None = None
    label_tag: str | None = None
    patients: str | None = None
    label_map: tuple[str, ...] = ()
    accept_map: bool = False
    declared: str | None = None
    cap_epsilon: str | None = None
    cap_delta: str | None = None
