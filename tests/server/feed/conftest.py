"""A hub that serves while a test runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feed_hub import FeedHub, feed_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FeedHub]:
    with feed_hub(tmp_path) as made:
        yield made
