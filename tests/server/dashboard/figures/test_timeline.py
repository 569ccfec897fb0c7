from server.dashboard.figures.timeline import Stretch, timeline_figure

KINDS = ("took-part", "was-missing", "cross")


def test_what_follows_alike_is_one_line_of_the_table() -> None:
    """A site that never missed is one row; a gap stands by itself."""
    marks = [Stretch("a", n, n, 1, 0) for n in (1, 2, 3)] + [
        Stretch("b", n, n, int(n != 2), int(n == 2)) for n in (1, 2, 3)
    ]
    figure = timeline_figure(marks, 3)
    assert figure is not None
    assert figure.rows == (
        ("a", "1 to 3", "3", "0", "took part"),
        ("b", "1", "1", "0", "took part"),
        ("b", "2", "0", "1", "missing"),
        ("b", "3", "1", "0", "took part"),
    )


def test_shapes_tell_missing_without_colour() -> None:
    """A cross for missing, a frame half filled for both, a full bar else."""
    figure = timeline_figure(
        [Stretch("a", 1, 5, 5, 0), Stretch("a", 6, 10, 3, 2), Stretch("a", 11, 15, 0, 5)], 15
    )
    assert figure is not None
    drawn = {kind: figure.svg.split(f'"{kind}" d="')[1].split('"')[0].count("M") for kind in KINDS}
    assert drawn == {"took-part": 2, "was-missing": 2, "cross": 1}


def test_nobody_means_no_figure() -> None:
    """Before the first round there is nothing to draw."""
    assert timeline_figure([], 0) is None


def test_many_rows_keep_what_was_missing_and_say_what_is_left_out() -> None:
    """Of 300 sites that never missed and one that did, the table has the one, and the words count the others."""
    marks = [Stretch(f"s{n:03}", 1, 1, 1, 0) for n in range(300)] + [Stretch("late", 1, 1, 0, 1)]
    figure = timeline_figure(marks, 1)
    assert figure is not None
    assert [row[0] for row in figure.rows] == ["late"]
    assert "leaves out 300 stretches" in figure.describe
