"""Attack our own privacy claim, then plant faults and see each of them named.

    python -m tests.privacy.run [--quick] [--docs docs/privacy-check.md] [--only WORD]

Exit status 0 where every claim holds and every planted fault is caught.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.privacy.faults import FAULTS, Fault
from tests.privacy.plant import ROOT, CannotPlantError, planted
from tests.privacy.side_by_side import Workers
from tests.privacy.table import (
    CHECK_COLUMNS,
    FAULT_COLUMNS,
    FaultRow,
    Row,
    between,
    check_cells,
    fault_cells,
    markdown,
)
from tests.privacy.worker import BUILD, NAMES, SEARCH

SEARCH_SECONDS = 150.0
console = Console(width=200, highlight=False)


def main() -> int:
    """Run all of it and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="smaller searches and fewer repetitions, as the tests do"
    )
    parser.add_argument("--docs", type=Path, help="a page between whose markers the tables go")
    parser.add_argument("--only", default="", help="checks and faults whose names hold this word")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Workers(Path(folder), quick=options.quick) as workers:
        build(workers)
        searches = (
            [partial(searched, workers)] if not options.quick and not options.only and has_search() else []
        )
        names = checks(workers)
        wanted = [partial(checked, workers, *one) for one in names if options.only in one[0]]
        faults = [partial(fault_row, workers, one) for one in FAULTS if options.only in one.name]
        done = workers.all([*searches, *wanted, *faults])
    rows = [row for part in done if isinstance(part, list) for row in part]
    rows = [*(one for one in done if isinstance(one, Row)), *rows]
    planted_rows = judged([one for one in done if isinstance(one, FaultRow)], rows)
    show("Attacks", CHECK_COLUMNS, [check_cells(row) for row in rows])
    show("Planted faults", FAULT_COLUMNS, [fault_cells(row) for row in planted_rows])
    good = all(row.holds for row in rows) and all(row.caught for row in planted_rows)
    console.print(
        f"{sum(row.holds for row in rows)} of {len(rows)} claims hold, {sum(row.caught for row in planted_rows)} of "
        f"{len(planted_rows)} planted faults are caught, in {time.monotonic() - started:.0f} s"
    )
    if options.docs:
        between(options.docs, page(rows, planted_rows))
        console.print(f"written: {options.docs}")
    return 0 if good else 1


def build(workers: Workers) -> None:
    """Make the hospitals that are attacked; `RuntimeError` where that fails."""
    problem = workers.run(BUILD).get("problem")
    if problem:
        raise RuntimeError(f"the made-up hospitals could not be built: {problem}")


def checks(workers: Workers) -> list[tuple[str, str, str]]:
    """Return name, claim and attack of every check."""
    answer = workers.run(NAMES)
    if "problem" in answer:
        raise RuntimeError(f"the checks cannot be read: {answer['problem']}")
    return [tuple(one) for one in answer["checks"]]


def has_search() -> bool:
    """Say whether the search for the worst ratio is there."""
    return (ROOT / "tests" / "privacy" / "search.py").is_file()


def searched(workers: Workers) -> list[Row]:
    """Search for the worst ratio and return the rows that it found."""
    answer = workers.run(SEARCH, seconds=SEARCH_SECONDS)
    if "problem" in answer:
        row = {"name": "search", "claim": "", "attack": "", "bound": "", "seen": "", "holds": False}
        return [Row(**row, seconds=answer["seconds"], problem=answer["problem"])]
    return [Row(**{"seconds": answer["seconds"]} | row) for row in answer["rows"]]


def checked(workers: Workers, name: str, claim: str, attack: str) -> Row:
    """Run one check on the repository as it is."""
    answer = workers.run(name)
    row = Row(
        name, claim, attack, answer.get("bound", ""), answer.get("seen", ""), answer.get("holds", False),
        answer["seconds"], answer.get("problem", ""),
    )  # fmt: skip
    console.print(f"{row.seconds:6.1f} s  {name}: {row.verdict}; {row.problem or row.seen}")
    return row


def fault_row(workers: Workers, fault: Fault) -> FaultRow:
    """Plant one fault in a copy, run the check there that has to name it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            tree = planted(fault, Path(folder))
        except CannotPlantError as error:
            row = FaultRow(fault.name, fault.change, fault.check, f"cannot be planted: {error}", False, 0.0)
        else:
            answer = workers.run(fault.check, tree)
            broke = answer.get("problem", "")
            row = FaultRow(
                fault.name, fault.change, fault.check, f"could not be run: {broke}" if broke else answer["seen"],
                not broke and not answer["holds"], answer["seconds"],
            )  # fmt: skip
    console.print(f"{row.seconds:6.1f} s  planted: {row.name}: {row.verdict} by {row.check}; {row.seen}")
    return row


def judged(planted_rows: Sequence[FaultRow], rows: Sequence[Row]) -> list[FaultRow]:
    """Take back what a check named that does not hold on the sound tree either: it would name anything."""
    failing = {row.name for row in rows if not row.holds}
    return [
        replace(one, caught=False, seen=f"{one.seen}; but the check does not hold without the fault either")
        if one.caught and one.check in failing
        else one
        for one in planted_rows
    ]


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(*columns, title=title, show_lines=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def page(rows: Sequence[Row], planted_rows: Sequence[FaultRow]) -> str:
    """Return both tables as Markdown, with the seconds they took on two cores."""
    return "\n\n".join(
        (
            "## Attacks",
            markdown(CHECK_COLUMNS, [check_cells(row) for row in rows]),
            "## Planted faults",
            markdown(FAULT_COLUMNS, [fault_cells(row) for row in planted_rows]),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
