"""Mean maps: means by hand, and intervals that hold for all cells of a map together."""

import numpy as np
import pytest
from scipy import stats

from server.audit.mean_map_records import Placed, groups, mean_bodies, round_bodies
from server.audit.mean_maps import contributions, difference_map, mean_map
from server.store.record_kinds import EVERY
from shared.explain.frames import CHEST

COARSE = 7
FINE = 14
MANY = 30


def test_the_mean_is_that_of_images_with_evidence() -> None:
    """Two of three images have a map; the third is counted as without evidence."""
    mean = mean_map([0, 1, 2], [np.array([[0.0, 2.0]]), None, np.array([[1.0, 1.0]])])
    assert (mean.num_images, mean.num_patients, mean.num_without_evidence) == (3, 3, 1)
    assert mean.grid is not None
    assert (mean.grid.rows, mean.grid.columns, mean.grid.values) == (1, 2, (0.5, 1.5))
    assert all(a <= b <= c for a, b, c in zip(mean.grid.low, mean.grid.values, mean.grid.high, strict=True))


def test_nothing_measured_is_no_grid() -> None:
    """Where no image has evidence there is no map, and the images are counted."""
    mean = mean_map([4, 4], [None, None])
    assert (mean.grid, mean.num_images, mean.num_patients, mean.num_without_evidence) == (None, 2, 1, 2)


def test_one_patient_has_no_interval() -> None:
    """Three images of one person say nothing of other people."""
    grid = mean_map([7, 7, 7], [np.ones((2, 2)), np.ones((2, 2)), np.full((2, 2), 2.0)]).grid
    assert grid is not None
    assert (grid.low, grid.high) == ((), ())


def test_patients_weigh_by_their_images() -> None:
    """The mean of patients' contributions is the mean over images, and a patient's further images little certainty."""
    values = np.array([[1.0], [1.0], [4.0]])
    each = contributions(np.array([0, 0, 1]), values)
    assert each.mean(0) == pytest.approx([2.0])
    assert each == pytest.approx(np.array([[2 + (2 - 4) / 1.5], [2 + (4 - 2) / 1.5]]))
    many = mean_map(list(range(8)), [np.array([[v]]) for v in (0.0, 2.0) * 4]).grid
    few = mean_map([0, 1] * 4, [np.array([[v]]) for v in (0.0, 2.0) * 4]).grid
    assert many is not None
    assert few is not None
    assert few.values == many.values
    assert few.high[0] - few.values[0] > 2 * (many.high[0] - many.values[0])


def test_a_difference_is_paired() -> None:
    """Two maps that rise and fall together differ by a constant, more surely than either is known."""
    random = np.random.default_rng(0)
    first = [random.gamma(2, 1, (2, 2)) for _ in range(400)]
    second = [one - 0.5 for one in first]
    difference = difference_map(range(400), first, [*second[:-1], None])
    assert difference.num_without_evidence == 1
    grid, alone = difference.grid, mean_map(range(400), first).grid
    assert grid is not None
    assert alone is not None
    assert grid.values == pytest.approx((0.5,) * 4)
    assert grid.high[0] - grid.low[0] < (alone.high[0] - alone.low[0]) / 2


@pytest.mark.parametrize("difference", [False, True])
def test_an_interval_is_halls_of_what_was_seen_and_two_more(difference: bool) -> None:
    """Hall's transformation of both ends is Student's quantile for 4 cells; nothing is below 0 but a difference."""
    values = np.array(
        [[4.0, 8.0, 0.5, 6.0], [5.0, 2.0, 0.0, 9.0], [9.0, 3.0, 0.1, 5.0], [6.0, 2.5, 0.0, 7.0]]
    )
    maps = [one.reshape(2, 2) for one in values]
    nothing = [np.zeros((2, 2))] * 4
    grid = (difference_map(range(4), maps, nothing) if difference else mean_map(range(4), maps)).grid
    assert grid is not None
    assert grid.std == pytest.approx(values.std(0, ddof=1), abs=1e-4)
    unseen = (-2.0, 2.0) if difference else (0.0, 2.0)
    for cell in range(4):
        seen = np.array([*values[:, cell], *unseen])
        error = stats.sem(seen)
        skew = ((seen - seen.mean()) ** 3).mean() / seen.std() ** 3 / len(seen) ** 0.5
        for end, quantile in (
            (grid.low[cell], 0.99375),
            (grid.high[cell], 0.00625),
        ):  # 0.025 / 4 on each side
            if end == 0:
                continue
            x = (seen.mean() - end) / error
            hall = x + skew * x**2 / 3 + skew**2 * x**3 / 27 + skew / 6
            assert hall == pytest.approx(stats.t.ppf(quantile, 5), abs=2e-3)
    assert (min(grid.low) < 0) == difference


