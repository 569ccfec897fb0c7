"""Setup from the first question to a filled-in `site.yaml`: one statement a question, each using what came before.

In: `site.yaml` as `rounds-site init` made it, or as it was filled in before, a study where there is one, and options.
Out: the file, written once at the end; whoever stops before that leaves it as it was.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client.setup.changes import SiteFile
from client.setup.data_questions import ask_source, ask_way
from client.setup.label_questions import ask_label_map
from client.setup.name_questions import ask_names
from client.setup.number_questions import ask_cap, ask_declared
from client.setup.options import Options
from client.setup.proposals.numbers import TRAIN_SHARE
from client.setup.questions import Questions, yes
from shared.config.site_data import SiteData
from shared.config.study import StudyConfig, Task
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.told import told_of
from shared.errors import ConfigError


def set_up(site_file: Path, study: StudyConfig | None, options: Options, questions: Questions) -> bool:
    """Ask, show what would change, and write; returns whether `site.yaml` is now as the answers say.

    Errors: `ConfigError` or `DataError` with what is missing or cannot be; then nothing was written.
    """
    site = SiteFile(site_file)
    before = site.values
    was = before.get("data") or {}
    classes = () if study is None else study.task.classes
    contents = ask_source(questions, options, was)
    way = ask_way(questions, options, contents, classes, was)
    data = ask_names(questions, options, way, was, str(before.get("name") or ""))
    labels = _read(data, Task(classes=("0", "1"))).labels
    if study is None:
        questions.say("No study is given (--study): label_map stays as it is.", "dim")
        label_map = {label: to for label, to in (was.get("label_map") or {}).items() if label in labels}
    else:
        label_map = ask_label_map(questions, options, labels, classes, was.get("label_map") or {})
    data = data.model_copy(update={"label_map": label_map})
    task = Task(classes=_at_least_two(labels, label_map)) if study is None else study.task
    num_train = _tell_patients(questions, _read(data, task), task)
    declared = ask_declared(questions, options, before, study, num_train)
    needed = None if study is None else _needed(before, study, declared)
    epsilon, delta = ask_cap(questions, options, before, study, declared, needed)
    site.fill_in(data, declared, epsilon, delta)
    return _written(questions, site)


def _read(data: SiteData, task: Task) -> HospitalPatients:
    return read_hospital(data, task)


def _at_least_two(labels: Mapping[str, int], label_map: Mapping[str, str]) -> tuple[str, ...]:
    """Return the labels as classes, where no study says which there are: a task has two or more."""
    found = sorted({label_map.get(label, label) for label in labels} - {""})[:64]
    return (*found, *("no such class", "nor this")[: max(0, 2 - len(found))])


def _tell_patients(questions: Questions, found: HospitalPatients, task: Task) -> int:
    """Tell how many patients can be used, and what cannot; returns about how many would train."""
    people = Counter(
        image.label
        for patient in found.patients
        for image in {one.label: one for one in patient.images}.values()
    )
    told = told_of(found.left_out)
    if not found.patients:
        why = "; ".join(told.sentences()) or "no picture has a label of the study"
        raise ConfigError(f"no patient of this source can be used ({why}); correct what this names")
    by_class = ", ".join(
        f"{name} {people[place]}" for place, name in enumerate(task.classes) if people[place]
    )
    num_images = sum(len(one.images) for one in found.patients)
    questions.say(
        f"{len(found.patients)} patients with {num_images} pictures can be used ({by_class}).", "bold"
    )
    for sentence in told.sentences():
        questions.say(f"  {sentence}", "yellow")
    split = sum(one.split == "train" for one in found.patients)
    free = sum(not one.split for one in found.patients)
    return split + round(TRAIN_SHARE * free)


def _needed(before: Mapping[str, Any], study: StudyConfig, declared: int) -> float | None:
    """Return what the ledger would hold after the whole study, None where no epsilon is counted."""
    if not study.privacy.enabled:
        return None
    from client.setup.proposals.spend import after_study  # noqa: PLC0415 - the accountants come with torch

    return after_study(before, study, declared)


def _written(questions: Questions, site: SiteFile) -> bool:
    site.check()
    changes = site.changes()
    if not changes:
        questions.say(f"{site.path} says all of this already; nothing to write.", "bold")
        return True
    questions.say(f"In {site.path}:", "bold")
    for line in changes:
        questions.say(f"  {line}", "red" if line.startswith("-") else "green")
    if not questions.ask("Write this", "--yes", None, yes, proposed="yes"):
        questions.say("Nothing was written.")
        return False
    site.write()
    questions.say(f"Written: {site.path}", "bold")
    return True
