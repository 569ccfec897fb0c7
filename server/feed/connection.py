"""A sender's channel to the hub: mutual TLS, one for as long as it works, deadlines on every call.

In: a credential. Out: the calls of the feed as functions on records and blobs. `grpc.RpcError` where a call fails.
"""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

import grpc

from server.feed import feed_pb2 as wire
from server.feed import feed_pb2_grpc
from server.feed.credential import Credential
from server.feed.messages import MAX_DIGESTS, MAX_MESSAGE_BYTES, PIECE_BYTES, to_wire
from server.store.append import Head
from server.store.blobs import Blob
from server.store.chain import Record

CALL_SECONDS: Final = 30.0
_BLOB_SECONDS: Final = 120.0
_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 200),  # gRPC adds its own jitter of 20 percent
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 30_000),  # a hub whose machine died is noticed
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),  # a channel made anew has a connection made anew
)


class Connection:
    """One channel. Calls wait until the hub can be reached, and no longer than their deadline or `ends`."""

    def __init__(self, credential: Credential) -> None:
        self.ends = float("inf")  # time.monotonic() at which every call is over
        trust = grpc.ssl_channel_credentials(
            credential.hub_ca.encode(), credential.key.encode(), credential.certificate.encode()
        )
        self._channel = grpc.secure_channel(credential.address, trust, options=_OPTIONS)
        self._feed = feed_pb2_grpc.AuditFeedStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the channel, and with it any call in progress; another thread may do so."""
        self._channel.close()

    def head(self) -> Head:
        """Ask where this source's chain stands at the hub."""
        reply = self._feed.Head(wire.HeadRequest(), timeout=self._within(CALL_SECONDS), wait_for_ready=True)
        return Head(reply.seq, reply.chain)

    def append(self, batch: Sequence[Record]) -> Head:
        """Send records; returns where the chain then stands at the hub."""
        request = wire.AppendRequest(records=[to_wire(record) for record in batch])
        reply = self._feed.Append(request, timeout=self._within(CALL_SECONDS), wait_for_ready=True)
        return Head(reply.seq, reply.chain)

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Ask which of these blobs the hub does not have."""
        found: list[str] = []
        for start in range(0, len(digests), MAX_DIGESTS):
            request = wire.MissingBlobsRequest(digests=digests[start : start + MAX_DIGESTS])
            reply = self._feed.MissingBlobs(request, timeout=self._within(CALL_SECONDS), wait_for_ready=True)
            found += reply.digests
        return found

    def put(self, blob: Blob) -> None:
        """Send one blob, in pieces."""
        self._feed.PutBlob(_pieces(blob), timeout=self._within(_BLOB_SECONDS), wait_for_ready=True)

    def _within(self, seconds: float) -> float:
        return max(0.01, min(seconds, self.ends - time.monotonic()))


def _pieces(blob: Blob) -> Iterator[wire.BlobPiece]:
    content = blob.content
    said = wire.BlobDescription(digest=blob.digest, media_type=blob.media_type, num_bytes=len(content))
    yield wire.BlobPiece(description=said)
    for start in range(0, len(content), PIECE_BYTES):
        yield wire.BlobPiece(content=content[start : start + PIECE_BYTES])
