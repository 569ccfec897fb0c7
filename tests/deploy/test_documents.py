"""README stays one page, and what the documents name is there."""

import re
from pathlib import Path

import click
import pytest
import typer.main

from deploy.documents.commands import PROGRAMS, page
from tests.terminal import REPOSITORY

DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "deploy").glob("*.md")]
)
TARGETS = set(
    re.findall(r"^([a-z0-9-]+):.*##", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)
MADE = ("CHANGELOG.md", "docs/commands.md", "docs/troubleshooting.md")
NAMES = [one.relative_to(REPOSITORY).as_posix() for one in DOCUMENTS]


def anchors(page_file: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page_file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_is_one_page() -> None:
    """At most 700 words, with the two commands and what this is not."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 700
    for needed in ("make demo", "make test", "Not a medical device", "deploy/report.png"):
        assert needed in text


@pytest.mark.parametrize("name", NAMES)
def test_each_link_leads_somewhere(name: str) -> None:
    """A link to a file has its file, and its heading where it names one."""
    file = REPOSITORY / name
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        found = (file.parent / path).resolve() if path else file
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("name", [one for one in NAMES if one != "CHANGELOG.md"])
def test_each_file_that_is_named_exists(name: str) -> None:
    """Modules, tests and folders of ours that a document names are there."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:client|server|shared|deploy|tests|docs)/[\w./-]+)(?:::\w+)?`", text):
        assert (REPOSITORY / path).exists(), path


@pytest.mark.parametrize("name", [one for one in NAMES if one not in MADE])
def test_each_command_that_is_shown_can_be_typed(name: str) -> None:
    """Programs of ours know the command and each option of it; make knows the target."""
    commands, targets = typed_in((REPOSITORY / name).read_text(encoding="utf-8"))
    for snippet in commands:
        command, words = known_command(snippet)
        options = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, snippet
    assert set(targets) <= TARGETS


def test_commands_are_found_where_they_are_shown() -> None:
    """In a line and in a block; what stands behind # is no part of it. The documents show many."""
    text = "Type `rounds-hub sites` or\n```\nrounds-site check --json  # says\nmake demo DATA=x\n```\n"
    assert typed_in(text) == (["rounds-hub sites", "rounds-site check --json  "], ["demo"])
    assert sum(len(typed_in((REPOSITORY / one).read_text(encoding="utf-8"))[0]) for one in NAMES) > 100


def typed_in(text: str) -> tuple[list[str], list[str]]:
    """Return the commands of our programs, and the targets of make, that a page shows."""
    blocks = re.findall(r"`+([^`]+)`+", text.replace("\\\n", " "))
    lines = [line for block in blocks for line in block.splitlines()]
    commands = [
        one for line in lines for one in re.findall(r"^\s*((?:rounds-hub|rounds-site) [^#;|>]+)", line)
    ]
    return commands, [one for line in lines for one in re.findall(r"^\s*make ([a-z0-9][a-z0-9-]*)", line)]


def known_command(snippet: str) -> tuple[click.Command, list[str]]:
    """Return the command of a line that is shown, and the words behind it; `rounds-site study` alone is its group."""
    program, *words = snippet.split()
    command: click.Command = typer.main.get_command(PROGRAMS[program])
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, found, words = command.resolve_command(click.Context(command), words)
        assert found is not None, snippet
        command = found
    return command, words


def test_the_page_of_commands_is_that_of_help() -> None:
    """docs/commands.md says what `--help` says; `python -m deploy.documents.commands` makes it anew."""
    assert (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("package", ["client", "server", "shared"])
def test_each_package_says_what_comes_in_and_out(package: str) -> None:
    """No folder of code is without a sentence, and none has more than 17 modules."""
    folders = {file.parent for file in (REPOSITORY / package).rglob("*.py")}
    assert len(folders) > 5
    for folder in folders:
        assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), folder
        assert len(list(folder.glob("*.py"))) <= 18, folder
