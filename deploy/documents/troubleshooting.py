"""docs/troubleshooting.md, made from the programs' own messages: `python -m deploy.documents.troubleshooting`.

In: the table of refusals and the sources of the modules below. Out: the page. A test compares it with the one that is
filed, so a message that changes without it does not pass.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.documents.message_catalogue import error_messages, finding_messages
from shared.messages.refusal_meanings import MEANINGS, SILENCES, Meaning

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PAGE: Final = REPOSITORY / "docs" / "troubleshooting.md"
CHECKS: Final = tuple(sorted((REPOSITORY / "client" / "readiness").glob("*_check.py")))
ERRORS: Final = {  # what a person was doing, and the modules whose sentences they may then meet
    "Inviting, joining, admitting": (
        "shared/trust/hub_invitation.py", "shared/trust/site_introduction.py",
        "shared/trust/fingerprint.py", "shared/terminal/command_line.py", "client/identity/site_folder.py",
        "client/identity/site_keys.py", "client/consent/key_rotation.py", "server/hub/hub_folder.py",
        "server/hub/certificates.py", "server/hub/admitted_sites.py", "server/flower/node_registration.py",
        "server/cli/admission.py",
    ),
    "Looking at code and approving it": (
        "shared/trust/app_bundle.py", "shared/trust/bundle_signatures.py",
        "client/identity/approval_key.py", "client/consent/approvals_file.py",
        "client/review/reviewed_documents.py", "server/hub/bundle_registry.py", "server/cli/code.py",
    ),
    "The study's and the site's files": (
        "shared/config/files.py", "shared/config/strict_yaml.py", "shared/config/site.py",
        "shared/config/study_rules.py",
    ),
    "Data and ledger at a hospital": (
        "client/site/site.py", "client/ledger/ledger_file.py", "client/ledger/ledger.py",
        "client/ledger/head_file.py", "client/ledger/head_recovery.py",
    ),
    "Running a hub or a node": (
        "shared/processes/service_health.py", "shared/processes/supervisor.py",
        "server/services/services.py", "server/services/listen_addresses.py", "server/dashboard/serve.py",
        "client/node/supernode.py", "server/runs/run_folder.py",
    ),
    "Submitting and following a study": (
        "server/studies/submissions.py", "server/cli/studies/study.py", "server/flower/run_control.py",
        "server/app.py", "server/rounds/feasibility.py", "server/rounds/enrolment.py",
        "server/rounds/study.py",
    ),
    "Backup": ("shared/trust/sealed_backup.py", "shared/trust/private_files.py", "client/identity/site_backup.py"),
}  # fmt: skip
_HEAD: Final = """# Troubleshooting

Made by `python -m deploy.documents.troubleshooting` from the programs' own messages; `…` stands where a value is put
in. Every command ends with one sentence, its cause before the first semicolon and what to do behind it; look for its
fixed words here. `rounds-hub sites`, and the dashboard's page Connections, say for each hospital whose turn it is.
"""


def page() -> str:
    """Return the page."""
    parts = [_HEAD, "## A site refuses, or does not answer\n", _REFUSALS, _refusals()]
    parts += ["## `rounds-site check` says warn or fail\n", _CHECK, _checks()]
    parts += [
        "## A command ends with a sentence\n",
        *(_errors(doing, files) for doing, files in ERRORS.items()),
    ]
    return "\n".join(parts)


_REFUSALS: Final = (
    "What `rounds-hub study status`, `study submit --wait` and the dashboard say of a site. A site says a fixed code "
    "and nothing else: its own log, at the hospital, has the sentence.\n"
)
_CHECK: Final = (
    "Lines that say ok are not here, nor is a line that repeats a sentence of the last part. None of them leaves the "
    "hospital.\n"
)


def _refusals() -> str:
    named: list[tuple[str, Meaning]] = [(f"`{code.value}`", meaning) for code, meaning in MEANINGS.items()]
    named += [(words, meaning) for words, meaning in SILENCES.items()]
    rows = ((name, one.what, one.turn, one.remedy) for name, one in named)
    return _table(("the site says", "which means", "turn", "what to do"), rows)


def _checks() -> str:
    marks: dict[tuple[str, str, str], list[str]] = {}
    for one in (one for file in CHECKS for one in finding_messages(file)):
        marks.setdefault((one.what, one.said, one.remedy or "look at it"), []).append(one.mark)
    rows = (
        (what, " or ".join(dict.fromkeys(found)), said, remedy)
        for (what, said, remedy), found in marks.items()
    )
    return _table(("line", "mark", "it says", "what to do"), rows)


def _errors(doing: str, files: Iterable[str]) -> str:
    found = [one for file in files for one in error_messages(REPOSITORY / file)]
    rows = ((one.said, one.remedy or "the sentence says it") for one in found if one.said.strip("… :"))
    return f"### {doing}\n\n" + _table(("it says", "what to do"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *dict.fromkeys(rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(REPOSITORY)}: written\n")


if __name__ == "__main__":
    main()
