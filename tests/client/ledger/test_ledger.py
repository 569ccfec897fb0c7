"""Each request is answered once, each release is counted for ever, and damage is seen."""

import sqlite3
from pathlib import Path

import dp_accounting
import pytest
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant

from client.ledger.ledger import Ledger, RequestKey
from shared.config.site import Cap
from shared.errors import ErrorCode, LedgerError, PrivacyError, Refusal
from shared.privacy.accountant import spend, spend_pld
from shared.privacy.mechanisms import Declared, Gaussian, PoissonGaussian, Unprotected

CAP = Cap(epsilon=10.0, delta=1e-5)
ROUND = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.1, steps=10)
FREE = Declared(epsilon=0.5, delta=0)  # quick to account, for tests that are not about epsilon
BASE, OTHER_BASE = "a" * 64, "b" * 64


def key(round_: int, study: str = "study-1", kind: str = "update") -> RequestKey:
    """Return a request's key."""
    return RequestKey(study_uid=study, round=round_, kind=kind)


def opened(folder: Path) -> Ledger:
    """Open the ledger of a folder."""
    return Ledger.open(folder / "site.ledger", folder / "volume" / "heads")


def filled(folder: Path) -> None:
    """Leave a ledger of three answered requests: six rows."""
    with opened(folder) as ledger:
        for number in range(3):
            ledger.commit(ledger.reserve(key(number), BASE, FREE, "train", CAP), b"reply")


def edit(folder: Path, *statements: str) -> None:
    """Change the file behind the ledger's back, as only a person with full rights can."""
    database = sqlite3.connect(folder / "site.ledger", isolation_level=None)
    for table in ("rows", "replies"):
        for action in ("UPDATE", "DELETE"):
            database.execute(f"DROP TRIGGER no_{action}_{table}")
    for statement in statements:
        database.execute(statement)
    database.close()


def code_of(refused: pytest.ExceptionInfo[Refusal]) -> ErrorCode:
    """Return the code that would cross to the hub."""
    return refused.value.code


def test_repeated_request_gets_the_stored_bytes(tmp_path: Path) -> None:
    """Same key and base: the same bytes again, also after reopening, and nothing more is spent."""
    with opened(tmp_path) as ledger:
        first = ledger.reserve(key(1), BASE, FREE, "train", CAP)
        assert first.stored is None
        ledger.commit(first, b"noisy update")
    with opened(tmp_path) as ledger:
        again = ledger.reserve(key(1), BASE, FREE, "train", CAP)
        assert again.stored == b"noisy update"
        assert ledger.mechanisms("train") == [FREE]
        assert ledger.verify() == 2


def test_unanswered_request_keeps_its_row(tmp_path: Path) -> None:
    """A reservation without bytes may be computed again under the same row: nothing of it left."""
    with opened(tmp_path) as ledger:
        first = ledger.reserve(key(1), BASE, FREE, "train", CAP)
    with opened(tmp_path) as ledger:
        assert ledger.reserve(key(1), BASE, FREE, "train", CAP) == first
        assert ledger.mechanisms("train") == [FREE]


@pytest.mark.parametrize(
    ("base", "mechanism", "partition"),
    [
        (OTHER_BASE, FREE, "train"),
        (BASE, Declared(epsilon=0.1, delta=0), "train"),
        (BASE, None, "train"),
        (BASE, FREE, "evaluation"),
    ],
)
@pytest.mark.parametrize("answered", [False, True])
def test_changed_request_is_a_conflict(
    tmp_path: Path, base: str, mechanism: Declared | None, partition: str, *, answered: bool
) -> None:
    """Same key with another base, mechanism or partition is refused, before and after the answer."""
    with opened(tmp_path) as ledger:
        reservation = ledger.reserve(key(1), BASE, FREE, "train", CAP)
        if answered:
            ledger.commit(reservation, b"reply")
        with pytest.raises(Refusal) as refused:
            ledger.reserve(key(1), base, mechanism, partition, CAP)
        assert code_of(refused) == ErrorCode.LEDGER_CONFLICT


