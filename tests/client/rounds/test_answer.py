"""A site answers each request by one fixed way: refuse before data is read, charge, compute, store, send."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.rounds.answer import answer
from shared.config.kinds import RequestKind
from shared.errors import ErrorCode
from shared.messages.releases import EnrolmentRelease, ErrorRelease, LedgerStatement, decode_release
from shared.models.arrays import Arrays
from shared.privacy.mechanisms import Declared, Unprotected


@pytest.fixture
def site(tiny_federation, tmp_path: Path):
    """Open one hospital."""
    return tiny_federation.site("film", tmp_path)


def code_of(parts: dict[str, bytes]) -> ErrorCode:
    """Return the code of an answer that is an error and nothing else."""
    assert set(parts) == {"error"}
    fields = decode_release(parts["error"], kinds=("error",)).fields
    assert isinstance(fields, ErrorRelease)
    return fields.code


def num_rows(site) -> int:
    """Return the rows of a site's ledger, after checking them."""
    with site.ledger() as ledger:
        return ledger.verify()


def test_enrolment_says_what_was_declared(tiny_federation, site) -> None:
    """An enrolment holds the typed number of patients, not the counted one; it is counted, and charges nothing."""
    declared = tiny_federation.site("film", site.config.state_dir.parent, declared_patients=50)
    parts = answer(declared, tiny_federation.request("enrol", 0))
    fields = decode_release(parts["enrolment"]).fields
    assert isinstance(fields, EnrolmentRelease)
    assert (fields.site, fields.declared_patients) == ("film", 50)
    assert fields.study_digest == tiny_federation.study.digest()
    assert num_rows(site) == 2
    with site.ledger() as ledger:
        assert ledger.mechanisms("train") == []


def test_bad_data_only_says_not_ready(tiny_federation, tmp_path: Path) -> None:
    """A site whose data cannot be read does not enrol; the hub learns no more."""
    site = tiny_federation.site("film", tmp_path, data={"source": str(tmp_path / "nowhere.csv")})
    parts = answer(site, tiny_federation.request("enrol", 0))
    assert code_of(parts) == ErrorCode.NOT_READY
    assert b"nowhere" not in parts["error"]


def test_a_failure_while_touching_data_has_one_code(tiny_federation, tmp_path: Path) -> None:
    """Training on data that went away answers `failed` and nothing of why."""
    site = tiny_federation.site("film", tmp_path, data={"source": str(tmp_path / "nowhere.csv")})
    parts = answer(site, tiny_federation.request("train", 1))
    assert code_of(parts) == ErrorCode.FAILED
    assert b"nowhere" not in parts["error"]


@pytest.mark.parametrize("payload", [b"", b"x" * 100, b"\xff" * 4096])
def test_a_message_that_cannot_be_read(site, payload: bytes) -> None:
    """Bytes that are no request are a bad request."""
    assert code_of(answer(site, payload)) == ErrorCode.BAD_REQUEST


def _with_nan(weights: Arrays) -> Arrays:
    name = max(weights, key=lambda one: weights[one].size)
    array = weights[name].copy()
    array.flat[3] = np.nan
    return {**weights, name: array}


BAD_WEIGHTS: dict[str, Callable[[Arrays], Arrays]] = {
    "not a number": _with_nan,
    "infinite": lambda w: {name: np.full_like(array, np.inf) for name, array in w.items()},
    "out of range": lambda w: {name: np.full_like(array, 1.1e4) for name, array in w.items()},
    "one missing": lambda w: dict(list(w.items())[1:]),
    "one too many": lambda w: {**w, "extra": np.zeros(1, np.float32)},
    "another shape": lambda w: {name: array.reshape(-1, 1) for name, array in w.items()},
    "none": lambda _: {},
}


@pytest.mark.parametrize("bad", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS.keys())
def test_bad_weights_are_refused_before_data_is_read(tiny_federation, tmp_path: Path, bad: Callable) -> None:
    """Weights of other names, shapes or values are a bad request, also where there is no data to read."""
    site = tiny_federation.site("film", tmp_path, data={"source": str(tmp_path / "nowhere.csv")})
    parts = answer(site, tiny_federation.request("train", 1, bad(tiny_federation.initial)))
    assert code_of(parts) == ErrorCode.BAD_REQUEST
    assert num_rows(site) == 0


