"""`rounds-hub feed`: certificates for studies elsewhere, who has one, and sending by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from server.cli.program import app
from server.feed.credential import FOLDER_VARIABLE, read_credential
from server.feed.sender import send_now
from server.feed.sender_certificates import hub_senders
from server.hub.hub_folder import open_hub
from server.services.hub_backup import back_up_hub, restore_hub
from server.store.database import open_store
from server.store.intake.outbox import Blob
from server.store.record_kinds import ModelBody
from server.store.schema import BLOBS
from shared.trust.private_files import open_to_others
from tests.feed_hub import RUN, UID, FeedHub, events, feed_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FeedHub]:
    with feed_hub(tmp_path) as made:
        yield made


def rounds_hub(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_study_elsewhere_gets_a_file_and_sends_with_it(hub: FeedHub, tmp_path: Path) -> None:
    """Made at the hub, carried, and used by `feed send`; twice sends nothing new."""
    file = tmp_path / "carried.json"
    made = rounds_hub("feed", "certificate", RUN, file, "--address", hub.address, "--hub", hub.hub.path)
    assert made.exit_code == 0, made.output
    assert "holds a private key" in made.output
    assert not open_to_others(file)
    outbox = hub.outbox()
    outbox.add(UID, *events(12))
    for _ in range(2):
        sent = rounds_hub("feed", "send", outbox.path.parent, "--with", file)
        assert sent.output == f"{RUN}: 12 records are at the hub\n"
    assert hub.records() == outbox.after(0, 20)


def test_a_removed_sender_sends_no_more(hub: FeedHub) -> None:
    """The command says what the hub said, and how many records wait."""
    hub.file()
    hub.outbox().add(UID, *events(3))
    listed = rounds_hub("feed", "senders", "--hub", hub.hub.path)
    assert [line.split()[0] for line in listed.output.splitlines()] == ["run", RUN]
    file = hub.runs / "kept.json"
    file.write_bytes(hub.file().read_bytes())
    assert rounds_hub("feed", "remove", RUN, "--hub", hub.hub.path).exit_code == 0
    refused = rounds_hub("feed", "send", hub.runs / RUN, "--with", file)
    assert refused.exit_code == 1
    assert "3 records wait in its folder; the hub refused: certificate: removed or replaced" in refused.output
    assert rounds_hub("feed", "senders", "--hub", hub.hub.path).output.split() == ["run", "until"]


def test_a_file_that_is_there_is_not_overwritten(hub: FeedHub, tmp_path: Path) -> None:
    """Nor is a new certificate made, which would end the one in use."""
    before = hub.file().read_bytes()
    file = tmp_path / "kept.json"
    file.write_text("kept")
    refused = rounds_hub("feed", "certificate", RUN, file, "--address", hub.address, "--hub", hub.hub.path)
    assert refused.exit_code == 1
    assert file.read_text() == "kept"
    assert hub.file().read_bytes() == before


def test_a_run_without_a_file_is_told_how_to_get_one(hub: FeedHub) -> None:
    """One sentence."""
    refused = rounds_hub("feed", "send", hub.runs / "nobody")
    assert refused.exit_code == 1
    assert "make one by `rounds-hub feed certificate`" in refused.output


def test_a_report_sends_what_it_added(hub: FeedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a hub takes the run's records; where it is away, the sentence says that they wait."""
    outbox = hub.outbox()
    outbox.add(UID, *events(2))
    assert send_now(hub.runs / RUN) == ""  # no hub is known: nothing is sent, and nothing is wrong
    assert hub.records() == []
    monkeypatch.setenv(FOLDER_VARIABLE, str(hub.file().parent))
    assert send_now(hub.runs / RUN) == ""
    assert len(hub.records()) == 2
    monkeypatch.setattr("server.feed.sender.LAST_SECONDS", 0.2)
    hub.stop()
    assert "records wait in its folder" in send_now(hub.runs / RUN)


def test_a_restored_hub_gets_its_blobs_again(hub: FeedHub, tmp_path: Path) -> None:
    """The backup holds records, list and CA; blobs come back from the run's folder, under the same certificate."""
    blob = Blob(b"weights" * 1000, "application/octet-stream")
    outbox = hub.outbox()
    outbox.add(UID, *events(3), ModelBody(weights=blob.digest, num_bytes=7000), blobs=[blob])
    file = tmp_path / "carried.json"
    hub.senders.issue(RUN, hub.address, hub.hub.ca_file.read_bytes()).write(file)
    assert rounds_hub("feed", "send", outbox.path.parent, "--with", file).exit_code == 0
    back_up_hub(hub.hub, tmp_path / "hub.sealed", "twelve mild winters")
    hub.stop()
    hub.hub = restore_hub(tmp_path / "hub.sealed", tmp_path / "back", "twelve mild winters")
    hub_senders(open_hub(hub.hub.path))
    hub.store = open_store(hub.hub.store())
    assert len(hub.records()) == 4
    with hub.store.begin() as connection:
        assert connection.execute(sa.select(BLOBS.c.digest)).all() == []
    hub.start_again()
    assert read_credential(file).address == hub.address
    assert rounds_hub("feed", "send", outbox.path.parent, "--with", file).exit_code == 0
    with hub.store.begin() as connection:
        assert connection.execute(sa.select(BLOBS.c.content)).scalars().all() == [blob.content]
