"""The attacks on our own claim, made short: every claim holds, and every planted fault is caught by name."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.privacy.catalogue import CHECKS
from tests.privacy.faults import FAULTS, Edit, Fault
from tests.privacy.plant import ROOT, CannotPlantError, planted
from tests.privacy.run import build, checked, fault_row
from tests.privacy.side_by_side import Workers
from tests.privacy.table import CHECK_COLUMNS, FAULT_COLUMNS, FaultRow, Row, first_cells

PAGE = ROOT / "docs" / "privacy-check.md"
REQUIRED = 14
Outcomes = dict[str, Future[Row] | Future[FaultRow]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    """Start what this run's tests ask for, two at a time; each test then waits for its own outcome."""
    asked = {item.callspec.params["name"] for item in request.session.items if hasattr(item, "callspec")
             and "name" in item.callspec.params and item.path == Path(__file__)}  # fmt: skip
    with (
        Workers(tmp_path_factory.mktemp("room"), quick=True) as workers,
        ThreadPoolExecutor(2) as threads,
    ):
        build(workers)
        jobs = {name: partial(checked, workers, name, one.claim, one.attack) for name, one in CHECKS.items()}
        jobs |= {one.name: partial(fault_row, workers, one) for one in FAULTS}
        yield {name: threads.submit(job) for name, job in jobs.items() if name in asked}


@pytest.mark.parametrize("name", CHECKS)
def test_the_claim_holds(name: str, outcomes: Outcomes) -> None:
    """Under this attack nothing is seen beyond the claim's bound."""
    row = outcomes[name].result()
    assert row.holds, row


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_the_planted_fault_is_caught(name: str, outcomes: Outcomes) -> None:
    """With this fault planted in a copy, the check that is responsible finds that its claim does not hold."""
    row = outcomes[name].result()
    assert row.caught, row


def test_a_fault_that_finds_no_place_is_not_caught(tmp_path: Path) -> None:
    """An edit whose text is gone from its file, or stands there twice, is refused rather than passed over."""
    fault = replace(FAULTS[0], edits=(Edit(FAULTS[0].edits[0].file, "no such line", ""),))
    with pytest.raises(CannotPlantError, match="has 0 times 'no such line'"):
        planted(fault, tmp_path / "gone")
    twice = Fault("twice", "", "", (Edit("client/rounds/answer.py", "import", ""),))
    with pytest.raises(CannotPlantError, match="needed is once"):
        planted(twice, tmp_path / "twice")


def test_every_fault_names_a_check() -> None:
    """At least 14 faults are planted, each under a name of its own, and each by a check that exists."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= REQUIRED
    assert {fault.check for fault in FAULTS} <= set(CHECKS)


def test_the_page_shows_these_checks_and_faults() -> None:
    """The committed page has a row for every check and fault, with the same words; its figures may differ."""
    page = PAGE.read_text(encoding="utf-8")
    shown = first_cells(page, CHECK_COLUMNS[0], 3)
    assert set(shown) >= {(check.name, check.claim, check.attack) for check in CHECKS.values()}
    assert first_cells(page, FAULT_COLUMNS[0], 3) == [(f.name, f.change, f.check) for f in FAULTS]