@pytest.mark.parametrize(
    ("num_patients", "concentration"), [(8, 4.0), (24, 1.0), (24, 4.0), (60, 1.0), (60, 20.0)]
)
def test_intervals_hold_for_all_cells_together(num_patients: int, concentration: float) -> None:
    """Of 400 simulated studies with lumpy, skewed maps at least 92 in 100 have no cell outside its interval.

    Student's t alone, with the same correction for 49 cells, keeps 36 to 92 in 100 here.
    """
    random = np.random.default_rng([num_patients, int(concentration)])
    truth = random.gamma(2, 1, 49)
    truth /= truth.mean()
    kept = 0
    for _ in range(400):
        drawn = random.gamma(concentration * truth, 1, (num_patients, 49))
        drawn *= 49 / drawn.sum(1, keepdims=True)
        grid = mean_map(range(num_patients), list(drawn.reshape(-1, 7, 7))).grid
        assert grid is not None
        kept += bool(np.all((truth >= np.array(grid.low) - 1e-4) & (truth <= np.array(grid.high) + 1e-4)))
    assert kept >= 0.92 * 400


def test_a_flat_truth_is_rarely_shown_as_a_pattern() -> None:
    """Of 300 studies of random maps at most 5 in 100 have any cell whose interval leaves out 1."""
    random = np.random.default_rng(5)
    shown = 0
    for _ in range(300):
        drawn = random.gamma(2, 1, (24, 49))
        drawn *= 49 / drawn.sum(1, keepdims=True)
        grid = mean_map(range(24), list(drawn.reshape(-1, 7, 7))).grid
        assert grid is not None
        shown += bool(np.any((np.array(grid.low) > 1) | (np.array(grid.high) < 1)))
    assert shown <= 0.05 * 300


def placed(patient: int, label: str, source: str, value: float | None = 1.0, *, fine: bool = False) -> Placed:
    """Return an image whose student's map has one value in the left half, and twice that in the teacher's."""

    def at(side: int, times: float) -> np.ndarray | None:
        if value is None:
            return None
        found = np.full((side, side), 1.0)
        found[:, : side // 2] = value * times
        return found

    sides = (COARSE, FINE) if fine else (COARSE,)
    return Placed(
        patient, label, source, {side: {"teacher": at(side, 2), "student": at(side, 1)} for side in sides}
    )


def test_groups_are_of_all_then_by_class_and_source() -> None:
    """Every class and source that has an image is a group; what has none is left out."""
    images = [placed(0, "normal", "a"), placed(1, "opacity", "a"), placed(2, "normal", "b")]
    found = {(label, source): len(some) for label, source, some in groups(images, ["normal", "opacity"])}
    assert found == {
        (EVERY, EVERY): 3, ("normal", EVERY): 2, ("opacity", EVERY): 1, (EVERY, "a"): 2, ("normal", "a"): 1,
        ("opacity", "a"): 1, (EVERY, "b"): 1, ("normal", "b"): 1,
    }  # fmt: skip


def test_each_group_has_a_map_of_each_subject_and_their_difference() -> None:
    """Means by hand: the student has 1 and 3 in the left half, the teacher twice as much."""
    images = [placed(0, "normal", "a", 1.0), placed(1, "normal", "a", 3.0), placed(2, "opacity", "b", None)]
    bodies = {
        (one.subject, one.label, one.source): one for one in mean_bodies(images, ["normal", "opacity"], CHEST)
    }
    student = bodies["student", EVERY, EVERY]
    assert (student.num_images, student.num_without_evidence, student.frame, student.round) == (
        3,
        1,
        "chest",
        None,
    )
    assert student.grid.values[0] == 2.0
    assert bodies["teacher", "normal", "a"].grid.values[0] == 4.0
    assert bodies["student-teacher", "normal", "a"].grid.values[0] == -2.0
    assert bodies["student", "opacity", "b"].grid is None
    assert len(bodies) == 3 * 7


def test_fine_cells_are_for_many_patients() -> None:
    """A source with few patients is shown on coarse cells, all images together on fine ones."""
    images = [placed(n, "normal", "a" if n else "b", fine=True) for n in range(MANY)]
    bodies = {one.source: one for one in mean_bodies(images, ["normal"], CHEST) if one.subject == "student"}
    assert bodies[EVERY].grid.rows == FINE
    assert bodies["a"].grid.rows == bodies["b"].grid.rows == COARSE


def test_a_round_is_compared_with_the_measured_one_before() -> None:
    """The student's map after a round, and less the earlier one on the same images; the first has no difference."""
    before = [placed(n, "normal", "a", 1.0) for n in range(4)]
    now = [placed(n, "normal", "a", 1.5) for n in range(4)]
    first = list(round_bodies(before, [], ["normal", "opacity"], CHEST, 0))
    assert [(one.subject, one.label, one.round) for one in first] == [
        ("student", EVERY, 0),
        ("student", "normal", 0),
    ]
    second = list(round_bodies(now, before, ["normal", "opacity"], CHEST, 3))
    change = next(one for one in second if one.subject == "student-before" and one.label == EVERY)
    assert (change.round, change.grid.values[0], change.grid.values[-1]) == (3, 0.5, 0.0)
    assert {one.source for one in second} == {EVERY}
