"""What comes after `site.yaml` is filled in: preview and check, by the commands that a person would type.

In: the program that is running, and two files. Out: what its commands print; each is shown before it runs.
"""

from collections.abc import Iterable
from pathlib import Path

import click

from client.setup.questions import Questions
from shared.trust.parcel import is_parcel

Line = list[str]


def lines_after(site: Path, study: Path, page: Path | None, *, offline: bool) -> list[Line]:
    """Return what is run next: preview, where a folder for its page is given, and check.

    What is in a parcel is not approved yet, nor are its weights here: it is taken before it is checked.
    """
    lines: list[Line] = [] if page is None else [["preview", str(site), str(study), "--out", str(page)]]
    if not is_parcel(study):
        lines.append(["check", str(site), str(study), *(["--offline"] if offline else [])])
    return lines


def go_on(root: click.Command, questions: Questions, lines: Iterable[Line]) -> int:
    """Run commands one after the other; returns the largest exit status."""
    return max((_run(root, questions, line) for line in lines), default=0)


def _run(root: click.Command, questions: Questions, line: Line) -> int:
    questions.say(f"\n$ rounds-site {' '.join(line)}", "bold")
    status = root.main(line, prog_name="rounds-site", standalone_mode=False)
    return status if isinstance(status, int) else 0


def say_next(questions: Questions, site: Path, study: Path | None, status: int) -> None:
    """Say what a person does next, in the order in which it is done."""
    questions.say("\nWhat to do next:", "bold")
    if study is None:
        steps = [f"rounds-site setup {site} --study STUDY   once the hub has sent a study: classes, cap"]
    elif is_parcel(study):
        steps = [
            f"rounds-site study take {study} --site {site}   shows code and study, and asks for each",
            f"rounds-site check {site}   until no line says fail",
            f"rounds-site run {site}   answers the study's requests",
        ]
    else:
        steps = [
            f"rounds-site study show {study} --site {site}   what it asks, and what would leave",
            f"rounds-site study approve {study} --site {site}   if the hospital agrees",
            f"rounds-site check {site} {study}   until no line says fail",
            f"rounds-site run {site}   answers the study's requests",
        ]
        if status:
            steps.insert(
                0, "repair what says fail above; each line says how (setup may be run again at any time)"
            )
    for number, step in enumerate(steps, 1):
        questions.say(f"  {number}. {step}")