def test_second_answer_must_not_leave(tmp_path: Path) -> None:
    """Where two processes computed the same request, the second one's bytes are refused."""
    with opened(tmp_path) as first, opened(tmp_path) as second:
        reservations = [ledger.reserve(key(1), BASE, FREE, "train", CAP) for ledger in (first, second)]
        second.commit(reservations[1], b"second")
        with pytest.raises(Refusal) as refused:
            first.commit(reservations[0], b"first")
        assert code_of(refused) == ErrorCode.LEDGER_CONFLICT
        assert first.reserve(key(1), BASE, FREE, "train", CAP).stored == b"second"


def test_spend_matches_an_independent_accountant(tmp_path: Path) -> None:
    """Rows of two studies, answered or not, compose to what dp-accounting finds for the same events."""
    with opened(tmp_path) as ledger:
        for number in range(3):
            ledger.commit(ledger.reserve(key(number), BASE, ROUND, "train", CAP), b"")
        ledger.reserve(key(0, "study-2"), BASE, ROUND, "train", CAP)
        ledger.reserve(key(1, "study-2"), BASE, Gaussian(noise_multiplier=5.0), "train", CAP)
        statement = ledger.statement(1e-5, site="north", span="all runs")
    accountant = PLDAccountant()
    step = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(1.0))
    accountant.compose(step, 40)
    accountant.compose(dp_accounting.GaussianDpEvent(5.0))
    assert statement.epsilon == pytest.approx(accountant.get_epsilon(1e-5), abs=0.02)
    assert statement.partitions[0].pld_epsilon == pytest.approx(accountant.get_epsilon(1e-5), abs=1e-3)


def test_spent_budget_refuses_and_writes_nothing(tmp_path: Path) -> None:
    """The request that would pass the cap is refused, so is every later one; stored answers stay."""
    cap = Cap(epsilon=4.0, delta=1e-5)  # one round spends 2.9, two 3.6, three 4.2
    with opened(tmp_path) as ledger:
        for number in range(5):
            if number < 2:
                ledger.commit(ledger.reserve(key(number), BASE, ROUND, "train", cap), b"%d" % number)
                continue
            with pytest.raises(Refusal) as refused:
                ledger.reserve(key(number), BASE, ROUND, "train", cap)
            assert code_of(refused) == ErrorCode.BUDGET_SPENT
        spent = ledger.statement(cap.delta, site="north", span="all runs").epsilon
        assert spent is not None
        assert spent <= cap.epsilon
        assert ledger.verify() == 4
        assert ledger.reserve(key(0), BASE, ROUND, "train", cap).stored == b"0"


def test_the_cap_itself_may_be_spent(tmp_path: Path) -> None:
    """What brings the patients exactly to the cap passes; after it not even a little more does."""
    with opened(tmp_path) as ledger:
        ledger.reserve(key(1), BASE, Declared(epsilon=10.0, delta=0), "train", CAP)
        with pytest.raises(Refusal, match=r"cap\.epsilon is 10"):
            ledger.reserve(key(2), BASE, Declared(epsilon=1e-3, delta=0), "train", CAP)


def test_a_hospital_that_allows_no_privacy_still_has_a_cap(tmp_path: Path) -> None:
    """A release with noise is held against the cap wherever, even where one without noise would pass."""
    with opened(tmp_path) as ledger:
        over = Declared(epsilon=11.0, delta=0)
        with pytest.raises(Refusal) as refused:
            ledger.reserve(key(1), BASE, over, "train", CAP, allow_without_privacy=True)
        assert code_of(refused) == ErrorCode.BUDGET_SPENT
        ledger.reserve(key(1), BASE, FREE, "train", CAP, allow_without_privacy=True)


