"""The whole audit of a study as one static HTML file: it opens from disk, asks nobody, prints, and proves itself.

In: the store. Out: text, the same bytes for the same records: no clock, no reader, nothing of this machine is in it.
The last line holds the SHA-256 of everything before it.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from markupsafe import Markup

from server.dashboard.figures.maps import Addresses
from server.dashboard.maps import draw
from server.dashboard.maps.sheets import Sheet
from server.dashboard.rendering.static_files import FOLDER as STATICS
from server.dashboard.rendering.templating import rendered
from server.dashboard.views.events import Asked as AskedEvents
from server.dashboard.views.events import EventRow, events_view
from server.dashboard.views.explanations.map_words import of_class
from server.dashboard.views.explanations.reference_images import PANELS, SIDE_PX
from server.dashboard.views.explanations.view import Asked, ExplanationsView, explanations_view, labels_of
from server.dashboard.views.head import Head, study_head
from server.dashboard.views.model import model_view
from server.dashboard.views.privacy import privacy_view
from server.dashboard.views.sites import sites_view
from server.dashboard.views.study import study_view
from server.presentation.map_limits import CANNOT
from server.store.blobs import get_blob
from server.store.schema import RECORDS
from shared.errors import StoreError

MOST_CLASSES: Final = 8  # whose maps are in the file; the pages show all
MOST_BYTES: Final = 10_000_000
_SEAL: Final = "<!-- sha256 of everything before this line: {} -->\n"
_SEALED: Final = re.compile(rb"<!-- sha256 of everything before this line: ([0-9a-f]{64}) -->\n\Z")
_EVENT_PAGES: Final = 4
_LINK: Final = re.compile(r'<a\b[^>]*\bhref="/[^"]*"[^>]*>(.*?)</a>', re.DOTALL)
_FORM: Final = re.compile(r"<form\b.*?</form>|<p class=\"more\">.*?</p>", re.DOTALL)  # and links to files
_IDS: Final = re.compile(r'\b(id|aria-labelledby|href)="(#?)([a-z][a-z0-9-]*)"')


@dataclass(frozen=True)
class Chain:
    """How much of one source's chain is about the study, and its last hash."""

    source: str
    first: int
    last: int
    chain: str


@dataclass(frozen=True)
class ClassMaps:
    """The maps of one class."""

    name: str
    view: ExplanationsView


def export_html(connection: sa.Connection, uid: str) -> str:
    """Return the file; `StoreError` for a study that the store does not hold, or one too large for a file."""
    head = study_head(connection, uid)
    if head is None:
        raise StoreError(
            f"study {uid}: is not in this store; `rounds-hub runs` and the page Studies list what is"
        )
    style = _style()
    values: dict[str, Any] = {
        "study": head,
        "style": Markup(style),  # noqa: S704 - our own file
        "style_hash": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        "parts": [(name, title, _part(connection, head, name, make)) for name, title, make in _PARTS],
        "chains": _chains(connection, uid),
    }
    text = rendered("export.html", values)
    if len(text.encode()) > MOST_BYTES:
        raise StoreError(
            f"study {uid}: its export would have {len(text.encode())} bytes, allowed are {MOST_BYTES}"
        )
    return text + _SEAL.format(hashlib.sha256(text.encode()).hexdigest())


def verify_export(text: str) -> None:
    """`StoreError` where the file is not what was exported."""
    check_seal(text.encode(), _SEALED)


def check_seal(content: bytes, sealed: re.Pattern[bytes]) -> None:
    """`StoreError` unless the last line, which `sealed` finds, holds the SHA-256 of everything before it."""
    found = sealed.search(content)
    if found is None:
        raise StoreError(
            "export: its last line, with the digest of the file, is missing; take the file that was exported"
        )
    if hashlib.sha256(content[: found.start()]).hexdigest().encode() != found[1]:
        raise StoreError(
            "export: was changed after it was made, its digest is another; take the file that was exported"
        )


def _part(
    connection: sa.Connection, head: Head, name: str, make: Callable[[sa.Connection, Head], str]
) -> Markup:
    """Return a page's body without what only a server can answer, its names kept apart from other pages'."""
    text = _LINK.sub(r"<span>\1</span>", _FORM.sub("", make(connection, head)))
    return Markup(_IDS.sub(rf'\1="\2{name}-\3"', text))  # noqa: S704 - made of autoescaped templates


def _study(connection: sa.Connection, head: Head) -> str:
    return rendered("study_body.html", {"study": head, "view": study_view(connection, head), "path": "/"})


def _privacy(connection: sa.Connection, head: Head) -> str:
    return rendered("privacy_body.html", {"study": head, "view": privacy_view(connection, head), "path": "/"})


def _sites(connection: sa.Connection, head: Head) -> str:
    return rendered("sites_body.html", {"study": head, "view": sites_view(connection, head), "path": "/"})


def _model(connection: sa.Connection, head: Head) -> str:
    return rendered("export_model.html", {"study": head, "view": model_view(connection, head)})


def _explanations(connection: sa.Connection, head: Head) -> str:
    """Return maps and figures of each class, and the worst reference images, with all pictures inside."""

    @cache
    def film(digest: str, side: int) -> str:
        blob = get_blob(connection, digest)
        return "" if blob is None else _picture(draw.png(draw.film_picture(blob.content, side)))

    @cache
    def sheet(one: Sheet) -> str:
        return _picture(one.png())

    where = Addresses(sheet=sheet, film=film)
    classes = [
        ClassMaps(of_class(label), explanations_view(connection, head, Asked(label=label), where))
        for label in labels_of(head.config)[:MOST_CLASSES]
    ]
    left_out = max(0, len(labels_of(head.config)) - MOST_CLASSES)
    return rendered(
        "export_explanations.html",
        {"study": head, "classes": classes, "cannot": CANNOT, "panels": PANELS, "left_out": left_out,
         "film": lambda digest: film(digest, SIDE_PX)},
    )  # fmt: skip


def _events(connection: sa.Connection, head: Head) -> str:
    rows: list[EventRow] = []
    total = 0
    for number in range(1, _EVENT_PAGES + 1):
        page = events_view(connection, AskedEvents(), number, head.uid, "/").events
        rows, total = [*rows, *page.rows], page.total
    return rendered("export_events.html", {"study": head, "rows": rows, "total": total})


_PARTS: Final[tuple[tuple[str, str, Callable[[sa.Connection, Head], str]], ...]] = (
    ("model", "May it be used?", _model),
    ("study", "The study", _study),
    ("explanations", "Explanations", _explanations),
    ("privacy", "Privacy", _privacy),
    ("sites", "Sites", _sites),
    ("events", "Events", _events),
)


def _chains(connection: sa.Connection, uid: str) -> tuple[Chain, ...]:
    """Return, for each source that speaks of the study, its first and last record about it and the hash of the last."""
    table = RECORDS.c
    spans = (
        sa.select(table.source, sa.func.min(table.seq).label("first"), sa.func.max(table.seq).label("last"))
        .where(table.study_uid == uid).group_by(table.source).subquery()
    )  # fmt: skip
    rows = connection.execute(
        sa.select(spans.c.source, spans.c.first, spans.c.last, table.chain)
        .join(RECORDS, sa.and_(table.source == spans.c.source, table.seq == spans.c.last))
        .order_by(spans.c.source)
    )
    return tuple(Chain(*row) for row in rows)


def _picture(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@cache
def _style() -> str:
    return (STATICS / "style.css").read_text(encoding="utf-8").replace("</", r"<\/")
