"""Each release is counted for ever, on its partition, and held against the hospital's cap."""

from pathlib import Path

import dp_accounting
import pytest
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant

from shared.config.site import Cap
from shared.errors import ErrorCode, LedgerError, PrivacyError, Refusal
from shared.privacy.accountant import spend, spend_pld
from shared.privacy.mechanisms import Declared, Gaussian, PoissonGaussian, Unprotected
from tests.client.ledger.made_ledgers import BASE, CAP, FREE, OTHER_BASE, ROUND, code_of, key, opened


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
