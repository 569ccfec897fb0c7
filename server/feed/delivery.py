"""Bringing what an outbox holds to the hub: ask where the chain stands there, then blobs and records, batch by batch.

In: an outbox and a connection. Out: the hub's head, whose hash was compared with our own at each step. Nothing is ever
deleted: a hub whose store was lost asks for everything again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from server.feed.connection import Connection
from server.feed.messages import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from server.store.append import Head
from server.store.chain import Record
from server.store.intake.outbox import Outbox
from shared.errors import ChainConflictError


@dataclass
class Delivery:
    """What is known of the hub over one connection."""

    outbox: Outbox
    connection: Connection
    head: Head | None = None
    at_hub: set[str] = field(default_factory=set)  # digests of blobs

    def bring(self) -> Head:
        """Send all that the hub does not have yet; returns its head.

        `ChainConflictError` where the hub holds other records than ours.
        """
        if self.head is None:
            self.head = self._begin()
        while batch := self.outbox.after(self.head.seq, MAX_BATCH_RECORDS):
            self._bring_blobs()  # read after the batch: they were written before it
            for part in parts(batch):
                head = self.connection.append(part)
                if not self._ours(head):
                    self._show_difference(head)
                self.head = head
        return self.head

    def _begin(self) -> Head:
        head = self.connection.head()
        if not self._ours(head):
            self._show_difference(head)
        self._bring_blobs()  # also those of records that are there: a store put back may lack them
        return head

    def _ours(self, head: Head) -> bool:
        """Tell whether our record of that number has the hub's hash."""
        if head.seq == 0:
            return head == Head()
        ours = self.outbox.after(head.seq - 1, 1)
        return bool(ours) and ours[0].chain == head.chain

    def _show_difference(self, head: Head) -> NoReturn:
        """Send everything from the first record on: the hub refuses the one that differs and keeps the incident."""
        seq = 0
        while batch := self.outbox.after(seq, MAX_BATCH_RECORDS):
            for part in parts(batch):
                self.connection.append(part)
            seq = batch[-1].seq
        raise ChainConflictError(
            f"record {head.seq}: stands at the hub and not in this outbox, which ends with record {seq}; was it put "
            "back from a copy?"
        )

    def _bring_blobs(self) -> None:
        new = [digest for digest in self.outbox.blob_digests() if digest not in self.at_hub]
        for digest in self.connection.missing(new):
            blob = self.outbox.blob(digest)
            if blob is not None:
                self.connection.put(blob)
        self.at_hub |= set(new)


def parts(batch: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield runs of records whose bodies are together small enough for one message."""
    part: list[Record] = []
    size = 0
    for record in batch:
        more = len(record.body.encode())
        if part and size + more > MAX_BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(record)
        size += more
    if part:
        yield part
