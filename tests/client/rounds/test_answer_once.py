"""A noised answer is made once: what went wrong after the noise is the answer, and no size is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.ledger.ledger import RequestKey
from client.rounds.answer import answer
from client.rounds.answer_once import answered_once, failure, within_limit
from client.site.site import Site
from shared.config.site import Cap
from shared.errors import DeviceError, ErrorCode
from shared.messages.release_kinds import UpdateRelease
from shared.messages.releases import Release, decode_release
from shared.privacy.mechanisms import Gaussian
from shared.privacy.noise import NoiseSource

UID, BASE = "a" * 32, "b" * 64
KEY = RequestKey(study_uid=UID, round=1, kind="train")
FAILED = failure(ErrorCode.FAILED, UID, 1)["error"]
SHAPE = {"w": (3,)}


@pytest.fixture
def site(tiny_federation: Any, tmp_path: Path) -> Site:
    """Open one hospital."""
    made: Site = tiny_federation.site("film", tmp_path)
    return made


def asked(site: Site, compute: Callable[[NoiseSource], Any]) -> dict[str, bytes]:
    """Ask once for an update that `compute` makes."""
    with site.ledger() as ledger:
        paid = ledger.reserve(KEY, BASE, Gaussian(noise_multiplier=5.0), "train", Cap())
        return answered_once(site, ledger, paid, "update", FAILED, compute)


def drawn(noise: NoiseSource, *, values: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Any:
    """Return an update of fresh noise, and of these values where they are not 0."""
    array = noise.gaussian((3,), 1.0).numpy().astype(np.float32)
    own = np.array(values, np.float32)
    return Release(UID, 1, UpdateRelease(base_sha256=BASE), {"w": np.where(own == 0, array, own)}), SHAPE


def failing(noise: NoiseSource) -> Any:
    """Draw noise, then run out of memory."""
    drawn(noise)
    raise DeviceError("no memory is left")


def test_a_failure_after_the_noise_is_the_answer_for_ever(site: Site) -> None:
    """Once noise was drawn a failure is stored and sent again: no later request draws anew, at the price of one row."""
    assert asked(site, failing) == {"error": FAILED}
    for _ in range(20):
        assert asked(site, drawn) == {"error": FAILED}
    with site.ledger() as ledger:
        assert ledger.verify() == 2
        assert len(ledger.mechanisms("train")) == 1


def test_a_failure_before_the_noise_is_computed_again(site: Site) -> None:
    """What fails before any noise raises, is not stored, and the same row is answered later."""

    def lost(_noise: NoiseSource) -> Any:
        raise DeviceError("the GPU is gone")

    with pytest.raises(DeviceError):
        asked(site, lost)
    first = asked(site, drawn)
    assert set(first) == {"update"}
    assert asked(site, drawn) == first
    with site.ledger() as ledger:
        assert ledger.verify() == 2


def test_a_release_that_the_door_keeps_in_is_a_failure_for_ever(site: Site) -> None:
    """Arrays of another shape than declared, with noise in them, are answered as failed, again and again."""

    def misshapen(noise: NoiseSource) -> Any:
        return drawn(noise)[0], {"w": (4,)}

    assert asked(site, misshapen) == asked(site, drawn) == {"error": FAILED}


def test_no_noised_number_is_refused_for_its_size(site: Site) -> None:
    """Values beyond an update's limit are cut to it, what is no number is 0, and the answer is an update."""
    huge = (3e7, -np.inf, np.nan)
    parts = asked(site, lambda noise: drawn(noise, values=huge))
    release = decode_release(parts["update"], SHAPE)
    assert release.arrays["w"].tolist() == [1e6, -1e6, 0.0]
    assert asked(site, drawn) == parts


def test_values_within_the_limit_are_not_touched() -> None:
    """What fits is the same bits and type."""
    array = np.array([1e6, -1e6, 1e-30, -0.0], np.float32)
    assert within_limit({"w": array}, 1e6)["w"].tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_through_a_round_noise_is_drawn_once(
    tiny_federation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """Where the work breaks after the noise, a site's own answer to the same request is `failed` from then on."""
    site = tiny_federation.site("film", tmp_path, allow_releases=["update", "evaluation", "error"])
    name = {"train": "private_update", "evaluate": "noised_confusion"}[kind]
    with monkeypatch.context() as patched:
        patched.setattr(f"client.rounds.answer.{name}", lambda *given: failing(given[-1]))
        first = answer(site, tiny_federation.request(kind, 1))
    assert decode_release(first["error"]).fields.code == ErrorCode.FAILED
    assert answer(site, tiny_federation.request(kind, 1)) == first


def test_an_update_that_may_not_leave_is_refused_before_it_is_paid_for(
    tiny_federation: Any, tmp_path: Path
) -> None:
    """A hospital that keeps updates in says so at once: no row, no noise."""
    site = tiny_federation.site("film", tmp_path, allow_releases=["enrolment", "error"])
    parts = answer(site, tiny_federation.request("train", 1))
    assert decode_release(parts["error"]).fields.code == ErrorCode.RELEASE_NOT_ALLOWED
    with site.ledger() as ledger:
        assert ledger.verify() == 0