@pytest.mark.parametrize("number", [0, 3])
def test_a_round_that_the_study_does_not_have(tiny_federation, site, number: int) -> None:
    """A round before the first or after the last one is a bad request and spends nothing."""
    assert tiny_federation.study.federation.rounds == 2
    parts = answer(site, tiny_federation.request("train", number, tiny_federation.initial))
    assert code_of(parts) == ErrorCode.BAD_REQUEST
    assert num_rows(site) == 0


def test_overflowing_weights_get_an_update_all_the_same(tiny_federation, site) -> None:
    """Weights in range that overflow the network give an update of finite noise, as any others do."""
    huge = {name: np.full_like(array, 9e3) for name, array in tiny_federation.initial.items()}
    parts = answer(site, tiny_federation.request("train", 1, huge))
    assert decode_release(parts["update"], tiny_federation.shapes).kind == "update"


def test_a_repeated_request_gets_the_stored_bytes(tiny_federation, site) -> None:
    """The same request again gets the same bytes and spends nothing; another base is a conflict."""
    request = tiny_federation.request("train", 1)
    first = answer(site, request)
    rows = num_rows(site)
    assert answer(site, request) == first
    assert num_rows(site) == rows == 2
    moved = {name: array + np.float32(0.5) for name, array in tiny_federation.initial.items()}
    assert code_of(answer(site, tiny_federation.request("train", 1, moved))) == ErrorCode.LEDGER_CONFLICT
    assert num_rows(site) == rows


