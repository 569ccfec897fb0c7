"""What a study says to the audit store: everything once, and the same whenever the hub was killed meanwhile."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

from server.rounds.exchange import Answer, Exchange
from server.rounds.study import run_study
from server.runs import checkpoints
from server.runs.run_folder import RunFolder
from server.runs.study_journal import Journal, event_body, plain, record_status
from server.store.intake.outbox import Outbox
from shared.code_digest import code_digest
from shared.config.files import parse_study
from shared.config.kinds import RequestKind
from shared.config.study import StudyConfig
from shared.errors import StudyError
from shared.messages.releases import (
    AnyFields,
    EnrolmentRelease,
    EvaluationRelease,
    LedgerStatement,
    Release,
    UpdateRelease,
    decode_release,
    encode_release,
)
from shared.messages.requests import Request, decode_request
from shared.models.arrays import Arrays
from tests.conftest import SITES, STUDY

Spoil = Callable[[str, RequestKind, dict[str, bytes]], dict[str, bytes]]
FIGURES = {"auc": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 12}, "mask_area": 0.5}


class KilledError(BaseException):
    """The hub's process ends here, and nothing catches that."""


@dataclass
class Killer:
    """Kills at the `at`-th of the moments it is told of, in any thread; 0 is never. `moments` counts them."""

    at: int = 0
    moments: int = 0
    _lock: Any = field(default_factory=Lock)

    def __call__(self) -> None:
        with self._lock:
            self.moments += 1
            if self.moments == self.at:
                raise KilledError

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Make a moment of the time before a function, and one of the time after it."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self()
            result = function(*arguments, **named)
            self()
            return result

        return wrapped


class MadeSites(Exchange):
    """Sites that answer at once with made releases, always the same; film's first update is none."""

    def __init__(self, study: StudyConfig, spoil: Spoil, each: Callable[[], None]) -> None:
        self.study, self.spoil, self.each = study, spoil, each

    def wait_for_nodes(self, at_least: int, seconds: float) -> list[int]:  # noqa: ARG002 - Exchange's shape
        return list(range(len(SITES)))

    def admitted_names(self) -> dict[int, str]:
        return dict(enumerate(SITES))

    def late(self) -> Iterator[Answer]:
        """Nothing comes late."""
        return iter(())

    def ask(
        self,
        kind: RequestKind,
        payloads: Mapping[int, bytes],
        *_: object,
        meanwhile: Callable[[], None] = lambda: None,
        **__: object,
    ) -> Iterator[Answer]:
        """Let each site answer; bedside's node fails once in round 2."""
        meanwhile()
        for node, payload in payloads.items():
            self.each()
            request = decode_request(payload)
            if (SITES[node], kind, request.header.round) == ("bedside", "train", 2):
                yield Answer(node, None, asked_again=True)
            parts = self.spoil(SITES[node], kind, self._parts(SITES[node], request))
            yield Answer(node, parts, sum(map(len, parts.values())))

    def _parts(self, name: str, request: Request) -> dict[str, bytes]:
        head, released = request.header, {}
        if head.kind == "enrol":
            fields: AnyFields = EnrolmentRelease(
                site=name, study_digest=self.study.digest(), code_digest=code_digest(), versions={"flwr": "1.41.0"},
                declared_patients=40,
            )  # fmt: skip
            return {"enrolment": encode_release(Release(head.study_uid, head.round, fields))}
        if head.kind == "train":
            zeros = {key: np.zeros_like(array) for key, array in request.weights.items()}
            released["update"] = Release(
                head.study_uid, head.round, UpdateRelease(base_sha256=head.base_digest), zeros
            )
        else:
            fields = EvaluationRelease(student_sha256=head.base_digest, noise_std=4.0)
            counts = {"confusion": np.ones((2, 2), np.float32)}
            released["evaluation"] = Release(head.study_uid, head.round, fields, counts)
        seq = 2 * head.round + (head.kind == "evaluate")
        statement = LedgerStatement(
            site=name, head_seq=seq, head_hash=f"{seq:064x}", epsilon=float(seq), delta=1e-5, partitions=(),
            span="all runs",
        )  # fmt: skip
        released["ledger_statement"] = Release(head.study_uid, head.round, statement)
        return {part: encode_release(release) for part, release in released.items()}


def spoilt(name: str, kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes]:
    """Make film's update of round 1 no update."""
    if (name, kind) == ("film", "train") and decode_release(parts["ledger_statement"]).round == 1:
        return parts | {"update": b"garbage"}
    return parts


