"""What a report says to the audit store: everything that was measured, once, and again only where it changed."""

import io
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.app import initial_state
from server.audit.drift import last_accepted
from server.audit.round_maps import RoundMaps, measured_rounds
from server.evaluation.finish_run import finish_run
from server.evaluation.report_journal import AuditJournal
from server.evaluation.run_records import About
from server.metrics.audit_result import FIGURES
from server.metrics.membership_result import write_membership
from server.runs.checkpoints import StudyState, save_state
from server.runs.run_folder import RunFolder
from server.runs.study_journal import Journal
from server.runs.summary import read_summary, write_summary
from server.store.intake.outbox import Outbox
from server.store.record_kinds import DataBody, DocumentBody, FiguresBody
from shared.config.files import write_yaml
from shared.models.arrays import Arrays
from shared.models.initial import unpack_initial
from shared.models.weights import file_sha256
from tests.membership_figures import drawn_membership

ABOUT = About("made", "tiny", ("a note",))


def told(folder: RunFolder, kind: str = "") -> list[dict[str, Any]]:
    """Return the bodies of the records of a kind, in order."""
    records = Outbox(folder.path).after(0, 10_000)
    return [json.loads(record.body) for record in records if kind in {"", record.kind}]


def ended(federation: Any, weights: Arrays, path: Path, study: Any = None) -> RunFolder:
    """Return the folder of a run whose rounds ended with these weights, as the study itself leaves it."""
    study = study or federation.study
    path.mkdir(parents=True)
    state = StudyState(study.digest(), weights, rounds_done=2)
    journal = Journal(path, state.study_uid)
    journal.record_event("study_started", study=study.name)
    write_yaml(journal.study, study)
    save_state(state, journal.checkpoint)
    journal.begin(study, simulation=True)
    for number in range(3):
        journal.close_round({"round": number}, dict)
    journal.completed()
    journal.record_event("study_completed", rounds=2)
    return RunFolder(path)


