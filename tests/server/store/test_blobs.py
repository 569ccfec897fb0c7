"""Blobs are kept once by their digest, checked on the way in and on the way out."""

import hashlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from server.store.blobs import LIMITS, Blob, get_blob, missing_blobs, put_blobs
from server.store.schema import BLOBS
from server.store.transactions import writing
from server.store.triggers import make_triggers
from shared.errors import StoreError


def test_a_blob_is_kept_once_and_comes_back_as_it_was(
    store: sa.Engine, count: Callable[[sa.Table], int]
) -> None:
    """Bytes and kind come back by the digest; putting them again is nothing new."""
    blobs = [Blob(bytes(range(256)) * 500, "application/octet-stream"), Blob(b"\x89PNG", "image/png")]
    with writing(store).begin() as connection:
        assert put_blobs(connection, [*blobs, blobs[0]]) == 2
    with writing(store).begin() as connection:
        assert put_blobs(connection, blobs) == 0
        assert get_blob(connection, blobs[0].digest) == blobs[0]
        assert get_blob(connection, "0" * 64) is None
    assert count(BLOBS) == 2


def test_a_digest_is_sha_256_of_the_bytes() -> None:
    """The name of a blob is what anybody can compute from it."""
    assert Blob(b"film", "image/png").digest == hashlib.sha256(b"film").hexdigest()


def test_missing_blobs_are_named_in_order(store: sa.Engine) -> None:
    """Of a thousand digests those that are not here come back, in their order."""
    blobs = [Blob(f"blob {number}".encode(), "text/csv") for number in range(1100)]
    with writing(store).begin() as connection:
        put_blobs(connection, blobs[::2])
        assert missing_blobs(connection, [blob.digest for blob in blobs]) == [
            blob.digest for blob in blobs[1::2]
        ]


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (
            Blob(b"<svg/>", "image/svg+xml"),
            r"media_type is 'image/svg\+xml', allowed are image/png, .*; send it as one",
        ),
        (
            Blob(b"x" * (LIMITS["image/png"] + 1), "image/png"),
            r"has 8388609 bytes, allowed are 8388608 of image/png",
        ),
    ],
    ids=["kind", "size"],
)
def test_another_kind_or_size_is_refused(
    store: sa.Engine, blob: Blob, says: str, count: Callable[[sa.Table], int]
) -> None:
    """What a page might run, or is too large, is not kept, nor is what came with it."""
    with pytest.raises(StoreError, match=says), writing(store).begin() as connection:
        put_blobs(connection, [Blob(b"good", "image/png"), blob])
    assert count(BLOBS) == 0


def test_a_blob_that_changed_is_not_given_out(store: sa.Engine) -> None:
    """Bytes that are no longer those of their digest are an error, not a picture."""
    blob = Blob(b"film", "image/png")
    with writing(store).begin() as connection:
        put_blobs(connection, [blob])
        on = "" if store.dialect.name == "sqlite" else " ON blobs"
        connection.exec_driver_sql(f"DROP TRIGGER blobs_update{on}")
        connection.execute(sa.update(BLOBS).values(content=b"other"))
        make_triggers(connection)
    with store.connect() as connection, pytest.raises(StoreError, match="are not those of its digest"):
        get_blob(connection, blob.digest)
