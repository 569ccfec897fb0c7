"""A hospital that takes part in a study, as it enrolled: what rounds ask, and what is on record of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EnrolledSite:
    """One hospital in this study; `declared_patients` is a public number a person typed."""

    name: str
    node_id: int
    declared_patients: int
    versions: Mapping[str, str] = field(default_factory=dict)
    num_bytes: int = 0  # of its enrolment