@pytest.fixture(scope="module")
def finished(tiny_federation: Any, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Finish a run once."""
    path = tmp_path_factory.mktemp("finished")
    folder = ended(tiny_federation, tiny_federation.initial, path / "tiny-1")
    finish_run(folder, tiny_federation.workspace, ABOUT, lambda *_: None)
    return folder


def test_every_kind_is_there(finished: RunFolder) -> None:
    """Data, figures, verdict, documents, model, films, mean maps, single images, and the end of the study."""
    kinds = Counter(body["kind"] for body in told(finished))
    assert kinds["image"] == read_summary(finished.path).audit.num_images > 5
    once = ("study", "status", "data", "gate", "model")
    assert [kinds[kind] for kind in once] == [1] * len(once)
    assert (kinds["round"], kinds["figures"], kinds["document"]) == (3, 2, 3)
    assert kinds["film"] == 1 + 3  # of all, and of each source
    cells = {
        (label, source)
        for image in told(finished, "image")
        for label in ("all", image["true_class"])
        for source in ("all", image["source"])
    }
    assert kinds["map"] == 6 * len(cells) + 3  # five subjects and a difference; the last round's by class


def test_figures_are_those_of_summary_and_audit(finished: RunFolder) -> None:
    """Every model's figures, paired differences, sources; every name of the audit by class and by source."""
    summary = read_summary(finished.path)
    evaluation, audit = (FiguresBody.model_validate(body) for body in told(finished, "figures"))
    found = {(one.name, one.subject, one.label, one.source): one.interval for one in evaluation.figures}
    main = summary.metrics.federated_private
    assert main is not None
    assert found["auc", "federated_private", "all", "all"] == main.auc
    assert found["recall", "teacher", "opacity", "all"] == summary.metrics.teacher.recall["opacity"]
    assert found["auc", "federated_private-warm_start", "all", "all"] == summary.paired[0].difference
    assert found["accuracy", "federated_private", "all", "film"] == summary.by_site_of_origin["film"].accuracy
    assert ("brier", "trivial", "all", "all") in found
    audited = summary.audit
    assert audited is not None
    by_name = {(one.name, one.label, one.source): one for one in audit.figures}
    assert len(by_name) == len(audit.figures) == len(FIGURES) * (1 + 2 + 3) + 1
    assert by_name["lift_student", "all", "all"].interval == audited.overall.figures["lift_student"]
    assert by_name["mask_area", "normal", "all"].interval == audited.by_class[0].figures["mask_area"]
    subjects = {
        name: by_name[name, "all", "all"].subject
        for name in ("lift_centre", "mask_area", "agreement_teacher")
    }
    assert subjects == {
        "lift_centre": "centre",
        "mask_area": "explainer",
        "agreement_teacher": "student-teacher",
    }


def test_images_have_films_masks_and_maps_worst_first(finished: RunFolder) -> None:
    """Blobs are pictures of the task's size, maps have mean 1; the audit's first picture is first."""
    outbox, images = Outbox(finished.path), told(finished, "image")
    assert [one["rank"] for one in images] == list(range(1, len(images) + 1))
    worst = next(one for one in read_summary(finished.path).audit.images if one.picture == "audit/01.png")
    assert (images[0]["key"], images[0]["true_class"]) == (worst.key, worst.true_class)
    assert images[0]["figures"] == worst.figures
    for image in images:
        film, region = (
            Image.open(io.BytesIO(outbox.blob(image[name]).content)) for name in ("film", "region")
        )
        assert (film.mode, film.size, region.mode, region.size) == ("L", (32, 32), "1", (32, 32))
        assert set(image["maps"]) == {"teacher", "student", "explainer"}
        for grid in image["maps"].values():
            assert grid is None or np.mean(grid["values"]) == pytest.approx(1, abs=1e-3)
    assert any(image["lesions"] for image in images)


def test_mean_maps_lie_in_the_frame_of_the_lungs(finished: RunFolder) -> None:
    """Maps and films have one frame, 7 x 7 cells, intervals, counts; films have outlines and a side."""
    maps = [one for one in told(finished, "map") if one["grid"] is not None]
    assert {one["frame"] for one in maps} == {"chest"}
    assert {one["subject"] for one in maps} >= {"teacher", "explainer", "random", "centre"}
    for one in maps:
        grid = one["grid"]
        assert (grid["rows"], len(grid["values"])) == (7, 49)
        if one["num_patients"] - one["num_without_evidence"] > 2:
            assert len(grid["low"]) == 49
    whole = next(one for one in told(finished, "film") if one["source"] == "all")
    assert (
        {"lungs", "corners"} <= set(whole["outlines"]) <= {"lungs", "border", "corners"}
    )  # the ring may lie outside
    assert "left is on the right" in whole["laterality"]
    assert Outbox(finished.path).blob(whole["film"]) is not None


def test_the_model_is_its_file(finished: RunFolder) -> None:
    """The record names the weights by the digest of their file, and they are in the outbox."""
    (model,) = told(finished, "model")
    path = next(finished.path.glob("*didate.safetensors"), finished.path / "student.safetensors")
    assert model["weights"] == file_sha256(path)
    assert Outbox(finished.path).blob(model["weights"]).content == path.read_bytes()
    assert model["facts"]["verdict"] == read_summary(finished.path).verdict


def test_a_report_made_again_adds_what_changed(
    finished: RunFolder, tiny_federation: Any, tmp_path: Path
) -> None:
    """Equal content adds no record; another note adds the record of the data, and the documents that repeat it."""
    folder = RunFolder(tmp_path / "tiny-1")
    shutil.copytree(finished.path, folder.path)
    before = len(told(folder))
    finish_run(folder, tiny_federation.workspace, ABOUT, lambda *_: None)
    assert len(told(folder)) == before
    finish_run(folder, tiny_federation.workspace, About("made", "tiny", ("another",)), lambda *_: None)
    new = told(folder)[before:]
    assert [body["kind"] for body in new] == ["data", "document", "document"]
    assert new[0]["notes"] == ["another"]


def test_what_a_student_told_of_its_patients_is_a_record_of_its_own(
    finished: RunFolder, tiny_federation: Any, tmp_path: Path
) -> None:
    """Measured after the report it is one more document, once; figures of other weights are left out."""
    folder = RunFolder(tmp_path / "tiny-1")
    shutil.copytree(finished.path, folder.path)
    before = len(told(folder))
    write_membership(folder.path, drawn_membership("6" * 64))
    finish_run(folder, tiny_federation.workspace, ABOUT, lambda *_: None)
    assert len(told(folder)) == before
    found = drawn_membership(read_summary(folder.path).digests["student"])
    write_membership(folder.path, found)
    for _ in range(2):
        finish_run(folder, tiny_federation.workspace, ABOUT, lambda *_: None)
    new = told(folder)[before:]
    assert [(body["kind"], body["name"]) for body in new] == [
        ("document", "membership"),
        ("document", "summary"),
    ]
    assert new[0]["document"] == found.model_dump(mode="json")
    assert "<dt>membership inference</dt><dd>measured</dd>" in (folder.path / "report.html").read_text()


def test_what_was_said_before_the_last_is_said_again(tmp_path: Path) -> None:
    """A, B, then A again are three records: the store shows the last one."""
    journal = AuditJournal(RunFolder(tmp_path), "a" * 32)
    one, other = (DataBody(data_kind="made", name=name) for name in ("one", "other"))
    summary = DocumentBody(name="summary", document={"a": 1})
    assert [journal.put([body, summary]) for body in (one, one, other, one)] == [2, 0, 1, 1]


def test_an_unfinished_run_is_failed_unless_somebody_is_at_work_on_it(
    tiny_federation: Any, tmp_path: Path
) -> None:
    """A report of a run that ended without a word says failed; while a process holds the folder it says nothing."""
    state = StudyState(tiny_federation.study.digest(), tiny_federation.initial)
    journal = Journal(tmp_path, state.study_uid)
    write_yaml(journal.study, tiny_federation.study)
    save_state(state, journal.checkpoint)
    journal.begin(tiny_federation.study, simulation=True)
    with journal.held(1.0):
        finish_run(RunFolder(tmp_path), tiny_federation.workspace, ABOUT, lambda *_: None)
        assert told(journal, "status") == []
    finish_run(RunFolder(tmp_path), tiny_federation.workspace, ABOUT, lambda *_: None)
    (status,) = told(journal, "status")
    assert (status["state"], status["why"]) == ("failed", "the run ended before its study was complete")
    assert told(journal, "document")[0]["document"]["status"] == "failed"


def accept(folder: RunFolder) -> None:
    """Let a run's student be an accepted one, as the gate of a better student would."""
    summary = read_summary(folder.path)
    write_summary(folder.path, summary.model_copy(update={"verdict": "accepted"}))
    candidate = folder.path / "candidate.safetensors"
    if candidate.exists():
        candidate.rename(folder.path / "student.safetensors")


def test_drift_is_measured_against_the_last_accepted_student(
    tiny_federation: Any, finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same student again has no drift at all; another one has, with intervals; a first one has no figures of it."""
    monkeypatch.setattr(
        "server.audit.drift.FEWEST_PATIENTS", 2
    )  # the tiny reference set has no more with evidence
    assert not [body for body in told(finished, "figures") if body["of"] == "drift"]
    first = RunFolder(tmp_path / "tiny-1")
    shutil.copytree(finished.path, first.path)
    accept(first)
    same = ended(tiny_federation, tiny_federation.initial, tmp_path / "tiny-2")
    drift = finish_run(same, tiny_federation.workspace, ABOUT, lambda *_: None).audit.drift
    assert drift.baseline == read_summary(first.path).digests["student"]
    (body,) = (FiguresBody.model_validate(one) for one in told(same, "figures") if one["of"] == "drift")
    found = {(one.name, one.label): one.interval for one in body.figures}
    assert found["difference_of_lift", "all"].value == pytest.approx(0, abs=1e-9)
    assert found["rank_correlation_of_mean_maps", "all"].value == pytest.approx(1)
    random = np.random.default_rng(0)
    moved = {
        name: (array + random.normal(0, 0.5, array.shape)).astype(np.float32)
        for name, array in tiny_federation.initial.items()
    }
    other = ended(tiny_federation, moved, tmp_path / "tiny-3")
    finish_run(other, tiny_federation.workspace, ABOUT, lambda *_: None)
    (body,) = (FiguresBody.model_validate(one) for one in told(other, "figures") if one["of"] == "drift")
    likeness = next(
        one.interval for one in body.figures if one.name.startswith("rank") and one.label == "all"
    )
    assert likeness.value < 0.99
    assert likeness.low < likeness.value < likeness.high


def test_only_earlier_runs_of_the_same_study_and_reference_count(
    tiny_federation: Any, finished: RunFolder, tmp_path: Path
) -> None:
    """A later run, another name, other reference images or a held student are no baseline."""
    study = tiny_federation.study
    before, now = RunFolder(tmp_path / "before"), RunFolder(tmp_path / "now")
    shutil.copytree(finished.path, before.path)
    now.path.mkdir()
    now.record_event("study_started")
    assert last_accepted(now, study) is None or read_summary(before.path).verdict == "accepted"
    accept(before)
    assert last_accepted(now, study) is not None
    assert last_accepted(before, study) is None
    assert last_accepted(now, study.model_copy(update={"name": "other"})) is None
    public = study.public.model_copy(update={"reference_sha256": "0" * 64})
    assert last_accepted(now, study.model_copy(update={"public": public})) is None


def test_rounds_are_thinned_to_a_bounded_number() -> None:
    """All rounds of a short study, 50 of a long one with both ends, fewer where weights are large."""
    assert sorted(measured_rounds(8, 1000)) == list(range(9))
    long = sorted(measured_rounds(1000, 1000))
    assert (len(long), long[0], long[-1]) == (50, 0, 1000)
    assert set(np.diff(long)) <= {20, 21}
    assert len(measured_rounds(1000, 32 * 2**20)) == 8
    assert sorted(measured_rounds(1000, 2**40)) == [0, 1000]


def test_maps_of_rounds_are_made_once_in_order_whenever_there_is_time(
    tiny_federation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without time weights wait; with time, or at the end, each round has its maps, each less those before it."""
    monkeypatch.setattr("server.audit.round_maps.MOST_IMAGES", 4)
    study = tiny_federation.changed(federation={"rounds": 3})
    compact, _ = unpack_initial(study, initial_state(tiny_federation.workspace, study))
    folder = RunFolder(tmp_path)
    maker = RoundMaps(folder, study, tiny_federation.workspace, compact)
    state = StudyState(study.digest(), tiny_federation.initial)
    for number, seconds in ((0, None), (1, 0.0), (2, 1e6)):
        state = replace(state, rounds_done=number, last_round={"seconds": seconds})
        maker(state)
        waiting = sorted(path.name for path in (tmp_path / "maps").glob("round-*"))
        assert len(waiting) == (number + 1 if number < 2 else 0)
    maps = told(folder, "map")
    assert list(dict.fromkeys(one["round"] for one in maps)) == [0, 1, 2]
    changes = [one for one in maps if one["subject"] == "student-before"]
    assert {one["round"] for one in changes} == {1, 2}
    assert all(set(one["grid"]["values"]) == {0.0} for one in changes if one["grid"])
    before = len(maps)
    maker.keep(state)
    maker(state)
    assert len(told(folder, "map")) == before
    assert {one["source"] for one in maps} == {"all"}


def test_weights_that_a_power_cut_spoilt_cost_the_maps_of_their_round_alone(
    tiny_federation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut file is given up, and the next round has its maps."""
    monkeypatch.setattr("server.audit.round_maps.MOST_IMAGES", 2)
    study = tiny_federation.study
    compact, _ = unpack_initial(study, initial_state(tiny_federation.workspace, study))
    maker = RoundMaps(RunFolder(tmp_path), study, tiny_federation.workspace, compact)
    state = StudyState(study.digest(), tiny_federation.initial)
    maker.keep(state)
    (spoilt,) = (tmp_path / "maps").glob("round-*")
    spoilt.write_bytes(spoilt.read_bytes()[:100])
    maker(replace(state, rounds_done=1, last_round={"seconds": 1e6}))
    assert {one["round"] for one in told(RunFolder(tmp_path), "map")} == {1}
    assert not list((tmp_path / "maps").glob("round-*"))
