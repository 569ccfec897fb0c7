"""What was passed over or is worth a look, in words: left-out records come in, counts and sentences go out.

Sentences hold counts and endings of file names: for people at the hospital, and for reports of public data.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.data.image_problems import advice
from shared.data.patients import LeftOut

BY_ENDING = frozenset({"other_format", "other_file", "not_dicom"})  # told with the endings of their files
MOST_ENDINGS = 8


@dataclass(frozen=True)
class Told:
    """How many records there are of each kind, and how often each ending of a file name within a kind."""

    kinds: dict[str, int] = field(default_factory=dict)
    endings: Mapping[str, Counter[str]] = field(default_factory=dict)

    def sentence(self, kind: str, count: int | None = None) -> str:
        """Say how often a kind was met, of which files, and what to do about it."""
        number = self.kinds.get(kind, 0) if count is None else count
        told = advice(kind, number)
        endings = self.endings.get(kind, Counter())
        if kind not in BY_ENDING or not endings:
            return told
        most = sorted(endings.items(), key=lambda one: (-one[1], one[0]))[:MOST_ENDINGS]
        more = f", others {endings.total() - sum(n for _, n in most)}" if len(endings) > MOST_ENDINGS else ""
        named = ", ".join(f"{ending} {times}" for ending, times in most)
        return told.replace(f"{kind} {number}:", f"{kind} {number} ({named}{more}):", 1)

    def sentences(self) -> tuple[str, ...]:
        """Say it of every kind."""
        return tuple(self.sentence(kind) for kind in self.kinds)


def told_of(left_out: Iterable[LeftOut]) -> Told:
    """Count left-out records by kind, and within a kind by the ending of their files."""
    kinds: Counter[str] = Counter()
    endings: dict[str, Counter[str]] = defaultdict(Counter)
    for one in left_out:
        kinds[one.kind] += 1
        if one.file is not None and one.kind in BY_ENDING:
            ending = one.file.suffix.lower()
            endings[one.kind][
                ending if ending.isascii() and ending.isprintable() and ending else "no ending"
            ] += 1
    return Told(dict(sorted(kinds.items())), endings)