@dataclass
class Hub:
    """A hub with three made sites, whose process may be killed and started again."""

    study: StudyConfig
    folder: RunFolder
    killer: Killer = field(default_factory=Killer)
    spoil: Spoil = spoilt

    def run(self) -> None:
        """Run the study in a process of which each durable step, answer and scoring is a moment to be killed at."""
        self.folder.path.mkdir(exist_ok=True)
        initial = {"scale": np.ones(3, np.float32)}
        sites = MadeSites(self.study, self.spoil, self.killer)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save_state", self.killer.around(checkpoints.save_state))
            patch.setattr(Outbox, "add", self.killer.around(Outbox.add))
            patch.setattr(RunFolder, "record_round", self.killer.around(RunFolder.record_round))
            run_study(self.study, initial, sites, self.folder, self._score, simulation=True)

    def _score(self, _weights: Arrays) -> dict[str, Any]:
        self.killer()
        return FIGURES

    def told(self) -> list[dict[str, Any]]:
        """Return all bodies in order, without what a clock says."""
        return [
            {key: value for key, value in body.items() if key != "seconds"} for body in bodies(self.folder)
        ]


@pytest.fixture(scope="module")
def study() -> StudyConfig:
    """Return a study of two rounds with an evaluation at the sites."""
    return parse_study(STUDY | {"federation": STUDY["federation"] | {"evaluate_sites": True}})


