"""Read ahead: pictures are opened while others are looked at, and come out in the order in which they were asked."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 2  # as many as `shared.data.decoding.pool` has processes that decode
Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield `work(item)` for every item in order; what an item raises is raised in its place.

    At most `AT_ONCE` items are worked on, each in a thread, and as many results are waiting.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
