"""What a check found, as one row of a table: claim, attack, bound, seen, holds or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """The outcome of one attack: the bound of the claim, what was seen, and whether the claim holds."""

    bound: str
    seen: str
    holds: bool


@dataclass(frozen=True)
class Check:
    """One claim under one attack; `run` gets a `Room` (made-up hospitals) and says what it found."""

    name: str
    claim: str
    attack: str
    run: Callable[[Any], Finding]


@dataclass(frozen=True)
class Row:
    """One line of the table; `problem` says why a check could not be run, which counts as not holding."""

    name: str
    claim: str
    attack: str
    bound: str
    seen: str
    holds: bool
    seconds: float
    problem: str = ""

    @property
    def verdict(self) -> str:
        """The last word of the line."""
        return "holds" if self.holds else "COULD NOT BE RUN" if self.problem else "DOES NOT HOLD"


@dataclass(frozen=True)
class FaultRow:
    """One planted fault: which check named it, what that check saw."""

    name: str
    change: str
    check: str
    seen: str
    caught: bool
    seconds: float

    @property
    def verdict(self) -> str:
        """The last word of the line."""
        return "caught" if self.caught else "NOT CAUGHT"


CHECK_COLUMNS = ("check", "claim", "attack", "bound", "seen", "holds or not", "seconds")
FAULT_COLUMNS = (
    "planted fault",
    "what is changed",
    "caught by",
    "what that check saw",
    "caught or not",
    "seconds",
)


def check_cells(row: Row) -> tuple[str, ...]:
    """Return a row's cells in the order of `CHECK_COLUMNS`."""
    return (
        row.name,
        row.claim,
        row.attack,
        row.bound,
        row.problem or row.seen,
        row.verdict,
        f"{row.seconds:.1f}",
    )


def fault_cells(row: FaultRow) -> tuple[str, ...]:
    """Return a row's cells in the order of `FAULT_COLUMNS`."""
    return (row.name, row.change, row.check, row.seen, row.verdict, f"{row.seconds:.1f}")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def first_cells(page: str, column: str, count: int) -> list[tuple[str, ...]]:
    """Return the first `count` cells of each row of a page's table whose first column has this name."""
    rows: list[tuple[str, ...]] = []
    inside = False
    for line in page.splitlines():
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split(" | "))
        if line.startswith(f"| {column} |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and set(cells[0]) != {"-"}:
            rows.append(cells[:count])
    return rows


def between(page: Path, text: str) -> None:
    """Put text between the page's markers; `ValueError` where it has none."""
    start, end = "<!-- made by `make privacy-check`: begin -->", "<!-- made by `make privacy-check`: end -->"
    old = page.read_text(encoding="utf-8")
    if old.count(start) != 1 or old.count(end) != 1:
        raise ValueError(
            f"{page}: has no place for the tables, needed are the lines {start} and {end}; put them back"
        )
    head, tail = old.split(start)[0], old.split(end)[1]
    page.write_text(f"{head}{start}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
