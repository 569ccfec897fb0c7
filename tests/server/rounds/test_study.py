"""A study with real sites: it closes at the quorum or the deadline, names who is missing, and resumes as itself."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.evaluation.run_records import About, recorded_summary
from server.report.html_report import write_report
from server.report.sentences import headline, rounded
from server.rounds.aggregation import update_norm
from server.rounds.exchange import Answer
from server.rounds.study import run_study
from server.runs import checkpoints
from server.runs.checkpoints import StudyState, load_state, save_state
from server.runs.run_folder import RunFolder, read_lines
from shared.config.kinds import RequestKind
from shared.errors import StudyError
from shared.messages.releases import decode_release, encode_release
from shared.messages.requests import decode_request
from shared.models.arrays import Arrays, arrays_digest
from tests.conftest import SITES, Hospitals


class KilledError(Exception):
    """The hub's process ends here."""


def score(weights: Arrays) -> dict[str, Any]:
    """Stand for the figures of a round: a number that names the weights."""
    return {"norm": update_norm(weights)}


def events(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    """Return the events of one kind."""
    return [line for line in read_lines(folder.events) if line["event"] == name]


@dataclass
class Interrupted:
    """A study of two rounds whose hub died in the second, after one site had answered, and was resumed."""

    folder: RunFolder
    federation: Any
    sites: Mapping[str, Any]
    first: Any
    uid: str
    second: Any
    state: StudyState

    def updates(self, exchange: Any, round_: int) -> dict[str, Arrays]:
        """Return what the hub got in one round."""
        return {
            name: decode_release(parts["update"], self.federation.shapes).arrays
            for name, kind, payload, parts in exchange.asked
            if kind == "train" and decode_request(payload).header.round == round_
        }


@pytest.fixture(scope="module")
def interrupted(tiny_federation, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Run, kill and resume."""
    path = tmp_path_factory.mktemp("interrupted")
    folder = RunFolder(path / "run")
    folder.path.mkdir()
    study = tiny_federation.changed(federation={"evaluate_sites": True, "server_momentum": 0.5})
    sites = tiny_federation.sites(path / "state")
    first = tiny_federation.hospitals(sites)

    def dies(name: str, kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes]:
        asked = [one for one, one_kind, *_ in first.asked if one_kind == "train"]
        if kind == "train" and len(asked) == 4:
            first.asked.append((name, kind, b"", None))  # the site has answered, the hub will never know
            raise KilledError
        return parts

    first.tamper = dies
    with pytest.raises(KilledError):
        run_study(study, tiny_federation.initial, first, folder, score)
    first.asked.pop()
    uid = load_state(folder.checkpoint, study.digest()).study_uid
    second = tiny_federation.hospitals(sites)
    state = run_study(study, tiny_federation.initial, second, folder, score)
    return Interrupted(folder, tiny_federation, sites, first, uid, second, state)


def test_a_resumed_study_is_the_same_study(interrupted: Interrupted) -> None:
    """study_uid is kept, closed rounds are not asked again, and the study completes."""
    assert interrupted.state.study_uid == interrupted.uid
    rounds = {
        decode_request(payload).header.round
        for _, kind, payload, _ in interrupted.second.asked
        if kind == "train"
    }
    assert rounds == {2}
    assert interrupted.state.rounds_done == 2
    assert [line["round"] for line in read_lines(interrupted.folder.rounds)] == [0, 1, 2]
    assert len(events(interrupted.folder, "study_completed")) == 1


def test_a_repeated_request_gets_the_stored_bytes(interrupted: Interrupted) -> None:
    """A site that had answered the killed hub sends the same bytes again and spends nothing for it."""
    before = {name: parts for name, kind, payload, parts in interrupted.first.asked
              if kind == "train" and decode_request(payload).header.round == 2}  # fmt: skip
    after = {name: parts for name, kind, _, parts in interrupted.second.asked if kind == "train"}
    assert list(before) == ["film"]
    assert after["film"]["update"] == before["film"]["update"]
    for site in interrupted.sites.values():
        with site.ledger() as ledger:
            assert len(ledger.mechanisms("train")) == 2
            assert ledger.verify() == 8  # enrolment, two rounds and an evaluation, each reserved and answered


def test_the_student_is_the_initial_one_plus_the_merged_steps(interrupted: Interrupted) -> None:
    """The second step goes on with half of the first, which outlived the hub, in numpy's words."""
    expected = {name: array.astype(np.float64) for name, array in interrupted.federation.initial.items()}
    for exchange, round_, steps in ((interrupted.first, 1, 1.5), (interrupted.second, 2, 1.0)):
        updates = interrupted.updates(exchange, round_)
        assert sorted(updates) == list(SITES)
        for name, array in expected.items():
            array[...] += steps * np.mean([updates[site][name] for site in SITES], axis=0)
    for name, array in interrupted.state.weights.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


def test_rounds_say_what_was_spent(interrupted: Interrupted) -> None:
    """Each round's record has every site's epsilon as its ledger states it, growing, and the bytes it sent."""
    _, first, second = read_lines(interrupted.folder.rounds)
    assert sorted(first["epsilon"]) == list(SITES)
    assert all(0 < first["epsilon"][site] < second["epsilon"][site] for site in SITES)
    num_bytes = sum(array.nbytes for array in interrupted.federation.initial.values())
    assert all(first["bytes"][site] > num_bytes for site in SITES)
    for name, site in interrupted.sites.items():
        with site.ledger() as ledger:
            stated = ledger.statement(1e-5, site=name, span="this run alone (simulation)")
        assert interrupted.state.statements[name]["epsilon"] == pytest.approx(stated.epsilon)


def test_the_summary_says_bytes_by_site_and_round(interrupted: Interrupted) -> None:
    """Each round of the summary has what each site sent in it; rounds of older records have none."""
    folder, study = interrupted.folder, interrupted.federation.study
    written = list(read_lines(folder.rounds))
    told = recorded_summary(folder, study, interrupted.state, About("made", "tiny"), completed=True)
    assert [one.bytes_sent for one in told.rounds] == [{}, written[1]["bytes"], written[2]["bytes"]]
    assert all(told.bytes_sent[site][0] == told.rounds[1].bytes_sent[site] > 0 for site in SITES)


def test_a_site_that_sends_no_number_costs_only_its_own_part(tiny_federation, tmp_path: Path) -> None:
    """A NaN in one update of round 1: the study completes, and record, summary and events name the site."""

    def one_nan(name: str, kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes]:
        if (name, kind) != ("film", "train"):
            return parts
        release = decode_release(parts["update"], tiny_federation.shapes)
        if release.round == 1:
            next(iter(release.arrays.values())).flat[0] = np.nan
        return parts | {"update": encode_release(release)}

    folder = RunFolder(tmp_path)
    exchange = tiny_federation.hospitals(tiny_federation.sites(tmp_path / "state"), one_nan)
    state = run_study(tiny_federation.study, tiny_federation.initial, exchange, folder, score)
    assert (state.rounds_done, state.excluded) == (2, {})
    assert all(np.isfinite(array).all() for array in state.weights.values())
    assert len(events(folder, "study_completed")) == 1
    about = About("made", "tiny")
    summary = recorded_summary(folder, tiny_federation.study, state, about, completed=True)
    _, first, second = summary.rounds
    assert first.answered == ("bedside", "children")
    assert "not finite" in first.missing["film"]
    assert (second.answered, second.missing) == (SITES, {})
    assert first.bytes_sent["film"] > 0
    (event,) = summary.events
    assert (event.round, event.site, event.what) == (1, "film", first.missing["film"])
    assert headline(summary).startswith("The run completed")
    write_report(folder.path, summary)
    assert event.what in unescape((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_sites_evaluate_the_last_student(interrupted: Interrupted) -> None:
    """With evaluate_sites every site's noised counts are in the events, asked for the last student."""
    told = events(interrupted.folder, "site_evaluation")
    assert sorted(line["site"] for line in told) == list(SITES)
    assert all(np.shape(line["noised_counts"]) == (2, 2) for line in told)
    (base,) = {decode_request(payload).header.base_digest
               for _, kind, payload, _ in interrupted.second.asked if kind == "evaluate"}  # fmt: skip
    assert base == arrays_digest(interrupted.state.weights)


def test_a_foreign_checkpoint_is_refused(tiny_federation, interrupted: Interrupted) -> None:
    """Another study does not resume from this one's checkpoint, and asks nobody."""
    other = tiny_federation.changed(federation={"rounds": 3})
    exchange = tiny_federation.hospitals(interrupted.sites)
    with pytest.raises(StudyError, match="choose another output folder"):
        run_study(other, tiny_federation.initial, exchange, interrupted.folder, score)
    assert exchange.asked == []


@pytest.fixture(scope="module")
def troubled(tiny_federation, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, StudyState, Any]:
    """Run a study where children's cap soon pays for one round only, and film stays silent in the first."""
    path = tmp_path_factory.mktemp("troubled")
    folder = RunFolder(path / "run")
    folder.path.mkdir()
    sites = tiny_federation.sites(path / "state", children={"cap": {"epsilon": 100.0}})
    later = tiny_federation.poorer(path / "state", 5.5, "children")

    def silent(name: str, kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes] | None:
        trained = {one for one, one_kind, *_ in exchange.asked if one_kind == "train"}
        return None if (name, kind) == ("film", "train") and "film" not in trained else parts

    study = tiny_federation.changed(federation={"rounds": 3, "update_values": "float16"})
    exchange = tiny_federation.hospitals(sites, silent, later)
    return folder, run_study(study, tiny_federation.initial, exchange, folder, score), exchange


def test_a_silent_site_is_named(troubled: tuple) -> None:
    """A site without an answer by the deadline is missing in that round, and back in the next."""
    folder, _, _ = troubled
    _, first, second, _ = read_lines(folder.rounds)
    assert first["missing"] == {"film": "no answer by the deadline"}
    assert first["answered"] == ["bedside", "children"]
    assert "film" in second["answered"]
    assert [(line["round"], line["site"]) for line in events(folder, "deadline")] == [(1, "film")]


def test_a_site_over_its_cap_is_left_out_and_named(troubled: tuple) -> None:
    """A spent budget ends that site's part: it says so once, every later round says so, the study goes on."""
    folder, state, exchange = troubled
    _, _, second, third = read_lines(folder.rounds)
    assert second["missing"] == third["missing"] == {"children": "budget_spent"}
    assert third["answered"] == ["bedside", "film"]
    assert state.excluded == {"children": "budget_spent"}
    assert len([1 for name, kind, *_ in exchange.asked if (name, kind) == ("children", "train")]) == 2
    assert state.rounds_done == 3
    assert second["epsilon"]["children"] == third["epsilon"]["children"] <= 5.5


def test_updates_travel_as_the_study_says(tiny_federation, troubled: tuple, interrupted: Interrupted) -> None:
    """With update_values float16 an answer has half the bytes, the hub merges just what travelled, and says so."""
    folder, state, exchange = troubled
    short, exact = (
        next(
            parts["update"]
            for _, kind, _, parts in hub.asked
            if kind == "train" and "update" in (parts or {})
        )
        for hub in (exchange, interrupted.first)
    )
    values = 4 * sum(array.size for array in tiny_federation.initial.values())
    assert len(exact) - len(short) == pytest.approx(values / 2, rel=0.01)
    for array in decode_release(short, tiny_federation.shapes).arrays.values():
        assert np.array_equal(array, array.astype(np.float16))
    for line in read_lines(folder.rounds):
        assert sorted(line.get("rounding", {})) == line.get("answered", [])
        assert all(1e-4 < error < 2.0**-11 for error in line.get("rounding", {}).values())
    told = recorded_summary(folder, tiny_federation.study, state, About("made", "tiny"), completed=True)
    assert rounded(told).startswith(
        "Updates travelled as float16: rounding, after the noise, moved no update by"
    )
    assert all(line["rounding"] == {} for line in list(read_lines(interrupted.folder.rounds))[1:])


def test_below_the_quorum_the_study_stops_and_can_resume(tiny_federation, tmp_path: Path) -> None:
    """Too few updates end the study with one sentence; the checkpoint still stands before that round."""
    folder = RunFolder(tmp_path)
    sites = tiny_federation.sites(tmp_path / "state")
    later = tiny_federation.poorer(tmp_path / "state", 0.1, "bedside", "film")

    def silent(_name: str, kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes] | None:
        return parts if kind == "enrol" or "error" in parts else None

    with pytest.raises(StudyError, match=r"federation\.quorum is 2: 0 of 3 sites .* in round 1; .*resume"):
        run_study(
            tiny_federation.study,
            tiny_federation.initial,
            tiny_federation.hospitals(sites, silent, later),
            folder,
            score,
        )
    state = load_state(folder.checkpoint, tiny_federation.study.digest())
    assert state.rounds_done == 0
    assert arrays_digest(state.weights) == arrays_digest(tiny_federation.initial)


def test_a_failed_round_keeps_what_sites_stated(tiny_federation, tmp_path: Path) -> None:
    """Below the quorum the error, the checkpoint and the report hold every epsilon that a ledger stated."""
    folder = RunFolder(tmp_path)
    sites = tiny_federation.sites(tmp_path / "state")
    exchange = tiny_federation.hospitals(
        sites, later=tiny_federation.poorer(tmp_path / "state", 0.1, "bedside")
    )
    study = tiny_federation.changed(federation={"quorum": 3})
    with pytest.raises(StudyError, match=r"children \d.*film \d.* these hospitals mend it \(bedside: "):
        run_study(study, tiny_federation.initial, exchange, folder, score)
    state = load_state(folder.checkpoint, study.digest())
    assert state.rounds_done == 0
    told = recorded_summary(folder, study, state, About("made", "tiny"), completed=False)
    assert {"children", "film"} <= set(told.epsilon)
    assert all(told.epsilon[name] > 1 for name in ("children", "film"))


def test_a_rounds_line_outlives_the_hub(tiny_federation, tmp_path: Path) -> None:
    """A hub that dies after the checkpoint and before the round's line: the resumed study writes it, once."""
    folder = RunFolder(tmp_path)
    sites = tiny_federation.sites(tmp_path / "state")

    def dies(weights: Arrays) -> dict[str, Any]:
        if arrays_digest(weights) != arrays_digest(tiny_federation.initial):
            raise KilledError
        return score(weights)

    def run(figures: Callable[[Arrays], dict[str, Any]]) -> StudyState:
        exchange = tiny_federation.hospitals(sites)
        return run_study(tiny_federation.study, tiny_federation.initial, exchange, folder, figures)

    with pytest.raises(KilledError):
        run(dies)
    assert load_state(folder.checkpoint, tiny_federation.study.digest()).rounds_done == 1
    assert [line["round"] for line in read_lines(folder.rounds)] == [0]
    state = run(score)
    _, first, second = read_lines(folder.rounds)
    assert (first["round"], first["answered"]) == (1, list(SITES))
    assert (second["round"], second["test"]) == (2, score(state.weights))


def test_a_checkpoint_of_a_finished_study_asks_for_no_round(
    tiny_federation, interrupted: Interrupted, tmp_path: Path
) -> None:
    """Resuming a finished study enrols, trains nobody and ends with the same weights."""
    folder = RunFolder(tmp_path)
    done = StudyState(tiny_federation.study.digest(), interrupted.state.weights, rounds_done=2)
    save_state(done, folder.checkpoint)
    exchange = tiny_federation.hospitals(tiny_federation.sites(tmp_path / "state"))
    state = run_study(tiny_federation.study, tiny_federation.initial, exchange, folder, score)
    assert {kind for _, kind, *_ in exchange.asked} == {"enrol"}
    assert arrays_digest(state.weights) == arrays_digest(done.weights)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Make the disk slow; return a list in which a checkpoint stands once it is durable."""
    told: list[tuple[str, int]] = []

    def slowly(state: StudyState, path: Path) -> None:
        time.sleep(0.3)  # far longer than the hub takes to prepare a tiny request
        save_state(state, path)
        told.append(("saved", state.rounds_done))

    monkeypatch.setattr(checkpoints, "save_state", slowly)
    return told


class Noting(Hospitals):
    """Real sites; it is noted in `told` when the first request of a stage is there to be sent."""

    told: list[tuple[str, int]]

    def ask(
        self, kind: RequestKind, payloads: Mapping[int, bytes], *_: object, **more: Any
    ) -> Iterator[Answer]:
        """Take the first request, note it, and let each site answer."""
        assert payloads[next(iter(payloads))]
        self.told.append((kind, -1))
        yield from super().ask(kind, payloads, **more)


def test_no_request_leaves_before_its_state_is_durable(
    tiny_federation, tmp_path: Path, disk: list[tuple[str, int]]
) -> None:
    """However slow the disk, each stage's first request is there after the checkpoint that it rests on."""
    study = tiny_federation.changed(federation={"evaluate_sites": True})
    exchange = Noting(tiny_federation.sites(tmp_path / "state"))
    exchange.told = disk
    run_study(study, tiny_federation.initial, exchange, RunFolder(tmp_path), score)
    assert [what if what != "saved" else number for what, number in disk] == [
        0, "enrol", "train", 1, "train", 2, "evaluate", 2,
    ]  # fmt: skip


def test_a_full_disk_stops_the_study_before_the_next_request(
    tiny_federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where round 1 cannot be saved, no site is asked for round 2."""

    def full(state: StudyState, path: Path) -> None:
        if state.rounds_done == 1:
            raise OSError("disk full")
        save_state(state, path)

    monkeypatch.setattr(checkpoints, "save_state", full)
    exchange = tiny_federation.hospitals(tiny_federation.sites(tmp_path / "state"))
    with pytest.raises(OSError, match="disk full"):
        run_study(tiny_federation.study, tiny_federation.initial, exchange, RunFolder(tmp_path), score)
    asked = [
        decode_request(payload).header.round for _, kind, payload, _ in exchange.asked if kind == "train"
    ]
    assert asked == [1, 1, 1]
