"""When answers leave: at a time forecast from public numbers, or at a multiple of it, whatever they hold."""

import csv
import math
import time
from pathlib import Path
from statistics import NormalDist, median, quantiles
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import mannwhitneyu

from client.readiness.answer_time_check import answer_time_findings
from client.rounds import answer_time
from client.rounds.answer import answer
from client.rounds.answer_time import AnswerTimes, forecast, reply_period, wait_for_turn
from client.rounds.speed import Speed, kept_speed
from client.site.site import Site
from shared.config.files import parse_site
from shared.errors import ConfigError, ErrorCode, Refusal
from shared.messages.releases import decode_release
from tests.probe_app import Hospital

SPEED = Speed(
    load_seconds=1.0, account_seconds=2.0, film_seconds=0.1, views_seconds=0.2, targets_seconds=0.3,
    forward_seconds=0.05, step_seconds=0.5, chunk_seconds=1.6,
)  # fmt: skip
TIMES = AnswerTimes(enrol=100.0, train=40.0, evaluate=50.0)


@pytest.fixture
def auto(real: Hospital, tiny_federation: Any, monkeypatch: pytest.MonkeyPatch) -> Hospital:
    """Return a real hospital with the default setting, whose forecast is a known one."""
    del tiny_federation
    real.change(reply_after_seconds="auto")
    monkeypatch.setattr(answer_time, "site_forecast", lambda *_: TIMES)
    return real


def test_the_forecast_by_hand(tiny_federation: Any) -> None:
    """Twice what made-up patients take, for the declared number, and the libraries' seconds: by hand."""
    study = tiny_federation.changed(federation={"steps": 4}, privacy={"sample_rate": 0.25})
    # 100 declared: 4 x 25 sampled, four deviations and 4 more are 144; 9 chunks and one a step; 6 new ones
    fixed = 1.0 + 2.0 + 1.5 * 100 * 2 * 0.003
    train = 144 * 0.2 + 4 * 0.5 + (9 + 4) * 1.6 + 6 * 0.3
    enrol = 100 * (1.5 * 2 * 0.1 + 0.2 + 0.3) + 1.6
    evaluate = 100 * (2 * 0.1 + 0.05)
    assert forecast(study, 100, SPEED, 16) == AnswerTimes(
        enrol=math.ceil(10 + 2 * (fixed + enrol)),
        train=math.ceil(10 + 2 * (fixed + train)),
        evaluate=math.ceil(10 + 2 * (fixed + evaluate)),
    )


def test_the_speed_is_measured_once(real: Hospital, tiny_federation: Any) -> None:
    """No request changes the forecast: the first measurement stays, for this form of study, machine and code."""
    study = tiny_federation.study
    nothing_yet = kept_speed(real.site, study)
    assert nothing_yet.chunk_seconds > 0
    assert not (real.folder / "state" / "speeds").exists()  # a check before the first answer begins nothing
    (real.folder / "state").mkdir(exist_ok=True)
    first = kept_speed(real.site, study)
    assert kept_speed(real.site, tiny_federation.changed(federation={"rounds": 9})) == first
    assert len(list((real.folder / "state" / "speeds").iterdir())) == 1
    kept_speed(real.site, tiny_federation.changed(task={"image_size": 36}))
    assert len(list((real.folder / "state" / "speeds").iterdir())) == 2


def test_the_forecast_does_not_hang_on_who_is_there(real: Hospital, tiny_federation: Any) -> None:
    """A hospital whose films are gone has the same forecast: no patient is read for it."""
    (real.folder / "state").mkdir(exist_ok=True)
    real.change(reply_after_seconds="auto")
    before = reply_period(real.site, tiny_federation.study, "train")
    real.change(data={"source": str(real.folder / "nowhere.csv")})
    assert reply_period(real.site, tiny_federation.study, "train") == before
    assert before is not None
    assert before >= answer_time.LIBRARIES_SECONDS


