"""Stores to test: empty ones, and one that holds the small study."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store.database import open_store
from tests.audit_records import fill, small_study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sa.Engine]:
    """Open an empty store."""
    engine = open_store(tmp_path / "store.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def small_store(store: sa.Engine) -> sa.Engine:
    """Fill a store with the small study."""
    fill(store, small_study())
    return store
