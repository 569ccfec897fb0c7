"""Reading ahead: the order is kept, errors come in their place, and no more is begun than is said."""

import threading
from collections.abc import Iterator

import pytest

from shared.data.ahead import ahead


def test_results_come_in_order_whichever_is_ready_first() -> None:
    """The first item is ready last, since it waits for the second, and still comes first."""
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(20)
        if item == 1:
            second_is_done.set()
        return item

    assert list(ahead(work, range(50))) == list(range(50))


def test_what_an_item_raises_is_raised_in_its_place() -> None:
    """What came before is delivered, what comes after is not."""
    seen: list[int] = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(ahead(lambda item: 12 // (3 - item), range(40)))
    assert seen == [4, 6, 12]


def test_few_items_are_taken_before_they_are_wanted() -> None:
    """A pack of any length takes the memory of a few pictures; a reader who stops ends the work."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = ahead(lambda item: item, items())
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()
    assert len(taken) <= 4
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]


def test_nothing_to_do() -> None:
    """No items, no results."""
    assert list(ahead(str, [])) == []
