"""What comes after `site.yaml` is filled in: preview and check, by the commands that a person would type.

In: the program that is running, and two files. Out: what its commands print; each is shown before it runs.
"""

from pathlib import Path

import click

from client.setup.questions import Questions

Line = list[str]


def go_on(
    root: click.Command, questions: Questions, site: Path, study: Path, page: Path | None, *, offline: bool
) -> int:
    """Run preview, where a folder for its page is given, and check; returns the larger exit status."""
    lines: list[Line] = [] if page is None else [["preview", str(site), str(study), "--out", str(page)]]
    lines.append(["check", str(site), str(study), *(["--offline"] if offline else [])])
    return max(_run(root, questions, line) for line in lines)


def _run(root: click.Command, questions: Questions, line: Line) -> int:
    questions.say(f"\n$ rounds-site {' '.join(line)}", "bold")
    status = root.main(line, prog_name="rounds-site", standalone_mode=False)
    return status if isinstance(status, int) else 0


def say_next(questions: Questions, site: Path, study: Path | None, status: int) -> None:
    """Say what a person does next, in the order in which it is done."""
    questions.say("\nWhat to do next:", "bold")
    if study is None:
        steps = [
            f"rounds-site setup {site} --study STUDY.yaml   once the hub has sent a study: classes, cap, check"
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