def test_real_sites_have_a_time_by_default(auto: Hospital, tiny_federation: Any) -> None:
    """Each kind of request has its own; the study's counts where it is later; a made site has none of its own."""
    study = tiny_federation.study
    assert [reply_period(auto.site, study, kind) for kind in ("enrol", "train", "evaluate")] == [100, 40, 50]
    later = tiny_federation.changed(federation={"reply_after_seconds": 60.0})
    assert [reply_period(auto.site, later, kind) for kind in ("enrol", "train")] == [100, 60]
    just = tiny_federation.changed(federation={"reply_after_seconds": 40.0})
    assert reply_period(auto.site, just, "train") == 40
    assert auto.site.config.reply_after_seconds == "auto" == parse_site(
        auto.site.config.model_dump(mode="json", exclude={"reply_after_seconds"})
    ).reply_after_seconds  # fmt: skip
    auto.change(reply_after_seconds="off")
    assert reply_period(auto.site, study, "train") is None
    assert reply_period(auto.site, later, "train") == 60
    auto.change(reply_after_seconds=70.0)
    assert [reply_period(auto.site, later, kind) for kind in ("enrol", "train")] == [70, 70]


def test_a_made_site_has_no_time_of_its_own(tiny_federation: Any, tmp_path: Path) -> None:
    """Simulations are not slowed down, unless their site file says a number."""
    made = tiny_federation.site("film", tmp_path)
    assert reply_period(made, tiny_federation.study, "train") is None
    told = tiny_federation.site("film", tmp_path, reply_after_seconds=3.0)
    assert reply_period(told, tiny_federation.study, "train") == 3.0


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"reply_after_seconds": 39.0}, r"federation\.reply_after_seconds is 39, allowed is at least 40 "),
        ({"deadline_seconds": 44.0}, r"federation\.deadline_seconds is 44, allowed is at least 45 "),
        ({"enrolment_seconds": 110.0}, r"federation\.enrolment_seconds is 110, allowed is at least 112 "),
        (
            {"deadline_seconds": 50.0, "evaluate_sites": True},
            r"deadline_seconds is 50, allowed is at least 56 ",
        ),
        (
            {"reply_after_seconds": 550.0, "enrolment_seconds": 600.0, "deadline_seconds": 900.0},
            r"federation\.enrolment_seconds is 600, allowed is at least 612 ",
        ),
    ],
)
def test_a_study_that_leaves_no_time_is_refused(
    auto: Hospital, tiny_federation: Any, rules: dict[str, Any], sentence: str
) -> None:
    """Below the forecast, by its own time or by a deadline, each request of a study gets one code; check says why."""
    study = tiny_federation.changed(federation=rules)
    for kind in ("enrol", "train"):
        with pytest.raises(Refusal, match=sentence) as refused:
            reply_period(auto.site, study, kind)
        assert refused.value.code == ErrorCode.DEADLINE_TOO_SHORT
    (found,) = [one for one in answer_time_findings(auto.site, study) if one.mark == "fail"]
    assert found.what == "answer time"
    assert "ask the hub for a longer one" in found.sentence


def test_too_little_time_is_refused_before_data_is_touched(tiny_federation: Any, tmp_path: Path) -> None:
    """The code crosses from a site without data, at once, and nothing is counted or charged."""
    data = {"source": str(tmp_path / "nowhere.csv")}
    site = tiny_federation.site("film", tmp_path, data=data, reply_after_seconds=1000.0)
    for kind in ("enrol", "train"):
        started = time.monotonic()
        parts = answer(site, tiny_federation.request(kind, 1))
        assert time.monotonic() - started < 100
        assert decode_release(parts["error"]).fields.code == ErrorCode.DEADLINE_TOO_SHORT
    assert not (site.config.state_dir / "ledger.sqlite").exists()


def test_check_says_when_answers_leave(real: Hospital, tiny_federation: Any) -> None:
    """Off is a warning, a number below the forecast too; the forecast is told in seconds."""
    (real.folder / "state").mkdir(exist_ok=True)

    def told(**fields: Any) -> tuple[str, str]:
        real.change(**fields)
        first = next(iter(answer_time_findings(real.site, tiny_federation.study)))
        return first.mark, first.sentence

    mark, sentence = told(reply_after_seconds="off")
    assert mark == "warn"
    assert "whether anybody is new; set it to auto" in sentence
    mark, sentence = told(reply_after_seconds="auto")
    assert mark == "ok"
    assert "from public numbers and made-up patients" in sentence
    assert told(reply_after_seconds=0.5)[0] == "warn"
    assert told(reply_after_seconds=200.0)[0] == "ok"


@pytest.mark.parametrize(("value", "read"), [(False, "off"), ("off", "off"), ("auto", "auto"), (12, 12.0)])
def test_plain_yaml_words_are_understood(real: Hospital, value: object, read: object) -> None:
    """YAML reads a plain off as false: it is off all the same."""
    real.change(reply_after_seconds=value)
    assert real.site.config.reply_after_seconds == read


