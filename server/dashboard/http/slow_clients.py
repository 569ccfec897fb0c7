"""HTTP for readers, as uvicorn speaks it, with two things added.

In: bytes of a connection. Out: requests. A client that does not finish a request's head in time is cut off, so that
slow ones cannot hold connections for ever; and what is no HTTP at all is refused with the headers of everything else.
"""

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.dashboard.http.headers import HEADERS, NO_STORE

HEAD_SECONDS: Final = 10.0


class ReaderProtocol(H11Protocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on; a whole head ends the wait, the first part of the next one begins it again."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._late is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the wait."""
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "connection": "close",
            "cache-control": NO_STORE,
        }
        lines = [(name.encode(), value.encode()) for name, value in (HEADERS | headers).items()]
        for event in (
            h11.Response(status_code=400, headers=lines, reason=b"Bad Request"),
            h11.Data(data=msg.encode("ascii")),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
