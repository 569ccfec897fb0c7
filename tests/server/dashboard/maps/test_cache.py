from threading import Barrier, Thread

from server.dashboard.maps.cache import PictureCache


def test_a_picture_is_made_once() -> None:
    """The second reader gets what was made for the first."""
    cache, made = PictureCache(), []
    for _ in range(3):
        assert cache.get_or_make("a", lambda: made.append(1) or b"picture") == b"picture"  # type: ignore[func-returns-value]
    assert made == [1]


def test_the_cache_never_holds_more_than_it_may() -> None:
    """What was asked for longest ago goes first; a picture beyond the limit is made each time."""
    cache = PictureCache(most_bytes=10)
    for key in ("a", "b"):
        cache.get_or_make(key, lambda: b"12345")
    assert cache.get("a") is not None  # now b is the older one
    cache.get_or_make("c", lambda: b"12345")
    assert [cache.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]
    cache.get_or_make("large", lambda: b"x" * 11)
    assert cache.get("large") is None
    assert cache.get("a") is not None


def test_many_threads_may_ask_at_once() -> None:
    """Eight threads ask for the same fifty pictures; the count of bytes stays true, so nothing is dropped early."""
    cache, start = PictureCache(most_bytes=50 * 100), Barrier(8)

    def read() -> None:
        start.wait()
        for number in range(50):
            assert cache.get_or_make(str(number), lambda: b"y" * 100) == b"y" * 100

    threads = [Thread(target=read) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert all(cache.get(str(number)) is not None for number in range(50))
