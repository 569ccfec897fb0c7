"""What outsiders, sites and a hostile hub could try, tried: each line is carried out by the tests that it names.

`python -m tests.system.refusals` runs those tests and prints the table with what was seen; exit status 1 unless all
was refused. `deploy/README.md` shows the same lines, and `tests/deploy/test_readme.py` holds the two together.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest


@dataclass(frozen=True)
class Refusal:
    """One attempt: who, what, what stops it, what remains, and the tests (pytest's node ids) that try it."""

    who: str
    tried: str
    stopped_by: str
    remains: str
    tests: tuple[str, ...]


_ADMISSION = "tests/system/test_admission.py"
_AUTHORITY = "tests/server/hub/test_certificates.py"
_CODE = "tests/system/test_signed_code.py::test_a_node_runs_only_what_its_own_hospital_signs_now"
_DEPLOYMENT = "tests/system/test_deployment.py"
_PROXY = "tests/server/services/test_nginx.py"
_COLLECT = "tests/server/rounds/test_collection.py"
_ROUND = "tests/client/rounds/test_answer.py"
_LEDGER = "tests/client/ledger/test_ledger.py"

TABLE = (
    Refusal(
        "an outsider", "connects with a node key that was never admitted",
        "the SuperLink answers registered keys only",
        "it can fill the door with attempts; the proxy limits them by address",
        (f"{_ADMISSION}::test_just_the_admitted_site_is_let_in",),
    ),
    Refusal(
        "a site that was removed", "goes on, and comes back with its old key",
        "cut off at once; a removed key never comes back",
        "what it learned while it belonged",
        (
            f"{_ADMISSION}::test_just_the_admitted_site_is_let_in",
            f"{_ADMISSION}::test_whatever_else_is_registered_is_put_out",
        ),
    ),
    Refusal(
        "an outsider", "poses as the hub with a certificate of another CA",
        "a site believes the one CA whose fingerprint a person compared",
        "a stolen hub key, until a new authority is made",
        (
            f"{_AUTHORITY}::test_another_ca_of_the_same_name_is_not_believed",
            f"{_ADMISSION}::test_another_ca_is_told_from_an_absent_superlink",
        ),
    ),
    Refusal(
        "an outsider", "shows an expired certificate, or one for another name",
        "TLS refuses it",
        "nobody checks revocation lists",
        (
            f"{_AUTHORITY}::test_an_expired_certificate_is_not_believed",
            f"{_AUTHORITY}::test_a_name_that_was_not_given_is_not_believed",
        ),
    ),
    Refusal(
        "a site, or anybody outside", "uses Flower's Control API to submit code",
        "the proxy has no such path: 404",
        "whoever is on the hub's own machine",
        (
            f"{_DEPLOYMENT}::test_a_site_cannot_reach_the_control_api",
            f"{_PROXY}::test_everything_else_is_not_there",
        ),
    ),
    Refusal(
        "a process beside the SuperLink", "takes the study's task in the aggregator's place",
        "401 without the hub's secret",
        "whoever can read the secret's file",
        (f"{_DEPLOYMENT}::test_a_second_aggregator_gets_no_task",),
    ),
    Refusal(
        "an outsider", "sends a body larger than any message",
        "the proxy cuts it off: 413",
        "many small ones; limited by address",
        (f"{_PROXY}::test_large_bodies_stop_at_the_door",),
    ),
    Refusal(
        "the hub", "sends a bundle that no hospital signed",
        "the node does not run it",
        "nothing",
        (f"{_CODE}[unsigned]",),
    ),
    Refusal(
        "the hub", "alters a bundle after it was signed",
        "the node does not run it",
        "nothing",
        (f"{_CODE}[altered after north signed it]",),
    ),
    Refusal(
        "the hub", "signs a bundle itself, also under a hospital's name",
        "the node trusts its hospital's key alone",
        "a hospital that approves what it has not looked at",
        (f"{_CODE}[signed by the hub, also under north's name]",),
    ),
    Refusal(
        "the hub", "sends withdrawn code with its old signature",
        "a withdrawal changes the key that signs",
        "until the node starts again the code starts, and refuses itself",
        (f"{_CODE}[withdrawn by north, its old signature served]",),
    ),
    Refusal(
        "the hub", "asks for a study that the hospital has not approved",
        "`study_not_approved`, before data is read",
        "nothing",
        (f"{_ROUND}::test_an_unapproved_study_is_refused",),
    ),
    Refusal(
        "the hub", "repeats a request with other weights, to average the noise away",
        "refused, nothing is spent; the same request gets the stored bytes",
        "another approved study: charged",
        (
            f"{_LEDGER}::test_changed_request_is_a_conflict",
            f"{_ROUND}::test_a_repeated_request_gets_the_stored_bytes",
        ),
    ),
    Refusal(
        "the hub", "sends weights that overflow for one patient",
        "ranges are checked before data is read",
        "the clip holds for any weights",
        (
            f"{_ROUND}::test_bad_weights_are_refused_before_data_is_read",
            f"{_ROUND}::test_overflowing_weights_get_an_update_all_the_same",
        ),
    ),
    Refusal(
        "a site", "sends NaN, too long, misshapen or foreign updates",
        "discarded and named; the round goes on",
        "an update within the norm bound can still be made up",
        (f"{_COLLECT}::test_a_bad_answer_is_discarded_and_named",),
    ),
    Refusal(
        "a site", "enrols under another hospital's name",
        "a name belongs to the node key admitted under it",
        "nothing",
        ("tests/server/rounds/test_enrolment.py::test_a_site_enrols_under_the_name_its_key_was_admitted_under",),
    ),
    Refusal(
        "a site", "answers in another node's place",
        "an answer counts for the node that was asked",
        "nothing",
        ("tests/server/rounds/test_exchange.py::test_nobody_answers_for_another",),
    ),
    Refusal(
        "somebody with the site's disk", "puts back an older ledger",
        "the head file on another volume knows more rows",
        "both volumes put back together: seen by the hub within a study",
        ("tests/client/ledger/test_ledger_damage.py::test_restored_backup_is_seen",),
    ),
)  # fmt: skip


@dataclass(eq=False)  # a plugin must be hashable
class Seen:
    """A pytest plugin that keeps how each test ended."""

    ended: dict[str, list[str]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of a test's call, and of a set-up or end that did not pass."""
        if report.when == "call" or not report.passed:
            self.ended.setdefault(report.nodeid, []).append(report.outcome)

    def of(self, test: str) -> str:
        """Return `refused` where every case of a test passed, else what happened."""
        found = [
            one
            for name, ends in self.ended.items()
            if name == test or name.startswith(f"{test}[")
            for one in ends
        ]
        if found and set(found) == {"passed"}:
            return "refused"
        return "NOT TRIED" if not found else ", ".join(sorted(set(found) - {"passed"})).upper()


def main(options: Sequence[str]) -> int:
    """Run the tests and print the table; returns the exit status."""
    seen = Seen()
    wanted = list(dict.fromkeys(test for row in TABLE for test in row.tests))
    pytest.main(["-q", "-p", "no:cacheprovider", *options, *wanted], plugins=[seen])
    print("\nseen     | who: what | stopped by")
    results = [[seen.of(test) for test in row.tests] for row in TABLE]
    for row, ends in zip(TABLE, results, strict=True):
        told = "refused" if set(ends) == {"refused"} else ", ".join(sorted(set(ends) - {"refused"}))
        print(f"{told:8} | {row.who}: {row.tried} | {row.stopped_by}")
    return 0 if all(set(ends) == {"refused"} for ends in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
