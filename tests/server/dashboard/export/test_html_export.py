"""The exported file: the same bytes each time, nothing asked of anybody, one changed byte found."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from server.cli.audit.store import app
from server.dashboard.export import html_export as export
from server.dashboard.export.html_export import export_html, verify_export
from server.store.database import open_store
from shared.errors import StoreError
from tests.audit_records import SMALL_UID, fill, small_study
from tests.dashboard_site import Open


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Export the small study once; returns the store and the text."""
    store = tmp_path_factory.mktemp("export") / "store.sqlite"
    engine = open_store(store)
    fill(engine, small_study())
    with engine.connect() as connection:
        text = export_html(connection, SMALL_UID)
    engine.dispose()
    return store, text


def test_two_exports_of_equal_records_have_equal_bytes(made: tuple[Path, str], tmp_path: Path) -> None:
    """Another store, filled with the same records at another time, gives the same file."""
    engine = open_store(tmp_path / "other.sqlite")
    fill(engine, small_study())
    with engine.connect() as connection:
        assert export_html(connection, SMALL_UID) == made[1]
    engine.dispose()


def test_the_file_asks_nobody(made: tuple[Path, str]) -> None:
    """No address, no script, no form; pictures are inside; its policy allows nothing else."""
    text = made[1]
    addresses = re.findall(r'\b(?:src|href|action)="([^"]*)"', text)
    assert all(one.startswith(("data:image/png;base64,", "#")) for one in addresses)
    assert "<script" not in text
    assert "<form" not in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "url(" not in text.split("<style>")[1].split("</style>")[0]


def test_every_inner_link_leads_somewhere_once(made: tuple[Path, str]) -> None:
    """Names are unique in the file, and links within it find theirs."""
    ids = re.findall(r'\bid="([^"]*)"', made[1])
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', made[1])) <= set(ids)


def test_one_changed_byte_is_found(made: tuple[Path, str]) -> None:
    """Any byte, at the beginning, in the middle, or of the digest itself."""
    text = made[1]
    verify_export(text)
    for place in (20, len(text) // 2, len(text) - 20):
        changed = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
        with pytest.raises(StoreError):
            verify_export(changed)


def test_the_file_holds_all_parts_and_is_small_enough_to_send(made: tuple[Path, str]) -> None:
    """Each page's part is there, with the digests that prove it, in at most 10 MB."""
    text = made[1]
    for part in ("model", "study", "explanations", "privacy", "sites", "events", "proof"):
        assert f'id="{part}"' in text
    assert len(text.encode()) < 10_000_000


def test_a_file_that_nobody_could_send_is_refused(
    made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the limit nothing is written, and the sentence names both sizes."""
    size = len(made[1].rpartition("<!-- sha256")[0].encode())
    engine = open_store(made[0])
    with engine.connect() as connection:
        monkeypatch.setattr(export, "MOST_BYTES", size)
        assert export_html(connection, SMALL_UID) == made[1]
        monkeypatch.setattr(export, "MOST_BYTES", size - 1)
        with pytest.raises(StoreError, match=f"would have {size} bytes, allowed are {size - 1}"):
            export_html(connection, SMALL_UID)
    engine.dispose()


@pytest.mark.parametrize(
    "file",
    ["rounds.csv", "participation.csv", "privacy.csv", "explanations.csv", "model/checks.csv", "model/card.json",
     "model/card.xml"],
)  # fmt: skip
def test_files_of_equal_records_have_equal_bytes(open_page: Open, file: str) -> None:
    """CSV files and cards of two stores that were filled apart."""
    one, other = (open_page(small_study()).get(f"/studies/{SMALL_UID}/{file}") for _ in range(2))
    assert one.status_code == 200
    assert len(one.content) > 200
    assert one.content == other.content


def test_the_command_writes_and_verifies(made: tuple[Path, str], tmp_path: Path) -> None:
    """`store export` writes the same text; `verify-export` compares it with the store, and exits with 1 for another."""
    store, text = made
    out, run = tmp_path / "audit.html", CliRunner().invoke
    assert run(app, ["export", SMALL_UID, "--out", str(out), "--store", str(store)]).exit_code == 0
    assert out.read_text(encoding="utf-8") == text
    words = ["verify-export", str(out), "--against", SMALL_UID, "--store", str(store)]
    assert run(app, words).exit_code == 0
    out.write_text(text.replace("normal", "abnormal", 1), encoding="utf-8")
    assert run(app, words).exit_code == 1


def test_a_study_that_is_not_there_is_one_sentence(made: tuple[Path, str]) -> None:
    """The uid is named."""
    engine: sa.Engine = open_store(made[0])
    with engine.connect() as connection, pytest.raises(StoreError, match="0000"):
        export_html(connection, "0" * 32)
    engine.dispose()
