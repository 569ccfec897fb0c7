"""Revisions of the store's tables, oldest first.

A new one is a file in `versions` and an entry here; `tests/server/store/test_migrations.py` compares both with the
schema, and prints the operations that are missing.
"""

from typing import Final

REVISIONS: Final = ("0001", "0002")
HEAD: Final = REVISIONS[-1]
