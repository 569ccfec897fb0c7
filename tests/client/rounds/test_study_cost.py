"""A site enrols for a study that it can pay for to the end, or not at all."""

from pathlib import Path
from typing import Any

from client.readiness.budget_check import ledger_findings
from client.rounds.answer import answer
from client.rounds.study_cost import bills
from client.site.site import Site
from shared.errors import ErrorCode
from shared.messages.releases import decode_release
from shared.privacy.accountant import spend_against
from shared.privacy.mechanisms import PoissonGaussian

CAP_DELTA = 1e-5


def spent(rounds: int) -> float:
    """Return the epsilon of some rounds at the cap's delta, by the accountant alone."""
    one = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.5, steps=2)
    return float(spend_against([one] * rounds, 1.0, CAP_DELTA).epsilon)


def code_of(parts: dict[str, bytes]) -> str:
    return str(decode_release(parts["error"]).fields.code) if "error" in parts else "answered"


def marks(site: Site, study: Any) -> list[str]:
    return [one.mark for one in ledger_findings(site, study) if one.what == "budget"]


def test_a_cap_for_half_a_study_does_not_enrol(tiny_federation: Any, tmp_path: Path) -> None:
    """With a cap between one round and two the site says budget_spent at once, looks at nobody and spends nothing."""
    study = tiny_federation.study
    cap = {"epsilon": (spent(1) + spent(2)) / 2, "delta": CAP_DELTA}
    site = tiny_federation.site("film", tmp_path, cap=cap, data={"source": "/nowhere"})
    assert code_of(answer(site, tiny_federation.request("enrol", 0))) == ErrorCode.BUDGET_SPENT
    with site.ledger() as ledger:
        assert ledger.verify() == 0
    assert marks(site, study) == ["fail"]


def test_a_cap_for_just_the_study_enrols_and_ends_it(tiny_federation: Any, tmp_path: Path) -> None:
    """What the check calls enough is enough for the last round, also when the site enrols again on the way."""
    study = tiny_federation.study
    site = tiny_federation.site("film", tmp_path, cap={"epsilon": spent(2) + 1e-3, "delta": CAP_DELTA})
    assert marks(site, study) == ["ok"]
    assert "enrolment" in answer(site, tiny_federation.request("enrol", 0))
    assert "update" in answer(site, tiny_federation.request("train", 1))
    assert "enrolment" in answer(site, tiny_federation.request("enrol", 0))  # as where the hub resumes
    assert marks(site, study) == ["warn"]
    assert "update" in answer(site, tiny_federation.request("train", 2))


def test_the_same_study_submitted_anew_is_paid_anew(tiny_federation: Any, tmp_path: Path) -> None:
    """Under another uid nothing of what the first run paid counts for the second: the site stays away."""
    site = tiny_federation.site("film", tmp_path, cap={"epsilon": spent(3), "delta": CAP_DELTA})
    assert "enrolment" in answer(site, tiny_federation.request("enrol", 0))
    assert "update" in answer(site, tiny_federation.request("train", 1))
    assert "update" in answer(site, tiny_federation.request("train", 2))
    anew = tiny_federation.request("enrol", 0).replace(b"a" * 32, b"b" * 32)
    assert code_of(answer(site, anew)) == ErrorCode.BUDGET_SPENT


def test_an_evaluation_that_the_site_lets_out_is_part_of_the_bill(
    tiny_federation: Any, tmp_path: Path
) -> None:
    """Counts that spend more than the cap keep the site away; where site.yaml keeps them in they cost nothing."""
    study = tiny_federation.changed(
        federation={"evaluate_sites": True, "evaluation_noise_multiplier": 0.2, "rounds": 1}
    )
    releases = ["enrolment", "update", "ledger_statement", "error"]
    request = tiny_federation.request("enrol", 0, study=study)
    lets = tiny_federation.site("film", tmp_path / "lets", allow_releases=[*releases, "evaluation"])
    keeps = tiny_federation.site("film", tmp_path / "keeps", allow_releases=releases)
    assert code_of(answer(lets, request)) == ErrorCode.BUDGET_SPENT
    assert "enrolment" in answer(keeps, request)


def test_what_a_site_keeps_in_is_no_part_of_its_bill(tiny_federation: Any, tmp_path: Path) -> None:
    """A study that asks for evaluation bills it where the site lets it out, and not at all where it does not."""
    study = tiny_federation.study
    asks = study.model_copy(
        update={"federation": study.federation.model_copy(update={"evaluate_sites": True})}
    )
    kinds = ("enrolment", "update", "ledger_statement", "error")
    keeps = tiny_federation.site("film", tmp_path / "keeps", allow_releases=kinds)
    gives = tiny_federation.site("film", tmp_path / "gives", allow_releases=(*kinds, "evaluation"))
    assert [one.partition for one in bills(keeps, asks, None)] == ["train"]
    assert [(one.partition, len(one.asked)) for one in bills(gives, asks, None)] == [
        ("train", 2),
        ("evaluation", 1),
    ]
