"""A forwarding process that makes a link long: what comes to one address goes on to another, later.

`python tests/system/delay.py LISTEN TARGET SECONDS`, both addresses as host:port, until SIGTERM. Each byte goes on
SECONDS after it came, in both directions, and a new connection waits for the round trip that opening one takes on
such a link (2 x SECONDS). The rate is not touched: that is the kernel's matter (`tests/system/links.py`).
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter

PIECE_BYTES = 65536
MAX_PIECES = 64  # on their way at once in one direction; a full pipe makes the sender wait, as a link does


async def pass_on(reader: StreamReader, writer: StreamWriter, seconds: float) -> None:
    """Pass bytes on in order, each `seconds` after it came, and at last the end of the stream."""
    now = asyncio.get_running_loop().time
    on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_PIECES)

    async def give() -> None:
        while True:
            due, piece = await on_their_way.get()
            await asyncio.sleep(due - now())
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    async with asyncio.TaskGroup() as ends:
        ends.create_task(give())
        piece = b"first"
        while piece:
            piece = await reader.read(PIECE_BYTES)
            await on_their_way.put((now() + seconds, piece))


async def carry(near: tuple[StreamReader, StreamWriter], target: tuple[str, int], seconds: float) -> None:
    """Carry one connection until both of its sides have ended it, or one broke it off."""
    writers = [near[1]]
    try:
        await asyncio.sleep(2 * seconds)
        far = await asyncio.open_connection(*target)
        writers.append(far[1])
        async with asyncio.TaskGroup() as ways:
            ways.create_task(pass_on(near[0], far[1], seconds))
            ways.create_task(pass_on(far[0], near[1], seconds))
    except* OSError:  # refused by the target, or broken off: the other side sees a closed connection
        pass
    finally:
        for writer in writers:
            writer.close()


async def forward(listen: tuple[str, int], target: tuple[str, int], seconds: float) -> None:
    """Forward every connection to `listen` until cancelled; `seconds` is the delay in each direction."""
    server = await asyncio.start_server(lambda *near: carry(near, target, seconds), *listen)
    async with server:
        await server.serve_forever()


def host_and_port(address: str) -> tuple[str, int]:
    """Split host:port."""
    host, _, port = address.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(forward(host_and_port(sys.argv[1]), host_and_port(sys.argv[2]), float(sys.argv[3])))
