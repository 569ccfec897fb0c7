"""Patients by the names of files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from client.setup.proposals.patients import groupings


@pytest.mark.parametrize(
    ("paths", "number"),
    [
        (["normal/person1_a.png", "normal/person1_b.png", "pneumonia/person2_a.png"], 2),
        (["normal/IM-0403-0001.jpg", "normal/IM-0403-0002.jpg", "normal/IM-0404-0001.jpg"], 2),
        (["anna/normal/1.png", "anna/normal/2.png", "bert/normal/1.png"], 2),
        (["Patient 7/a/1.png", "patient 8/a/1.png", "patient 8/a/2.png"], 2),
    ],
)
def test_usual_names_group_pictures(paths: list[str], number: int) -> None:
    """A word with a number, a name with a running number, and a patient's folder are found; the first says who."""
    found = groupings(paths, {"normal", "pneumonia", "a"})
    assert found[0].num_patients == number
    path, patient = found[0].example
    assert (path, patient in path) == (paths[0], True)


@pytest.mark.parametrize(
    "paths",
    [
        ["normal/gz_0001.jpg", "normal/gz_0002.jpg", "pneumonia/gz_0003.jpg"],  # one "patient" gz
        ["normal/a.png", "normal/b.png"],  # folders are classes
        ["train/normal/1.png", "test/normal/1.png"],  # folders are splits
        ["normal/person1_a.png", "normal/person2_a.png"],  # nobody has two
        [],
    ],
)
def test_what_groups_nothing_or_everything_is_not_proposed(paths: list[str]) -> None:
    """One group for all, groups of one, classes and splits are no patients."""
    assert groupings(paths, {"normal", "pneumonia"}) == []


@given(
    some.lists(some.from_regex(r"[a-c]{1,2}/(person[1-3]_)?[a-z0-9]{1,4}\.png", fullmatch=True), unique=True)
)
def test_a_proposal_is_a_pattern_that_finds_what_it_says(paths: list[str]) -> None:
    """Each is a regular expression whose first group finds that many patients in these very paths."""
    for one in groupings(paths):
        found = [fit[1] for path in paths if (fit := re.search(one.pattern, path))]
        assert (len({*found}), len(paths) - len(found)) == (one.num_patients, one.num_unfit)
        assert 1 < one.num_patients < len(found)
