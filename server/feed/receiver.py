"""The hub's side of the feed: what each call does with the store.

In: calls of senders whose certificate TLS has checked. Out: records and blobs in the store, or one status code with a
sentence of ours; no exception's text crosses. What is refused as evidence is an incident, on record and on the page.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from server.feed import feed_pb2 as wire
from server.feed import feed_pb2_grpc
from server.feed.messages import MAX_BATCH_RECORDS, MAX_DIGESTS, MIB, from_wire, head_to_wire
from server.feed.sender_certificates import Senders
from server.store.append import append_batch, head_of
from server.store.blobs import Blob, missing_blobs, put_blobs
from server.store.chain import STUDY_UID, Record
from server.store.incidents import record_incident
from server.store.transactions import writing
from shared.errors import BlobMissingError, ChainConflictError, ChainGapError, ForeignStudyError, StoreError

log = logging.getLogger("rounds.feed")
OWN: Final = "feed"  # the source of incidents, one of the hub's own
MAX_BLOB_BYTES: Final = 64 * MIB
_MAX_SECONDS: Final = 300.0  # a call without a deadline could hold a thread for ever
_CODES: Final = (
    (ChainConflictError, grpc.StatusCode.DATA_LOSS),
    (ChainGapError, grpc.StatusCode.FAILED_PRECONDITION),
    (BlobMissingError, grpc.StatusCode.FAILED_PRECONDITION),
    (ForeignStudyError, grpc.StatusCode.PERMISSION_DENIED),
    (StoreError, grpc.StatusCode.INVALID_ARGUMENT),
)
Context = Any  # grpc's context; the generated type is of both its ways, of threads and of asyncio


class Receiver(feed_pb2_grpc.AuditFeedServicer):
    """Answers calls once it has a store; until then every one is told to wait."""

    def __init__(self, senders: Senders) -> None:
        self.store: sa.Engine | None = None
        self._senders = senders

    def Head(self, request: wire.HeadRequest, context: Context) -> wire.ChainHead:  # noqa: N802, ARG002 - gRPC's names
        """Return the head of the caller's chain."""
        source, store = self._caller(context)
        with _refusing(context, store, source), store.begin() as connection:
            return head_to_wire(head_of(connection, source))

    def Append(self, request: wire.AppendRequest, context: Context) -> wire.ChainHead:  # noqa: N802
        """Append a batch to the caller's chain, all or none."""
        source, store = self._caller(context)
        with _refusing(context, store, source, _study_of(request)):
            return head_to_wire(append_batch(store, source, _records(request)))

    def MissingBlobs(self, request: wire.MissingBlobsRequest, context: Context) -> wire.MissingBlobsReply:  # noqa: N802
        """Return the digests of which no blob is here."""
        source, store = self._caller(context)
        with _refusing(context, store, source), store.begin() as connection:
            if len(request.digests) > MAX_DIGESTS:
                raise StoreError(f"digests: {len(request.digests)}, allowed are {MAX_DIGESTS} at once")
            return wire.MissingBlobsReply(digests=missing_blobs(connection, list(request.digests)))

    def PutBlob(self, request_iterator: Iterator[wire.BlobPiece], context: Context) -> wire.PutBlobReply:  # noqa: N802
        """Keep one blob, when it is whole."""
        source, store = self._caller(context)
        with _refusing(context, store, source):
            blob = _whole(request_iterator)
            with writing(store).begin() as connection:
                put_blobs(connection, [blob])
            return wire.PutBlobReply()

    def _caller(self, context: Context) -> tuple[str, sa.Engine]:
        """Return the caller's source, by its certificate, and the store; else the call ends here."""
        if (context.time_remaining() or float("inf")) > _MAX_SECONDS:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"deadline: needed, of at most {_MAX_SECONDS:g} s"
            )
        run = self._senders.run_of(context.auth_context()["x509_pem_cert"][0])
        if run is None:
            log.warning("%s: refused, its certificate is not on the list", context.peer())
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "certificate: removed or replaced; ask the hub for a new one"
            )
        if self.store is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the hub is looking at its store; ask again")
            raise AssertionError  # for the type checker: abort does not return
        return f"study/{run}", self.store


@contextmanager
def _refusing(context: Context, store: sa.Engine, source: str, study_uid: str = "") -> Iterator[None]:
    """End the call by a status code where the block raises; evidence that does not fit is an incident."""
    try:
        yield
    except StoreError as error:
        what = str(error).replace(f" of {source}", "")
        if not isinstance(error, BlobMissingError):
            record_incident(store, source, study_uid, what, own=OWN)
        context.abort(next(code for kind, code in _CODES if isinstance(error, kind)), what)
    except SQLAlchemyError as error:
        told = str(getattr(error, "orig", None)).splitlines()
        log.error("store: %s (%s)", type(error).__name__, " ".join(told))
        context.abort(
            grpc.StatusCode.UNAVAILABLE, "the hub cannot keep records now; keep them and send again"
        )
    except Exception:  # gRPC would send its text to the caller
        log.exception("feed: a call failed")
        context.abort(grpc.StatusCode.INTERNAL, "the hub failed; its log says why")


def _study_of(request: wire.AppendRequest) -> str:
    """Return the study that an incident with this batch is about; empty where it names none."""
    uid = request.records[0].study_uid if request.records else ""
    return uid if re.fullmatch(STUDY_UID, uid) else ""


def _records(request: wire.AppendRequest) -> list[Record]:
    if len(request.records) > MAX_BATCH_RECORDS:
        raise StoreError(f"records: {len(request.records)}, allowed are {MAX_BATCH_RECORDS} at once")
    try:
        return [from_wire(one) for one in request.records]
    except (ValidationError, ValueError, OverflowError) as error:
        raise StoreError("a record has no known form; hub and study must run one version") from error


def _whole(pieces: Iterator[wire.BlobPiece]) -> Blob:
    """Collect a blob's pieces; `StoreError` unless it is what its description says."""
    first = next(pieces, None)
    if first is None or first.WhichOneof("piece") != "description":
        raise StoreError("blob: its description comes first")
    said = first.description
    if said.num_bytes > MAX_BLOB_BYTES:
        raise StoreError(
            f"blob {said.digest[:12]}: {said.num_bytes} bytes, allowed are {MAX_BLOB_BYTES}; send a smaller one"
        )
    content = bytearray()
    for piece in pieces:
        content += piece.content
        if len(content) > said.num_bytes:
            break
    if len(content) != said.num_bytes or hashlib.sha256(content).hexdigest() != said.digest:
        raise StoreError(f"blob {said.digest[:12]}: what came is not what has this digest and size")
    return Blob(bytes(content), said.media_type)
