"""The names of what is asked, of what may leave a hospital, and of who is looked at; each written down once."""

from typing import Literal

RequestKind = Literal["enrol", "train", "evaluate"]
ReleaseKind = Literal[
    "enrolment", "update", "evaluation", "regions", "maps", "status", "ledger_statement", "error"
]
Partition = Literal["train", "evaluation", "audit"]
