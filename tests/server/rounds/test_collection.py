"""The answers to one request: each is checked, a bad one is left out with its reason, and the others count."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.rounds.answer import failure
from server.rounds.aggregation import update_norm
from server.rounds.collection import Collected, Stage, collect
from server.rounds.exchange import Answer, Exchange
from server.runs.checkpoints import StudyState
from server.runs.enrolled_site import EnrolledSite
from server.runs.run_folder import RunFolder, read_lines
from shared.config.kinds import RequestKind
from shared.config.study import StudyConfig
from shared.errors import ErrorCode
from shared.messages.releases import Release, UpdateRelease, decode_release, encode_release
from shared.models.arrays import Arrays, arrays_digest
from shared.privacy.bounds import update_norm_bound
from shared.privacy.step_plan import step_plan
from tests.conftest import SITES

ASKED = tuple(EnrolledSite(name, node, 4) for node, name in enumerate(SITES))


class Recorded(Exchange):
    """One round's answers as sites gave them, with one of them exchanged."""

    def __init__(self, answers: Mapping[str, dict[str, bytes] | None]) -> None:
        self.answers = answers

    def ask(
        self, _kind: RequestKind, payloads: Mapping[int, bytes], *_: object, **__: object
    ) -> Iterator[Answer]:
        """Yield what was recorded."""
        for node in payloads:
            yield Answer(node, self.answers[SITES[node]], 1)


@dataclass(frozen=True)
class Round:
    """A first round that three real sites answered, to be collected again with another answer of film."""

    study: StudyConfig
    state: StudyState
    answers: Mapping[str, dict[str, bytes]]
    update: Release  # film's honest one

    def collected(self, parts: dict[str, bytes] | None, folder: Path) -> Collected:
        """Collect the round, with its events in a folder."""
        exchange = Recorded({**self.answers, "film": parts})
        stage = Stage(1, "train", self.state.weights)
        return collect(self.study, self.state, stage, ASKED, exchange, RunFolder(folder))


@pytest.fixture(scope="module")
def first_round(tiny_federation, tmp_path_factory: pytest.TempPathFactory) -> Round:
    """Let the sites answer once."""
    path = tmp_path_factory.mktemp("first-round")
    study, state = tiny_federation.study, StudyState("d" * 64, tiny_federation.initial)
    hospitals = tiny_federation.hospitals(tiny_federation.sites(path))
    collect(study, state, Stage(1, "train", state.weights), ASKED, hospitals, RunFolder(path))
    answers = {name: parts for name, _, _, parts in hospitals.asked}
    return Round(study, state, answers, decode_release(answers["film"]["update"], tiny_federation.shapes))


def test_the_recorded_round_is_accepted(first_round: Round, tmp_path: Path) -> None:
    """The honest answers pass, so that what is refused below is refused for what was changed."""
    collected = first_round.collected(first_round.answers["film"], tmp_path)
    assert sorted(collected.releases) == list(SITES)
    assert collected.missing == {}


def changed(release: Release, **fields: Any) -> dict[str, bytes]:
    """Return an answer whose update differs in some fields."""
    given = {"study_uid": release.study_uid, "round": release.round, "fields": release.fields}
    return {"update": encode_release(Release(**given | {"arrays": release.arrays} | fields))}


def scaled(release: Release, factor: float) -> Arrays:
    """Return the update's arrays times a factor."""
    return {name: array * np.float32(factor) for name, array in release.arrays.items()}


def one_nan(release: Release) -> Arrays:
    """Return the update's arrays with one value that is no number."""
    arrays = scaled(release, 1)
    next(iter(arrays.values())).flat[0] = np.nan
    return arrays


FORGED: dict[str, tuple[Callable[[Release], dict[str, bytes] | None], str]] = {
    "not a number": (lambda r: changed(r, arrays=one_nan(r)), "not finite"),
    "infinite": (lambda r: changed(r, arrays=scaled(r, 1e38)), "not finite or beyond"),
    "too long": (lambda r: changed(r, arrays=scaled(r, 30)), "update norm is"),
    "another shape": (
        lambda r: changed(r, arrays={n: a.reshape(-1, 1) for n, a in r.arrays.items()}), "allowed is float32"
    ),
    "another type": (
        lambda r: changed(r, arrays={n: a.astype(np.float64) for n, a in r.arrays.items()}), "allowed is float32"
    ),
    "one array missing": (lambda r: changed(r, arrays=dict(list(r.arrays.items())[1:])), "1 missing"),
    "late": (lambda r: changed(r, round=0), "answered another round"),
    "another study": (lambda r: changed(r, study_uid="f" * 32), "answered another round"),
    "other base": (
        lambda r: changed(r, fields=UpdateRelease(base_sha256="0" * 64)), "other base weights; discarded"
    ),
    "values of another type": (
        lambda r: changed(r, fields=r.fields.model_copy(update={"values": "float16"})), "values of another type"
    ),
    "failed node": (lambda _: None, "the node failed"),
    "nothing": (lambda _: {}, "nothing usable"),
    "garbage": (lambda _: {"update": b"\xff" * 100}, "not a safetensors message"),
    "an error": (lambda _: failure(ErrorCode.FAILED), "failed"),
    "a bad statement": (lambda r: changed(r) | {"ledger_statement": b"{}"}, "not a safetensors message"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "why"), FORGED.values(), ids=FORGED.keys())
def test_a_bad_answer_is_discarded_and_named(
    first_round: Round, forge: Callable, why: str, tmp_path: Path
) -> None:
    """A bad answer is left out with its reason, and the mean is that of the other sites, bit for bit."""
    (tmp_path / "without").mkdir()
    without = first_round.collected(None, tmp_path / "without")
    collected = first_round.collected(forge(first_round.update), tmp_path)
    assert sorted(collected.releases) == ["bedside", "children"]
    assert why in collected.missing["film"]
    *_, told = read_lines(RunFolder(tmp_path).events)
    assert (told["site"], told["outcome"]) == ("film", collected.missing["film"])
    assert arrays_digest(collected.mean.mean()) == arrays_digest(without.mean.mean())


def test_the_norm_bound_is_above_what_honest_sites_send(first_round: Round) -> None:
    """Honest updates are below the bound, and the bound is not far above them."""
    update = first_round.update.arrays
    plan = step_plan(first_round.study, 1, 4)
    bound = update_norm_bound(plan, sum(array.size for array in update.values()), 4)
    assert bound / 5 < update_norm(update) < bound
