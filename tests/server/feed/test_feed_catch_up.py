"""What finished studies left in their folders: sent by the hub itself."""

from pathlib import Path

import pytest

from server.services.feed_catch_up import Leftovers
from server.store.intake.outbox import Outbox
from server.studies.submissions import Submission, SubmittedStudy
from tests.feed_hub import FeedHub, events


def study(studies: Path, name: str, state: str) -> SubmittedStudy:
    """Make a submitted study with three records."""
    made = SubmittedStudy(studies / name)
    made.path.mkdir(parents=True)
    made.write(Submission(workspace=studies, app="@a/b", study="0" * 64, state=state))
    Outbox(made.path).add(name, *events(3))
    return made


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return tmp_path / "studies"


def test_what_is_over_is_sent_and_what_runs_is_left_to_its_process(hub: FeedHub, studies: Path) -> None:
    """Completed, failed and stopped studies are sent, each under its own name; a running one is not."""
    for state in ("completed", "failed", "stopped", "running"):
        study(studies, f"a-{state}", state)
    assert Leftovers(studies, hub.file).look()
    sent = {
        name: len(hub.records(f"study/a-{name}")) for name in ("completed", "failed", "stopped", "running")
    }
    assert sent == {"completed": 3, "failed": 3, "stopped": 3, "running": 0}


def test_only_what_is_new_is_looked_at(hub: FeedHub, studies: Path) -> None:
    """A folder that did not change costs no call; a report that adds records to it is sent."""
    done = study(studies, "a-1", "completed")
    asked: list[str] = []
    leftovers = Leftovers(studies, lambda run: asked.append(run) or hub.file(run))  # type: ignore[func-returns-value]
    for _ in range(3):
        assert leftovers.look()
    assert asked.count("a-1") <= 2  # once more where reading the outbox had its log written back
    asked.clear()
    Outbox(done.path).add("a-1", *events(2, first=4))
    assert leftovers.look()
    assert "a-1" in asked
    assert len(hub.records("study/a-1")) == 5


def test_a_feed_that_is_away_is_waited_for(
    hub: FeedHub, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken for sent; it goes when the feed answers."""
    monkeypatch.setattr("server.services.feed_catch_up._STUDY_SECONDS", 0.3)
    study(studies, "a-1", "completed")
    leftovers = Leftovers(studies, hub.file)
    hub.file("a-1")
    hub.stop()
    assert not leftovers.look()
    hub.start_again()
    assert leftovers.look()
    assert len(hub.records("study/a-1")) == 3


def test_one_study_that_is_refused_holds_up_no_other(
    hub: FeedHub, studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its records conflict with what the hub has: that is said once, and the next study is sent."""
    study(studies, "a-1", "completed")
    study(studies, "b-1", "completed")
    other = hub.outbox("a-1")
    other.add("a-1", *events(3, first=50))
    assert Leftovers(hub.runs, hub.file).look()  # no submission there: nothing is sent
    Leftovers(studies, hub.file).look()
    (studies / "a-1" / "outbox.sqlite").unlink()
    Outbox(studies / "a-1").add("a-1", *events(3, first=50))
    study(studies, "c-1", "completed")
    leftovers = Leftovers(studies, hub.file)
    for _ in range(2):
        assert leftovers.look()
    assert len(hub.records("study/c-1")) == 3
    assert [
        line.getMessage().startswith("a-1: records wait") for line in caplog.records if "wait" in line.message
    ] == [True]


def test_a_damaged_submission_still_has_its_records(hub: FeedHub, studies: Path) -> None:
    """Evidence is sent whatever became of the rest."""
    damaged = study(studies, "a-1", "completed")
    (damaged.path / "submission.json").write_text("{")
    assert Leftovers(studies, hub.file).look()
    assert len(hub.records("study/a-1")) == 3
