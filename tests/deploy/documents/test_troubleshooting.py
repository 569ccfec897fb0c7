"""docs/troubleshooting.md holds the programs' own messages: those of the code, and those that a person really meets."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli.program import app as rounds_site
from deploy.documents.message_catalogue import Message, error_messages, finding_messages
from deploy.documents.troubleshooting import CHECKS, ERRORS, PAGE, REPOSITORY, page
from server.cli.program import app as rounds_hub
from shared.errors import ErrorCode
from tests.connected_hub import new_hub

MODULE = """
_WHAT = "clock"

def findings(ok, days):
    yield Finding("ok", _WHAT, "all is well")
    sentence = f"valid for {days} days"
    hint = "" if ok else "; renew it"
    yield Finding("warn" if ok else "fail", "dates", sentence + hint)
    if ok:
        sentence = "one way; do this"
    else:
        sentence = f"the other {ok}; do that"
    yield Finding("warn", _WHAT, sentence)

def check(name):
    if name:
        raise ConfigError(
            f"--name is {name!r}: "
            "cannot be; correct it"
        )
    raise Refusal(1, "a code; not a sentence for the screen")
"""


def test_the_page_is_that_of_the_code() -> None:
    """A message that changes changes the page: run `make troubleshooting` and look at what it says now."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run make troubleshooting"


def test_every_code_and_every_part_is_there() -> None:
    """All codes that a site may say, and rows under every heading."""
    text = page()
    assert [code for code in ErrorCode if f"| `{code.value}` |" not in text] == []
    for heading in ("## `rounds-site check`", *(f"### {doing}" for doing in ERRORS)):
        assert text.partition(heading)[2].split("#", 1)[0].count("\n| ") > 5, heading


def test_no_line_of_a_check_is_lost() -> None:
    """Each module of checks that can say warn or fail by itself has its lines in the table."""
    silent = {file.name for file in CHECKS if not finding_messages(file)}
    assert all("Finding(" not in (REPOSITORY / "client" / name).read_text() for name in silent), silent


def rows() -> list[re.Pattern[str]]:
    """Return what each row says as a pattern."""
    cells = [line.split(" | ") for line in page().splitlines() if line.startswith("| ")]
    return [
        re.compile(re.escape(f"{said[2:]}; {todo.removesuffix(' |')}").replace("…", ".+"))
        for said, todo in (one for one in cells if len(one) == 2)
    ]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (rounds_hub, ["remove", "north"]),
        (rounds_hub, ["invite", "--hub", "{none}"]),
        (rounds_hub, ["admit", "{none}"]),
        (rounds_hub, ["study", "submit", "{none}"]),
        (rounds_hub, ["register", "--superlink", "127.0.0.1:1"]),
        (rounds_hub, ["code", "list", "--hub", "{none}"]),
        (rounds_site, ["init", "{hub}", "--name", "a b"]),
        (rounds_site, ["join", "{none}"]),
    ],
    ids=lambda one: " ".join(one[:2]) if isinstance(one, list) else "",
)
def test_what_a_person_meets_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: object, words: list[str]
) -> None:
    """The sentence with which a command really ends is found in the table, with what to do."""
    hub = new_hub(tmp_path).hub.path
    monkeypatch.setenv("ROUNDS_HUB", str(hub))
    given = [word.format(none=tmp_path / "none", hub=tmp_path / "site") for word in words]
    done = CliRunner().invoke(program, given)  # type: ignore[arg-type] # both are command lines
    assert done.exit_code == 1, done.output
    said = done.stderr.strip().removeprefix("Error: ")
    assert any(row.match(said) for row in rows()), said


def test_messages_are_read_from_the_source(tmp_path: Path) -> None:
    """Constants, f-strings, sums, either-ors and the branches of an if; what is ok, or is a code, is left out."""
    file = tmp_path / "module.py"
    file.write_text(MODULE)
    assert finding_messages(file) == [
        Message("valid for … days", "", "warn", "dates"),
        Message("valid for … days", "renew it", "warn", "dates"),
        Message("valid for … days", "", "fail", "dates"),
        Message("valid for … days", "renew it", "fail", "dates"),
        Message("one way", "do this", "warn", "clock"),
        Message("the other …", "do that", "warn", "clock"),
    ]
    assert error_messages(file) == [Message("--name is …: cannot be", "correct it")]
