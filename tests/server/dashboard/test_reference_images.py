import re

import pytest

from tests.dashboard_site import SMALL, Ask

AT = f"/studies/{SMALL}/explanations"
HTMX = {"hx-request": "true"}


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 12), ("outcome=wrong", 2), ("outcome=right", 10), ("outcome=bare", 1), ("true_class=opacity", 6),
     ("source=film&true_class=normal", 1), ("source=nowhere", 0)],
)  # fmt: skip
def test_reference_images_are_filtered_by_the_database(ask: Ask, query: str, count: int) -> None:
    """By class, source and outcome; the worst come first."""
    text = ask("viewer").get(f"{AT}?{query}").text
    assert text.count('class="example"') == count
    ranks = [int(one) for one in re.findall(r"rank (\d+) from the worst", text)]
    assert ranks == sorted(ranks)
    if not count:
        assert "No image fits." in text


def test_each_image_says_why_and_what_is_seen(ask: Ask) -> None:
    """No evidence comes first and is said; alternative texts name the places, and films have none of their own."""
    text = ask("viewer").get(AT).text
    first = text.split('class="example"')[1]
    assert "No positive evidence for the true class." in first
    assert "student: no positive evidence" in first
    assert 'alt="Four pictures of one film: film, teacher, mask, student. teacher: strongest ' in first
    assert first.count('loading="lazy"') == 4
    assert len(set(re.findall(r'src="(/studies[^"]+)"', first))) == 1
