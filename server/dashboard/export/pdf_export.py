"""The exported file as a PDF for a filing system: tagged, the same bytes for the same file, with its sources inside.

In: what `export_html` made, and the model card. Out: PDF, printed by Chromium, with the HTML file and the card (JSON,
CHAI XML) embedded. Its last line holds the SHA-256 of everything before it; readers of PDF skip that line.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from pypdf import PdfReader, PdfWriter
from pypdf.errors import PyPdfError

from server.dashboard.export.chai_xml import chai_xml
from server.dashboard.export.html_export import check_seal
from server.report.chai_fields import Card
from shared.errors import StoreError

PDF: Final = b"%PDF-"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_SECONDS: Final = 120
_SEAL: Final = b"% sha256 of everything before this line: "
_SEALED: Final = re.compile(re.escape(_SEAL) + rb"([0-9a-f]{64})\n\Z")
# what a browser notes of the moment and of itself
_PASSING: Final = ("/CreationDate", "/ModDate", "/Creator", "/Producer")


def export_pdf(html: str, card: Card) -> bytes:
    """Return the file as PDF; `StoreError` where no Chromium is here, or it prints nothing."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_printed(html))))
    writer.metadata = {name: said for name, said in (writer.metadata or {}).items() if name not in _PASSING}
    writer.add_attachment("audit.html", html.encode())
    if card:
        writer.add_attachment("model_card.json", json.dumps(card, indent=1, sort_keys=True).encode())
        writer.add_attachment("model_card.xml", chai_xml(card).encode())
    out = io.BytesIO()
    writer.write(out)
    content = out.getvalue()
    content += b"" if content.endswith(b"\n") else b"\n"
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n"


def html_within(content: bytes) -> str:
    """Return the HTML file in a PDF; `StoreError` where the PDF was changed after it was made."""
    check_seal(content, _SEALED)
    try:
        (html,) = PdfReader(io.BytesIO(content)).attachments["audit.html"]
    except (PyPdfError, KeyError, ValueError) as error:
        raise StoreError("export: holds no audit.html; take the file that was exported") from error
    return html.decode()


def _printed(html: str) -> bytes:
    """Let Chromium print the file; it gets no network to ask, and the file's own policy forbids it to."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise StoreError(
            "export: a PDF is printed by Chromium, which is not installed here; install it, or leave --pdf out"
        )
    with tempfile.TemporaryDirectory() as folder:
        page, printed = Path(folder) / "audit.html", Path(folder) / "audit.pdf"
        page.write_text(html, encoding="utf-8")
        words = [
            browser, "--headless", "--disable-gpu", "--disable-background-networking", "--proxy-server=127.0.0.1:9",
            "--no-pdf-header-footer", "--generate-pdf-document-outline", f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={printed}", page.as_uri(), *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]  # fmt: skip
        try:
            subprocess.run(words, capture_output=True, timeout=_SECONDS, check=True)
            return printed.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise StoreError(
                "export: Chromium printed nothing; leave --pdf out and print the HTML file"
            ) from error