def test_partitions_spend_apart(tmp_path: Path) -> None:
    """Train and evaluation patients differ, so the statement's epsilon is the largest, not the sum."""
    with opened(tmp_path) as ledger:
        ledger.reserve(key(1), BASE, Declared(epsilon=3.0, delta=0), "train", CAP)
        ledger.reserve(key(1, kind="evaluation"), BASE, Declared(epsilon=1.0, delta=0), "evaluation", CAP)
        statement = ledger.statement(1e-5, site="north", span="this run alone (simulation)")
        assert [part.epsilon for part in statement.partitions] == [3.0, 1.0, 0.0]
        assert statement.epsilon == 3.0
        assert statement.span == "this run alone (simulation)"
        with pytest.raises(PrivacyError, match="partition is"):
            ledger.reserve(key(2), BASE, FREE, "everyone", CAP)


def test_declared_weights_count_once_in_every_partition(tmp_path: Path) -> None:
    """A private-dp weights file is one row a digest, counts for all patients, and cannot change."""
    with opened(tmp_path) as ledger:
        for _ in range(2):
            ledger.record_declared(BASE, 2.0, 1e-6)
        assert ledger.mechanisms("train") == ledger.mechanisms("evaluation")
        assert ledger.mechanisms("train") == [Declared(epsilon=2.0, delta=1e-6)]
        with pytest.raises(LedgerError, match="private_dp_spend"):
            ledger.record_declared(BASE, 1.0, 1e-6)
        with pytest.raises(Refusal) as refused:
            ledger.reserve(key(1), BASE, Declared(epsilon=9.0, delta=0), "train", CAP)
        assert code_of(refused) == ErrorCode.BUDGET_SPENT


def test_each_weights_file_has_a_spend_of_its_own(tmp_path: Path) -> None:
    """Another file's spend adds, and a request whose base is the file is no declaration of it."""
    with opened(tmp_path) as ledger:
        ledger.reserve(key(1), BASE, FREE, "train", CAP)
        ledger.record_declared(OTHER_BASE, 2.0, 0)
        ledger.record_declared(BASE, 1.0, 0)
        assert [one.epsilon for one in ledger.mechanisms("train") if isinstance(one, Declared)] == [
            0.5,
            2.0,
            1.0,
        ]
        assert ledger.verify() == 3


def test_unlisted_weights_count_once_and_end_the_guarantee(tmp_path: Path) -> None:
    """An unlisted weights file is one row over all patients, which listing the file later does not take back."""
    with opened(tmp_path) as ledger:
        for _ in range(2):
            ledger.record_unlisted(BASE)
        ledger.record_declared(BASE, 2.0, 1e-6)
        assert ledger.verify() == 1
        assert ledger.mechanisms("train") == ledger.mechanisms("audit") == [Unprotected()]
        statement = ledger.statement(1e-5, site="north", span="all runs")
        assert [part.epsilon for part in statement.partitions] == [None] * 3


def test_a_declared_spend_is_not_forgotten_by_unlisting_its_file(tmp_path: Path) -> None:
    """A file whose spend is in the ledger cannot be taken off the list: one sentence says what to put back."""
    with opened(tmp_path) as ledger:
        ledger.record_declared(BASE, 2.0, 1e-6)
        with pytest.raises(LedgerError, match=r"accepted_digests: does not list .* put back that value"):
            ledger.record_unlisted(BASE)


def test_request_without_mechanism_is_free(tmp_path: Path) -> None:
    """A status answer is kept and repeated, but not charged."""
    with opened(tmp_path) as ledger:
        ledger.commit(ledger.reserve(key(0, kind="status"), BASE, None, "train", CAP), b"status")
        assert ledger.mechanisms("train") == []
        assert ledger.reserve(key(0, kind="status"), BASE, None, "train", CAP).stored == b"status"


def test_release_without_privacy_needs_the_hospital(tmp_path: Path) -> None:
    """An unprotected release passes only where allowed, and then no statement claims an epsilon again."""
    with opened(tmp_path) as ledger:
        with pytest.raises(Refusal) as refused:
            ledger.reserve(key(1), BASE, Unprotected(), "train", CAP)
        assert code_of(refused) == ErrorCode.BUDGET_SPENT
        ledger.reserve(key(1), BASE, Unprotected(), "train", CAP, allow_without_privacy=True)
        statement = ledger.statement(1e-5, site="north", span="all runs")
        assert (statement.epsilon, statement.partitions[0].epsilon) == (None, None)
        with pytest.raises(Refusal):
            ledger.reserve(key(2), BASE, FREE, "train", CAP)


