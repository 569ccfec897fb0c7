"""`rounds-site setup` at a real terminal: a pseudo-terminal, with keys typed as a person types them."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.config_files import read_site

REPOSITORY = Path(__file__).resolve().parents[3]
MOST_SECONDS = 120  # for one answer of a program that starts on a busy machine


class Terminal:
    """A program at a pseudo-terminal: what it shows is read as it comes, and keys are typed into it."""

    def __init__(self, keys: int, program: "subprocess.Popen[bytes]") -> None:
        self.keys, self.program, self.shown = keys, program, ""
        self._read = 0

    def until(self, text: str) -> str:
        """Read until a text is shown that was not there before; return what came since."""
        end = time.monotonic() + MOST_SECONDS
        while (place := self.shown.find(text, self._read)) < 0:
            if (
                not select.select([self.keys], [], [], max(0.0, end - time.monotonic()))[0]
                or not self._more()
            ):
                raise AssertionError(f"{text!r} was not shown; shown was:\n{self.shown}")
        came, self._read = self.shown[self._read : place], place + len(text)
        return came

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        os.write(self.keys, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while select.select([self.keys], [], [], MOST_SECONDS)[0] and self._more():
            pass
        return self.program.wait(MOST_SECONDS)

    def _more(self) -> bool:
        try:
            data = os.read(self.keys, 1 << 16)
        except OSError:  # the other end of the terminal is closed
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(*line: str) -> Iterator[Terminal]:
    """Start `rounds-site` at a terminal of its own."""
    keys, screen = pty.openpty()
    environment = os.environ | {"TERM": "dumb", "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "client.main", *line]
    program = subprocess.Popen(
        command, stdin=screen, stdout=screen, stderr=screen, env=environment, start_new_session=True
    )
    os.close(screen)
    try:
        yield Terminal(keys, program)
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()
        os.close(keys)


def test_answers_are_typed_and_a_wrong_map_is_corrected(site: Path, films: Path, study: Path) -> None:
    """Each mistake is told and asked again; what is guessed takes no Enter; the file is written after a last yes."""
    before = site.read_bytes()
    with terminal("setup", str(site), "--study", str(study), "--offline") as person:
        person.until("Folder of the images, or their table: ")
        person.type(str(films / "nowhere"))
        assert "check path and rights" in person.until("Folder of the images, or their table: ")
        person.type(str(films))
        assert "1  folders: class folders: the folder of a picture is its label" in person.until(
            "Which of these is it [folders]: "
        )
        person.type("")
        assert "8 patients in 16 pictures" in person.until("(number, pattern or each): ")
        person.type("1")
        told = person.until("LABEL= leaves it out): ")
        assert "often the same finding: is it, here?" in " ".join(told.split())
        person.type("opacity=lung")
        assert "class 'lung' for label 'opacity' is none of the study" in person.until(
            "LABEL= leaves it out): "
        )
        person.type("opacity=pneumonia")
        assert "(normal 4, pneumonia 4)" in person.until("Declared training patients (such as 10 or 12): ")
        person.type("ten")
        assert "--declared is 'ten', allowed is a whole number" in person.until("(such as 10 or 12): ")
        person.type("10")
        assert "this study asks 4" in person.until("Cap: epsilon [10]: ")
        person.type("5")
        assert '+  label_map: {NORMAL: "normal", opacity: "pneumonia"}' in person.until("Write this [yes]: ")
        assert site.read_bytes() == before
        person.type("")
        person.until(f"$ rounds-site check {site} {study} --offline")
        assert person.end() == 1
        assert "What to do next:" in person.shown
    config = read_site(site)
    assert (config.data.label_map, config.cap.epsilon) == ({"NORMAL": "normal", "opacity": "pneumonia"}, 5.0)


def test_ctrl_c_leaves_the_file_as_it_was(site: Path, films: Path) -> None:
    """Also at the very last question; so does answering no."""
    before = site.read_bytes()
    given = (
        "--source",
        str(films),
        "--patients",
        "1",
        "--declared",
        "10",
        "--cap-epsilon",
        "5",
        "--kind",
        "folders",
    )
    with terminal("setup", str(site), *given) as person:
        person.until("Write this [yes]: ")
        os.killpg(person.program.pid, signal.SIGINT)
        assert person.end() == 1
        assert "Aborted" in person.shown
    assert site.read_bytes() == before
    with terminal("setup", str(site), *given) as person:
        person.until("Write this [yes]: ")
        person.type("no")
        assert person.end() == 1
        assert "Nothing was written." in person.shown
    assert site.read_bytes() == before
