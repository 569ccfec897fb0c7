"""What an explanation map cannot show, in the same words on report and dashboard."""

from typing import Final

CANNOT: Final = (
    "why a region counts, or whether the answer is right: a map shows where a model's evidence lies, no more",
    "what else lies in the same place: a map over the lungs may follow a tube, a marker or the film's quality there",
    "disease as well as an expert does: radiologists place findings better (doi 10.1038/s42256-022-00536-x)",
)