def test_statement_depends_on_public_values_only(tmp_path: Path) -> None:
    """Two sites with the same requests and different replies state the same, but for the head's hash."""
    statements = []
    for folder, reply in ((tmp_path / "one", b"a"), (tmp_path / "two", b"quite another reply")):
        with opened(folder) as ledger:
            ledger.commit(ledger.reserve(key(1), BASE, FREE, "train", CAP), reply)
            statements.append(ledger.statement(1e-5, site="north", span="all runs", shown_cap=None))
    assert statements[0].cap_epsilon is None
    with opened(tmp_path / "one") as ledger:
        shown = ledger.statement(1e-5, site="north", span="all runs", shown_cap=CAP)
    assert shown == statements[0].model_copy(update={"cap_epsilon": 10.0})
    assert statements[0].model_dump(exclude={"head_hash"}) == statements[1].model_dump(exclude={"head_hash"})


def test_rows_can_neither_change_nor_go(tmp_path: Path) -> None:
    """SQLite itself refuses UPDATE, DELETE and REPLACE."""
    filled(tmp_path)
    with opened(tmp_path) as ledger:
        for statement in (
            "UPDATE rows SET mechanism = NULL", "DELETE FROM rows", "DELETE FROM replies",
            "UPDATE replies SET bytes = x'00'", "REPLACE INTO replies (seq, bytes) VALUES (2, x'00')",
        ):  # fmt: skip
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                ledger._file._database.execute(statement)
        assert ledger.verify() == 6


@pytest.mark.parametrize(
    "statements",
    [
        ["DELETE FROM replies WHERE seq = 2", "DELETE FROM rows WHERE seq = 2"],
        ["DELETE FROM rows WHERE seq = 1"],
        ["UPDATE rows SET mechanism = NULL WHERE seq = 3"],
        ["UPDATE rows SET partition = 'audit' WHERE seq = 5"],
        ["UPDATE rows SET seq = 70 WHERE seq = 3", "UPDATE rows SET seq = 3 WHERE seq = 5"],
        ["DELETE FROM replies WHERE seq = 6", "DELETE FROM rows WHERE seq >= 5"],
        ["DELETE FROM replies", "DELETE FROM rows"],
    ],
    ids=["middle", "first", "edited", "moved to another partition", "reordered", "tail", "everything"],
)
def test_damage_stops_the_ledger(tmp_path: Path, statements: list[str]) -> None:
    """A deleted, edited or reordered row, or a cut tail, is seen at opening."""
    filled(tmp_path)
    edit(tmp_path, *statements)
    with pytest.raises(LedgerError, match="put back"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "statement", ["UPDATE replies SET bytes = x'00' WHERE seq = 2", "DELETE FROM replies"]
)
def test_damaged_reply_is_never_sent(tmp_path: Path, statement: str) -> None:
    """A stored reply that does not match its row is found by verify and when it would be sent again."""
    filled(tmp_path)
    edit(tmp_path, statement)
    with opened(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="reply"):
            ledger.verify()
        with pytest.raises(LedgerError, match="reply"):
            ledger.reserve(key(0), BASE, FREE, "train", CAP)


def test_restored_backup_is_seen(tmp_path: Path) -> None:
    """An older, consistent copy of the ledger is behind its head file."""
    filled(tmp_path)
    backup = (tmp_path / "site.ledger").read_bytes()
    with opened(tmp_path) as ledger:
        ledger.reserve(key(9), BASE, FREE, "train", CAP)
    (tmp_path / "site.ledger").write_bytes(backup)
    with pytest.raises(LedgerError, match="restored or cut"):
        opened(tmp_path)


