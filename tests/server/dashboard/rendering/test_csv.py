from server.dashboard.rendering.csv import csv_text


def test_cells_that_a_spreadsheet_would_run_stay_text() -> None:
    """Formulas get an apostrophe, negative numbers stay numbers, nothing stays empty."""
    text = csv_text(("a", "b"), [("=1+1", -2.5), ("@x", None), ("-not a number", "+1")])
    assert text == "a,b\n'=1+1,-2.5\n'@x,\n'-not a number,'+1\n"