@pytest.mark.parametrize("value", [True, "soon", -1, 0, 1e9])
def test_other_words_are_refused(real: Hospital, value: object) -> None:
    """What is no time is one sentence that names the field."""
    with pytest.raises(ConfigError, match="reply_after_seconds"):
        real.change(reply_after_seconds=value)


@pytest.mark.parametrize(("worked", "turns"), [(0.0, 1), (0.19, 1), (0.21, 2), (0.5, 3)])
def test_what_is_late_waits_for_its_next_turn(worked: float, turns: int) -> None:
    """An answer that was not ready leaves at the next whole multiple, not just when it is ready."""
    started = time.monotonic() - worked
    wait_for_turn(started, 0.2)
    assert turns <= (time.monotonic() - started) / 0.2 < turns + 0.9


# The timing attack: N answers with one more patient and N without, interleaved, told apart by Mann-Whitney.
N = 8
ALPHA = 0.001  # of a false alarm of the test, two-sided
POWER = 0.9


def smallest_shift(times: list[float]) -> float:
    """Return the shift of all times, in seconds, that the test would see with power 0.9.

    Normal approximation of two samples of N with the spread of these times, at Mann-Whitney's efficiency of 3 / pi.
    """
    low, _, high = quantiles(times, n=4)
    spread = (high - low) / 1.349
    z = NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(POWER)
    return z * spread * math.sqrt(2 / N) / math.sqrt(3 / math.pi)


def with_a_slow_patient(source: Path, folder: Path) -> Path:
    """Write the hospital's list with one more patient, whose film is large and takes long to read."""
    grey = np.random.default_rng(0).integers(0, 256, (5600, 5600), np.uint8)
    Image.fromarray(grey).save(folder / "slow.png")
    with source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["file"] = str((source.parent / row["file"]).resolve())
        row |= {name: "" for name in row if "mask" in name}
    new = next(row for row in rows if row["split"] == "train") | {
        "patient_id": "one more", "file": str(folder / "slow.png"),
    }  # fmt: skip
    path = folder / "with.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, new])
    return path


class Asked:
    """Two sites, with and without one patient, asked in turn to enrol: all films are read, the teacher loaded."""

    def __init__(self, federation: Any, folder: Path) -> None:
        self.federation, self.folder, self.number = federation, folder, 0
        plain = federation.site("film", folder).config.data.source
        self.sources = {"with": with_a_slow_patient(plain, folder), "without": plain}

    def seconds(self, who: str, **rules: Any) -> float:
        """Let one site look once more; returns how long its answer took."""
        data = {"source": str(self.sources[who])}
        rules |= {"data": data, "max_enrolments": 1000}
        site: Site = self.federation.site("film", self.folder / who, **rules)
        request = self.federation.request("enrol", self.number)
        started = time.monotonic()
        parts = answer(site, request)
        took = time.monotonic() - started
        assert "enrolment" in parts
        return took

    def times(self, **rules: Any) -> tuple[list[float], list[float]]:
        """Ask both sites N times, who is first in turn."""
        found: dict[str, list[float]] = {"with": [], "without": []}
        for turn in range(N):
            self.number += 1
            for who in sorted(found, reverse=bool(turn % 2)):
                found[who].append(self.seconds(who, **rules))
        return found["with"], found["without"]


def test_answer_times_with_and_without_a_patient_cannot_be_told_apart(
    tiny_federation: Any, tmp_path: Path
) -> None:
    """At a fixed time Mann-Whitney sees no difference that it would see with power 0.9; with the setting off it does.

    The planted patient's film takes longer to read than all others together; what the test could still have seen at
    the fixed time is at most a quarter of what that patient adds.
    """
    asked = Asked(tiny_federation, tmp_path)
    for who in ("with", "without"):
        asked.seconds(who)  # fills the cache
    slow, quick = asked.times(reply_after_seconds="off")
    planted = median(slow) - median(quick)
    assert mannwhitneyu(slow, quick).pvalue < ALPHA
    period = 1.3 * max(slow)
    hidden, other = asked.times(reply_after_seconds=period)
    seen = smallest_shift([time - period * (time // period) for time in hidden + other])
    print(f"planted {planted * 1e3:.0f} ms; at {period:.2f} s a shift of {seen * 1e3:.2f} ms would be seen")
    assert mannwhitneyu(hidden, other).pvalue > ALPHA
    assert seen < planted / 4
    assert all(time >= period for time in hidden + other)
