"""The preview as one HTML file for the hospital's own eyes: made from a template, written where nobody else can read.

In: what `client/preview/survey.py` has seen. Out: preview.html, mode 0600, in a folder of mode 0700. The page needs
no script and may ask nobody for anything: its content security policy allows its own style and pictures inside it.
"""

import os
from pathlib import Path

from client.preview.page_content import view
from client.preview.survey import Progress, Seen
from shared.errors import ConfigError
from shared.terminal.html_templates import rendered
from shared.whole_file import whole_file

TEMPLATE = Path(__file__).parent / "templates" / "preview.html"
NAME = "preview.html"


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can open, or accept one; `ConfigError` where others could look in."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
    if not path.is_dir():
        raise ConfigError(f"--out is {path}, which is no folder; name a folder that may be made")
    found = path.stat()
    if found.st_mode & 0o077 or found.st_uid != os.getuid():
        raise ConfigError(
            f"--out is {path}, which others may open (mode {found.st_mode & 0o777:03o}), allowed is a folder of your "
            "own with mode 700; name one that does not exist yet"
        )
    return path


def write_page(folder: Path, text: str) -> Path:
    """Write the page, mode 0600, replacing an earlier one at once; returns its path."""
    page = folder / NAME
    with whole_file(page, mode=0o600) as part:
        part.write_text(text, encoding="utf-8")
    return page


def render(seen: Seen, progress: Progress) -> str:
    """Return the page; everything that came from outside is escaped."""
    return rendered(TEMPLATE, view(seen, progress))
