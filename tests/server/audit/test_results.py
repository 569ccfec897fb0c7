"""Figures of single images, put together: which count, which image is the worst, and intervals over patients."""

from typing import Any

import pytest

from server.audit.results import FIGURES, ImageAudit, badness, group, groups_by, ratio_interval


def image(number: int, **given: Any) -> ImageAudit:
    """Return the audit of one image of its own patient; what is not given was not measured."""
    fields: dict[str, Any] = {
        "key": f"{number:03d}", "patient": number, "site": "a", "true_class": "normal", "predicted_class": "normal",
        "finite": True, "has_region": True, "evidence_student": True, "evidence_teacher": True,
    }  # fmt: skip
    figures = dict.fromkeys(FIGURES) | {name: value for name, value in given.items() if name in FIGURES}
    return ImageAudit(
        **fields | {name: value for name, value in given.items() if name in fields}, figures=figures
    )


def test_an_image_without_evidence_is_one_that_was_run() -> None:
    """Outputs that are not finite are no lack of evidence, whatever is said of evidence beside them."""
    images = [
        image(0), image(1, evidence_student=False), image(2, finite=False, evidence_student=False),
        image(3, finite=False),
    ]  # fmt: skip
    assert group("all", images).num_without_evidence == 1
    assert group("all", images).num_images == 4


def test_the_worst_image_comes_first() -> None:
    """No evidence, then the least energy in the region, then the least agreement; without either, zero agreement."""
    images = [
        image(0, lift_student=2.0), image(1, lift_student=0.5, agreement_teacher=0.9), image(2, agreement_teacher=0.4),
        image(3, agreement_teacher=-0.2), image(4), image(5, evidence_student=False, lift_student=9.0),
    ]  # fmt: skip
    assert [one.patient for one in sorted(images, key=badness)] == [5, 1, 0, 3, 4, 2]


def test_groups_have_a_name_each() -> None:
    """By site, sorted; each image is in one."""
    images = [image(0, site="b"), image(1, site="a", mask_area=0.25), image(2, site="b", mask_area=0.75)]
    found = groups_by(images, lambda one: one.site)
    assert [(one.name, one.num_images) for one in found] == [("a", 1), ("b", 2)]
    assert [one.figures["mask_area"].value for one in found] == [0.25, 0.75]
    assert [one.figures["mask_area"].n for one in found] == [1, 1]


@pytest.mark.parametrize(("count", "has_interval"), [(4, False), (5, True)])
def test_a_ratio_is_of_the_images_that_have_both(count: int, has_interval: bool) -> None:
    """Sum over sum; an interval from five patients on, which holds the value."""
    images = [image(n, lift_student=1.0 + n, lift_random=2.0) for n in range(count)]
    apart = [image(97, lift_student=90.0), image(98, lift_random=90.0)]
    found = ratio_interval([*images, *apart], "lift_student", "lift_random")
    assert found.value == pytest.approx((count + 1) / 4)
    assert found.n == count
    assert (found.low is not None) == has_interval
    if found.low is not None and found.high is not None:
        assert 0.5 <= found.low < (count + 1) / 4 < found.high <= count / 2


def test_a_ratio_to_nothing_is_not_measured() -> None:
    """Without images, or where the floor is zero on all of them, there is no ratio; a small floor makes one."""
    assert ratio_interval([], "lift_student", "lift_random").value is None
    flat = [image(n, lift_student=1.0, lift_random=0.0) for n in range(6)]
    assert ratio_interval(flat, "lift_student", "lift_random").reason == "not measured on any image"
    small = [image(n, lift_student=1.0, lift_random=0.1) for n in range(6)]
    assert ratio_interval(small, "lift_student", "lift_random").value == pytest.approx(10.0)