@pytest.fixture(scope="module")
def undisturbed(study: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """Run the study that nobody kills."""
    hub = Hub(study, RunFolder(tmp_path_factory.mktemp("undisturbed")))
    hub.run()
    return hub


def bodies(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(record.body) for record in Outbox(folder.path).after(0, 1000)]


def named(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [body for body in told if body["kind"] == kind]


def test_a_study_says_what_happened_in_order(undisturbed: Hub) -> None:
    """Study, round 0, sites, then each round's answers and statements and the round, the evaluation, the end."""
    kinds = Counter(body["kind"] for body in undisturbed.told())
    assert kinds == {
        "study": 1,
        "round": 3,
        "site": 3,
        "release": 12,
        "statement": 9,
        "event": 4,
        "status": 1,
    }
    order = [body["kind"] for body in undisturbed.told()]
    assert order[:3] == ["study", "round", "site"]
    assert order[-1] == "status"
    (began,) = named(undisturbed.told(), "study")
    assert began["simulation"] is True
    assert began["config"] == undisturbed.study.model_dump(mode="json")


def test_rounds_have_figures_and_who_took_part(undisturbed: Hub) -> None:
    """Round 0 has the warm start's figures; a site whose answer was no update is missing, with the reason."""
    warm, first, second = named(undisturbed.told(), "round")
    assert (warm["round"], warm["answered"], warm["auc"]["low"]) == (0, [], 0.7)
    assert (first["answered"], list(first["missing"])) == (["bedside", "children"], ["film"])
    assert second["answered"] == list(SITES)
    assert 0 < first["epsilon"]["bedside"] < second["epsilon"]["bedside"]
    assert second["num_bytes"]["film"] > 500
    assert (warm["mask_area"], second["mask_area"]) == (0.5, 0.5)


def test_each_answer_is_a_record_with_its_outcome(undisturbed: Hub) -> None:
    """Three enrolments, three answers in each round, three evaluations; the refused one says why."""
    releases = named(undisturbed.told(), "release")
    assert Counter(body["release"] for body in releases) == {"enrolment": 3, "update": 6, "evaluation": 3}
    assert all(body["num_bytes"] > 0 for body in releases)
    (refused,) = [body for body in releases if body["outcome"] != "accepted"]
    (first,) = [body for body in named(undisturbed.told(), "round") if body["round"] == 1]
    assert (refused["site"], refused["round"]) == ("film", 1)
    assert refused["outcome"] == first["missing"]["film"]


def test_statements_say_whether_their_head_follows(undisturbed: Hub) -> None:
    """The first statement of a site follows none; each later one follows the one before."""
    for site in SITES:
        statements = [
            one for one in named(undisturbed.told(), "statement") if one["statement"]["site"] == site
        ]
        assert [one["follows"] for one in statements] == [None, True, True]
        heads = [one["statement"]["head_seq"] for one in statements]
        assert heads == sorted(set(heads))


def test_a_ledger_that_was_cut_is_recorded_as_such(study: StudyConfig, tmp_path: Path) -> None:
    """A statement whose head does not follow the one remembered is a record that says so, and is not accepted."""

    def cut(name: str, _kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes]:
        statement = decode_release(parts["ledger_statement"]) if "ledger_statement" in parts else None
        if (
            name != "film"
            or statement is None
            or (statement.kind, statement.fields.head_seq) != ("ledger_statement", 4)
        ):
            return parts
        fields = statement.fields.model_copy(update={"head_seq": 1})
        return parts | {"ledger_statement": encode_release(replace(statement, fields=fields))}

    hub = Hub(study, RunFolder(tmp_path), spoil=cut)
    hub.run()
    broken = [one for one in named(hub.told(), "statement") if one["follows"] is False]
    assert [(one["statement"]["site"], one["round"]) for one in broken] == [("film", 2)]
    (second,) = [one for one in named(hub.told(), "round") if one["round"] == 2]
    assert "restored or cut" in second["missing"]["film"]


def test_a_killed_study_ends_with_the_same_records(
    study: StudyConfig, undisturbed: Hub, tmp_path: Path
) -> None:
    """Killed at each durable step, each answer and each scoring in turn, and resumed: nothing is lost or doubled.

    Only the words "study" and "completed", which tell of beginnings and ends, may be said again.
    """
    ends = {"study", "status"}
    expected = [body for body in undisturbed.told() if body["kind"] not in ends]
    assert undisturbed.killer.moments > 40
    for at in range(1, undisturbed.killer.moments + 1):
        hub = Hub(study, RunFolder(tmp_path / str(at)), Killer(at))
        with pytest.raises(KilledError):
            hub.run()
        hub.killer.at = 0
        hub.run()
        told = hub.told()
        assert [body for body in told if body["kind"] not in ends] == expected, f"killed at moment {at}"
        assert {body["kind"] for body in told} >= ends
        assert len({record.study_uid for record in Outbox(hub.folder.path).after(0, 1000)}) == 1


def test_a_round_that_fails_says_who_answered_and_why_it_failed(tiny_federation: Any, tmp_path: Path) -> None:
    """Below the quorum no round is recorded, but the answers are, and the study's end with its sentence."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    sites = tiny_federation.sites(tmp_path / "state")
    later = tiny_federation.poorer(tmp_path / "state", 0.1, "bedside", "film")
    exchange = tiny_federation.hospitals(sites, later=later)
    with pytest.raises(StudyError, match="quorum") as failed:
        run_study(tiny_federation.study, tiny_federation.initial, exchange, folder, dict)
    record_status(folder, "failed", str(failed.value))
    record_status(folder, "failed", str(failed.value))
    told = bodies(folder)
    outcomes = {
        (one["site"], one["release"], one["outcome"]) for one in named(told, "release") if one["round"]
    }
    assert outcomes == {
        ("children", "update", "accepted"), ("bedside", "error", "budget_spent"), ("film", "error", "budget_spent"),
    }  # fmt: skip
    assert [one["round"] for one in named(told, "round")] == [0]
    (status,) = named(told, "status")
    assert (status["state"], status["why"]) == ("failed", str(failed.value))


def test_too_few_sites_leave_the_reasons(tiny_federation: Any, tmp_path: Path) -> None:
    """A study that cannot begin tells of each node that did not enrol."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()

    def garbage(name: str, _kind: RequestKind, parts: dict[str, bytes]) -> dict[str, bytes]:
        return {} if name == "film" else parts

    exchange = tiny_federation.hospitals(tiny_federation.sites(tmp_path / "state"), garbage)
    exchange.names = {SITES.index("film"): "film"}
    with pytest.raises(StudyError, match="min_sites"):
        run_study(tiny_federation.study, tiny_federation.initial, exchange, folder, dict)
    told = bodies(folder)
    (event,) = named(told, "event")
    assert (event["event"], event["site"]) == ("not_enrolled", "film")
    assert event["what"]


def test_a_folder_without_a_study_gets_no_record(tmp_path: Path) -> None:
    """Where no study began, its end is not recorded either, and no file is made."""
    record_status(RunFolder(tmp_path), "failed", "a wrong setting")
    assert list(tmp_path.iterdir()) == []


def test_a_status_is_said_again_only_after_a_resume(tmp_path: Path, study: StudyConfig) -> None:
    """Stopped twice in a row is one record; stopped, resumed and stopped are three."""
    journal = Journal(tmp_path, "a" * 32)
    journal.begin(study, simulation=False)
    for _ in range(2):
        record_status(RunFolder(tmp_path), "stopped", "stopped by a person")
    journal.begin(study, simulation=False)
    record_status(RunFolder(tmp_path), "stopped", "stopped by a person")
    kinds = [record.kind for record in Outbox(tmp_path).after(0, 10)]
    assert kinds == ["study", "status", "study", "status"]


def test_sentences_are_short_and_name_no_folder() -> None:
    """One line, no control characters, no path of the hub, at most 300 signs: what an answer held cannot do harm."""
    assert plain("image /srv/data/public/a b.png cannot be read") == "image a b.png cannot be read"
    assert plain("file '/srv/x/y.csv': is\n\x1b[31mred\x1b[0m") == "file 'y.csv': is [31mred [0m"
    assert plain("5 mg/kg/d, see https://a.b/c/d") == "5 mg/kg/d, see https://a.b/c/d"
    assert len(plain("x" * 1000)) == 300
    body = event_body("not_enrolled", {"node": "17", "why": "no answer by the deadline"})
    assert (body.site, body.what) == ("", "node 17: no answer by the deadline")
