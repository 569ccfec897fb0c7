"""Names, numbers, sentences, sections and charts that report and dashboard share.

In: frozen values. Out: text and SVG, and in `SECTIONS` the templates of sections that both show.
"""

from pathlib import Path
from typing import Final

SECTIONS: Final = Path(__file__).parent / "templates"
