"""The export as a PDF: printed by a real Chromium, twice the same, readable aloud, with its sources inside."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader
from typer.testing import CliRunner

from server.cli.program import app
from server.dashboard.export.chai_xml import NAMESPACE
from tests.browser.conftest import Site

MOST_BYTES = 10000000


def export(site: Site, out: Path) -> Path:
    """Write a study's file by the command that a person gives."""
    words = ["store", "export", site.finished, "--out", str(out), "--store", str(site.store)]
    done = subprocess.run(
        [sys.executable, "-m", "server.main", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


def verify(file: Path, *more: str) -> tuple[int, str]:
    """Ask whether a file is as it was made."""
    done = CliRunner().invoke(app, ["store", "verify-export", str(file), *more])
    return done.exit_code, done.output + str(done.exception or "")


def test_a_pdf_is_the_same_twice_and_knows_when_it_is_not(site: Site, tmp_path: Path) -> None:
    """Two exports have the same bytes, at most 10 MB; one changed byte anywhere is found."""
    content, again = (export(site, tmp_path / f"{name}.pdf").read_bytes() for name in ("one", "two"))
    assert content == again
    assert len(content) <= MOST_BYTES
    against = ("--against", site.finished, "--store", str(site.store))
    assert verify(tmp_path / "one.pdf", *against) == (0, "unchanged, and what the store holds\n")
    for place in (20, len(content) // 2, len(content) - 100, len(content) - 10):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "changed.pdf").write_bytes(changed)
        code, said = verify(tmp_path / "changed.pdf")
        assert code == 1
        assert "export:" in said


def test_a_pdf_is_tagged_and_holds_its_sources(site: Site, tmp_path: Path) -> None:
    """It has tags, a language, a title and an outline; the HTML file and the card are inside."""
    pdf = PdfReader(export(site, tmp_path / "audit.pdf"))
    root = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in root
    assert root["/Lang"] == "en"
    assert str(pdf.metadata.title).startswith("Audit of ")
    assert len(pdf.outline) >= 6
    text = "\n".join(page.extract_text() for page in pdf.pages)
    assert "May this student be used?" in text
    (html,), (card,), (chai,) = (
        pdf.attachments[name] for name in ("audit.html", "model_card.json", "model_card.xml")
    )
    assert html == export(site, tmp_path / "audit.html").read_bytes()
    assert json.loads(card)
    assert NAMESPACE in ET.fromstring(chai).tag  # noqa: S314 - made by this very software


def test_without_a_browser_one_sentence_says_what_to_do(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, and the HTML file needs no browser."""
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "audit.pdf"
    done = CliRunner().invoke(
        app, ["store", "export", site.finished, "--out", str(out), "--store", str(site.store)]
    )
    assert "Chromium, which is not installed here" in done.output + str(done.exception)
    assert done.exit_code == 1
    assert not out.exists()
