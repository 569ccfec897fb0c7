"""Rules of every table that a command prints."""

from rich.text import Text

from shared.terminal.tables import plain_table, wide_console


def printed(columns: tuple[str, ...], *rows: tuple[str | Text, ...]) -> list[str]:
    console = wide_console()
    with console.capture() as captured:
        console.print(plain_table(columns, rows))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_cell_is_shown_as_it_is() -> None:
    """Markup and emoji codes in a name from outside are letters like others, in a heading too."""
    name = "[bold]a[/] :x: [link=http://b]"
    assert printed((name, "class"), (name, "normal")) == [f"{name}  class", f"{name}  normal"]


def test_a_styled_cell_keeps_its_words() -> None:
    """What we mark ourselves stands in the row in the same words where there is no terminal."""
    assert printed(("verdict",), (Text("HELD", "bold red"),)) == ["verdict", "HELD"]


def test_a_program_reads_whole_rows() -> None:
    """Where there is no terminal a row of 150 characters is neither cut nor wrapped."""
    digest = "0123456789" * 7
    assert printed(("one", "two"), (digest, digest))[1:] == [f"{digest}  {digest}"]