def test_a_crash_after_reserving_is_answered_once(
    tiny_federation, site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation whose answer was never stored is computed again under the same row."""
    request = tiny_federation.request("train", 1)
    with monkeypatch.context() as patched:
        patched.setattr("client.rounds.answer.private_update", lambda *_: 1 / 0)
        assert code_of(answer(site, request)) == ErrorCode.FAILED
    assert num_rows(site) == 1
    assert "update" in answer(site, request)
    assert num_rows(site) == 2
    with site.ledger() as ledger:
        assert len(ledger.mechanisms("train")) == 1


def test_over_the_cap_nothing_is_computed(tiny_federation, tmp_path: Path) -> None:
    """A request that would spend more than the cap is refused, in every round, and writes nothing."""
    site = tiny_federation.site("film", tmp_path, cap={"epsilon": 1.0})
    for round_ in (1, 2):
        assert code_of(answer(site, tiny_federation.request("train", round_))) == ErrorCode.BUDGET_SPENT
    assert num_rows(site) == 0


def test_private_weights_are_charged_once(tiny_federation, tmp_path: Path) -> None:
    """What private-dp weights had spent is in the ledger before the first reply, and only once."""
    initial, teacher = (
        tiny_federation.study.models.initial_sha256,
        tiny_federation.study.models.teacher.sha256,
    )
    accepted = {initial: "private-dp", teacher: "public"}
    site = tiny_federation.site(
        "film", tmp_path, accepted_digests=accepted, private_dp_spend={initial: (0.75, 1e-7)}
    )
    for _ in range(2):
        assert "update" in answer(site, tiny_federation.request("train", 1))
    with site.ledger() as ledger:
        assert ledger.mechanisms("train").count(Declared(epsilon=0.75, delta=1e-7)) == 1
        assert Declared(epsilon=0.75, delta=1e-7) in ledger.mechanisms("evaluation")


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize("left_out", ["teacher", "initial", "both"])
def test_unlisted_weights_end_the_guarantee(
    tiny_federation, tmp_path: Path, kind: RequestKind, left_out: str
) -> None:
    """Weights that only allow_without_privacy lets in are charged once, before the answer; no epsilon is stated."""
    models = tiny_federation.study.models
    accepted = {
        digest: "public"
        for name, digest in (("initial", models.initial_sha256), ("teacher", models.teacher.sha256))
        if left_out not in {name, "both"}
    }
    site = tiny_federation.site("film", tmp_path, accepted_digests=accepted, allow_without_privacy=True)
    first = answer(site, tiny_federation.request(kind, 1))
    assert answer(site, tiny_federation.request(kind, 1)) == first
    stated = decode_release(first["ledger_statement"]).fields
    assert isinstance(stated, LedgerStatement)
    assert stated.epsilon is None
    assert [part.epsilon for part in stated.partitions] == [None] * 3
    with site.ledger() as ledger:
        assert ledger.mechanisms("audit") == [Unprotected()] * (2 if left_out == "both" else 1)


def test_listed_weights_leave_the_guarantee_alone(tiny_federation, tmp_path: Path) -> None:
    """Where the hospital lists every digest, allow_without_privacy alone takes nothing from a private study."""
    site = tiny_federation.site("film", tmp_path, allow_without_privacy=True)
    stated = decode_release(answer(site, tiny_federation.request("train", 1))["ledger_statement"]).fields
    assert isinstance(stated, LedgerStatement)
    assert stated.epsilon is not None


def test_unlisted_weights_are_charged_before_anything_is_computed(
    tiny_federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash while computing leaves the row that ends the guarantee in the ledger."""
    site = tiny_federation.site("film", tmp_path, accepted_digests={}, allow_without_privacy=True)
    monkeypatch.setattr("client.rounds.answer.private_update", lambda *_: 1 / 0)
    assert code_of(answer(site, tiny_federation.request("train", 1))) == ErrorCode.FAILED
    with site.ledger() as ledger:
        assert ledger.mechanisms("train").count(Unprotected()) == 2


def test_evaluation_only_where_allowed(tiny_federation, tmp_path: Path) -> None:
    """A hospital that does not let counts out refuses, and is charged nothing."""
    site = tiny_federation.site("film", tmp_path, allow_releases=["enrolment", "update", "error"])
    assert code_of(answer(site, tiny_federation.request("evaluate", 1))) == ErrorCode.RELEASE_NOT_ALLOWED
    assert num_rows(site) == 0


def test_evaluation_is_charged_to_its_own_partition(tiny_federation, site) -> None:
    """Noised counts leave once, charged to evaluation patients, and training patients spend nothing."""
    request = tiny_federation.request("evaluate", 2)
    first = answer(site, request)
    counts = decode_release(first["evaluation"], {"confusion": (2, 2)}).arrays["confusion"]
    assert np.isfinite(counts).all()
    assert answer(site, request)["evaluation"] == first["evaluation"]
    with site.ledger() as ledger:
        assert len(ledger.mechanisms("evaluation")) == 1
        assert ledger.mechanisms("train") == []


def test_statements_only_where_allowed(tiny_federation, tmp_path: Path) -> None:
    """The ledger's statement goes along, with the cap only where shown; it stays at home where not allowed."""
    hidden = tiny_federation.site("film", tmp_path / "hidden", show_cap=False)
    stated = decode_release(answer(hidden, tiny_federation.request("train", 1))["ledger_statement"]).fields
    assert isinstance(stated, LedgerStatement)
    assert stated.cap_epsilon is None
    assert stated.span == "this run alone (simulation)"
    mute = tiny_federation.site("film", tmp_path / "mute", allow_releases=["update", "error"])
    assert set(answer(mute, tiny_federation.request("train", 1))) == {"update"}


def test_a_damaged_ledger_stops_the_site(tiny_federation, site) -> None:
    """A ledger behind its head file answers ledger_stopped and computes nothing."""
    answer(site, tiny_federation.request("train", 1))
    (site.config.state_dir / "ledger.sqlite").unlink()
    assert code_of(answer(site, tiny_federation.request("train", 2))) == ErrorCode.LEDGER_STOPPED


def test_an_unapproved_study_is_refused(tiny_federation, tmp_path: Path) -> None:
    """The code of a refused study crosses, and nothing else."""
    site = tiny_federation.site("film", tmp_path, approved_studies=["0" * 64])
    for kind in ("enrol", "train", "evaluate"):
        parts = answer(site, tiny_federation.request(kind, 0))
        assert code_of(parts) == ErrorCode.STUDY_NOT_APPROVED


def test_noise_must_have_been_calibrated(tiny_federation, site) -> None:
    """A private study that leaves its noise open is a bad request, not a guess."""
    study = tiny_federation.changed(privacy={"noise_multiplier": None})
    parts = answer(site, tiny_federation.request("train", 1, study=study))
    assert code_of(parts) == ErrorCode.BAD_REQUEST


def test_replies_leave_at_the_studys_time(tiny_federation, site) -> None:
    """With reply_after_seconds no answer of a stage leaves earlier, refused or not."""
    study = tiny_federation.changed(federation={"reply_after_seconds": 0.4})
    started = time.monotonic()
    answer(site, tiny_federation.request("train", 1, {}, study))
    assert time.monotonic() - started >= 0.4
