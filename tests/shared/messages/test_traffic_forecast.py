"""What is said of a round's traffic is what it moves, and names a way out where a slow link is too slow."""

import pytest

from shared.messages.requests import Request, decode_request, encode_request
from shared.messages.traffic_forecast import RoundTraffic, num_trained, round_traffic
from shared.models.compact import build_compact
from shared.models.trainable import trainable_names


@pytest.mark.parametrize("trainable", ["head", "scales", "all"])
def test_the_numbers_trained_are_counted_without_a_model(tiny_federation, trainable: str) -> None:
    """Counted from the architecture, they are those of the model that a site builds."""
    study = tiny_federation.changed(privacy={"trainable": trainable})
    compact = build_compact(study)
    parameters = dict(compact.named_parameters())
    assert num_trained(study) == sum(
        parameters[name].numel() for name in trainable_names(compact, study.privacy.trainable)
    )


def test_a_request_is_as_large_as_forecast(tiny_federation) -> None:
    """A real request has the forecast bytes and a header of less than 64 kB; float16 halves the update alone."""
    traffic = round_traffic(tiny_federation.study, num_trained(tiny_federation.study))
    payload = tiny_federation.request("train", 1)
    assert 0 < len(payload) - traffic.to_site_bytes < 65_536
    assert len(encode_request(Request(decode_request(payload).header, {}))) < 65_536
    short = tiny_federation.changed(federation={"update_values": "float16"})
    halved = round_traffic(short, num_trained(short))
    assert (halved.to_site_bytes, 2 * halved.from_site_bytes) == (traffic.to_site_bytes,) * 2


def test_the_seconds_by_hand() -> None:
    """30 MB and 15 MB with a tenth more of headers are 198 s at 2 Mbit/s."""
    assert RoundTraffic(30_000_000, 15_000_000, 600).seconds(2.0) == pytest.approx(1.1 * 45 * 8 / 2)


def test_one_sentence_for_a_small_update() -> None:
    """Where a slow link is fast enough the sentence says so and asks for nothing."""
    traffic = RoundTraffic(220_000, 220_000, 180)
    assert traffic.suits_slow_links
    assert str(traffic) == (
        "in a round a site gets 0.2 MB and sends 0.2 MB, which takes 2 s at 2 Mbit/s, of 180 s until the deadline"
    )


def test_one_sentence_for_a_large_update() -> None:
    """Where a slow link would miss the deadline the sentence names the rate, and what the study can change."""
    traffic = RoundTraffic(30_000_000, 30_000_000, 180)
    assert not traffic.suits_slow_links
    assert str(traffic).endswith(
        "which takes 264 s at 2 Mbit/s, of 180 s until the deadline; a site needs 5.9 Mbit/s or more, or the study a "
        "federation.deadline_seconds of 528, update_values: float16 or a smaller trainable set"
    )
    longer = RoundTraffic(30_000_000, 30_000_000, 528)
    assert longer.suits_slow_links
