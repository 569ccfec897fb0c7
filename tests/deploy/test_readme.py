"""The page on deployment names only what exists."""

import re
from pathlib import Path

import click
import pytest
import typer.main

from client.cli.program import app as rounds_site
from server.cli.program import app as rounds_hub
from tests.system.refusals import TABLE, Refusal

PAGE = (Path(__file__).resolve().parents[2] / "deploy" / "README.md").read_text(encoding="utf-8")
GROUPS = {
    "rounds-hub": typer.main.get_command(rounds_hub),
    "rounds-site": typer.main.get_command(rounds_site),
}
SNIPPETS = [
    part
    for block in re.findall(r"`+([^`]+)`+", PAGE)
    for part in re.findall(r"rounds-(?:hub|site) [^\n#;]+", block.replace("\\\n", " "))
]


@pytest.mark.parametrize("snippet", sorted(set(SNIPPETS)))
def test_every_command_on_the_page_exists_with_its_options(snippet: str) -> None:
    """Each `rounds-hub` and `rounds-site` line is a command, and knows each option that is shown."""
    program, *words = snippet.split()
    command: click.Command = GROUPS[program]
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(click.Context(command), words)
        assert found is not None
        command = found
    known = {option for one in command.params for option in one.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_page_shows_every_command_of_a_federation() -> None:
    """Nothing by which a federation is opened or kept is missing on the page."""
    for command in ("hub init", "hub invite", "hub admit", "hub remove", "hub sites", "hub register", "hub renew",
                    "hub backup", "hub restore", "site init", "site join", "site keys show", "site keys new",
                    "site backup", "site restore", "site ledger new-head"):  # fmt: skip
        assert f"rounds-{command}" in PAGE


@pytest.mark.parametrize("link", sorted(set(re.findall(r"tests/[\w/]+\.py", PAGE))))
def test_every_test_that_is_named_exists(link: str) -> None:
    """A table that says where it is tested says so truly."""
    assert (Path(__file__).resolve().parents[2] / link).is_file()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.tried)
def test_every_refusal_is_on_the_page_and_is_tried(row: Refusal) -> None:
    """The page says of each attempt what the script tries, and each test that is named is there."""
    files = ", ".join(dict.fromkeys(f"`{test.split('::')[0]}`" for test in row.tests))
    assert f"| {row.who} | {row.tried} | {row.stopped_by} | {row.remains} | {files} |" in PAGE
    for test in row.tests:
        path, name = test.split("[")[0].split("::")
        assert f"def {name}(" in (Path(__file__).resolve().parents[2] / path).read_text(encoding="utf-8")
