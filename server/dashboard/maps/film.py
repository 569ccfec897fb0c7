"""What maps are laid over: a film, outlines of organs, and which of the patient's sides is where."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

REGIONS: Final = {
    "lungs": "the lungs",
    "heart": "the heart",
    "disc": "the optic disc",
    "macula": "the macula",
}

EDGES: Final = ("border", "corners")  # of the film itself, where markers and tubes lie


@dataclass(frozen=True)
class Film:
    """A film by the digest of its PNG; `outlines` are SVG paths by region, in coordinates from 0 to 1."""

    digest: str
    frame: str
    source: str
    num_images: int
    outlines: dict[str, str]
    laterality: str

    @property
    def sides(self) -> tuple[str, str] | None:
        """The patient's side at the left and at the right of the picture; None where the record does not say."""
        said = self.laterality.lower()
        if "left is on the right" in said:
            return "R", "L"
        return ("L", "R") if "left is on the left" in said else None

    @property
    def sides_unknown(self) -> str:
        """Why no side is marked, short enough for a square."""
        return "eyes not told apart" if "eyes are not told apart" in self.laterality else "sides not stated"

    @property
    def region(self) -> str:
        """What the outline is round, for a sentence."""
        return next(
            (words for name, words in REGIONS.items() if name in self.outlines), "the outlined region"
        )


def film_for(known: Iterable[Film], frame: str) -> Film | None:
    """Return the film of a frame; the first of those given."""
    return next((one for one in known if one.frame == frame), None)