def test_lost_ledger_is_not_begun_anew(tmp_path: Path) -> None:
    """Where the head file knows rows, a missing ledger is an error and no new one appears."""
    filled(tmp_path)
    (tmp_path / "site.ledger").unlink()
    with pytest.raises(LedgerError, match="restored or cut"):
        opened(tmp_path)
    assert not (tmp_path / "site.ledger").exists()


def test_missing_head_file_stops_the_ledger(tmp_path: Path) -> None:
    """Without its head file a ledger with rows answers nothing, also while it is open."""
    filled(tmp_path)
    head = tmp_path / "volume" / "heads"
    with opened(tmp_path) as ledger:
        head.rename(tmp_path / "away")
        with pytest.raises(LedgerError, match="missing"):
            ledger.reserve(key(9), BASE, FREE, "train", CAP)
    with pytest.raises(LedgerError, match="put the file back"):
        opened(tmp_path)
    assert not head.exists()


@pytest.mark.parametrize("kept", [-1, -30, -72])
def test_head_file_is_repaired_after_a_crash(tmp_path: Path, kept: int) -> None:
    """A last line that is torn or missing is what a crash leaves, and it is completed."""
    filled(tmp_path)
    head = tmp_path / "volume" / "heads"
    whole = head.read_text()
    head.write_text(whole[:kept] if kept > -60 else whole[: whole.rindex("6 ")])
    with opened(tmp_path):
        pass
    assert head.read_text() == whole


@pytest.mark.parametrize("change", ["two lines short", "edited", "emptied", "not text"])
def test_damaged_head_file_stops_the_ledger(tmp_path: Path, change: str) -> None:
    """More than the last line missing, or any other content, is not what a crash leaves."""
    filled(tmp_path)
    head = tmp_path / "volume" / "heads"
    lines = head.read_text().splitlines(keepends=True)
    head.write_bytes(
        {
            "two lines short": "".join(lines[:4]).encode(),
            "edited": "".join([f"1 {'0' * 64}\n", *lines[1:]]).encode(),
            "emptied": b"",
            "not text": b"\xff" * 80,
        }[change]
    )
    with pytest.raises(LedgerError, match="head_file"):
        opened(tmp_path)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A file that is no ledger is refused in one sentence and left as it is."""
    path = tmp_path / "site.ledger"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match="put back"):
        opened(tmp_path)
    assert path.read_bytes() == b"not a database" * 100


def test_remembered_head_makes_stricter_only(tmp_path: Path) -> None:
    """A head that the ledger has or had passes; one that it never had stops the site."""
    filled(tmp_path)
    with opened(tmp_path) as ledger:
        statement = ledger.statement(1e-5, site="north", span="all runs")
        ledger.require_head(0, "0" * 64)  # of an empty ledger, which each once was
        ledger.require_head(statement.head_seq, statement.head_hash)
        ledger.reserve(key(9), BASE, FREE, "train", CAP)
        ledger.require_head(statement.head_seq, statement.head_hash)
        for seq, head in ((8, "0" * 64), (6, "0" * 64), (-1, statement.head_hash)):
            with pytest.raises(LedgerError, match="hub remembers"):
                ledger.require_head(seq, head)


def test_the_cap_is_held_against_the_larger_accountant(tmp_path: Path) -> None:
    """A cap between the two accountants' figures refuses: what would be stated is what is decided by."""
    hard = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.1, steps=40)
    tiny = 1e-15  # beyond what PLD resolves, while the first accountant says 12.6
    assert spend([hard], tiny).epsilon < 20.0 < spend_pld([hard], tiny)
    with opened(tmp_path) as ledger:
        with pytest.raises(Refusal, match=r"cap\.epsilon is 20 at delta 1e-15.*\(pld\)") as refused:
            ledger.reserve(key(1), BASE, hard, "train", Cap(epsilon=20.0, delta=tiny))
        assert code_of(refused) == ErrorCode.BUDGET_SPENT
        assert ledger.verify() == 0
