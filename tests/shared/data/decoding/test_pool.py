"""The process that decodes: whatever a codec does there, the next picture is right and nothing is left over."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from shared.data.decoding.pool import Decoder, Limits, UndecodedError
from shared.data.image_problems import ImageError

ROOT = Path(__file__).resolve().parents[4]
OPENERS = "tests.shared.data.openers"
GONE_SECONDS = 20


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    one = Decoder(OPENERS, Limits(cpu_seconds=0.5, wall_seconds=1.5, memory_bytes=1 << 30))
    yield one
    one.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "film.png"
    Image.fromarray(np.arange(48 * 32, dtype=np.uint8).reshape(48, 32)).save(path)
    return path


def same(image: Image.Image, path: Path) -> bool:
    with Image.open(path) as right:
        return image.mode == right.mode and np.array_equal(np.asarray(image), np.asarray(right))


@pytest.mark.parametrize(
    ("how", "died"),
    [
        ("write to nowhere", "crash"),
        ("abort", "crash"),
        ("native memory", "crash"),
        ("compute", "slow"),
        ("wait", "slow"),
        ("memory", "memory"),
        ("raise", "error"),
    ],
)
def test_what_a_codec_does_is_that_files_problem(
    decoder: Decoder, picture: Path, how: str, died: str
) -> None:
    """A codec that dies, hangs, asks for too much or raises is told in a word, and the next picture is right."""
    with pytest.raises(UndecodedError) as raised:
        decoder.open(picture, how)
    assert raised.value.died == died
    assert str(raised.value) == died
    assert same(decoder.open(picture, "read"), picture)


def test_words_of_ours_come_through_and_no_others(decoder: Decoder, picture: Path) -> None:
    """A refusal keeps its word and sentence; what is no word of ours is a crash, and its sentence is not told."""
    with pytest.raises(ImageError, match="image_syntax: a sentence of ours") as refused:
        decoder.open(picture, "refuse")
    assert refused.value.kind == "image_syntax"
    with pytest.raises(UndecodedError, match="crash"):
        decoder.open(picture, "word")


def test_what_codecs_print_goes_nowhere(
    decoder: Decoder, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither output nor error stream of the process is seen, and neither is taken for an answer."""
    assert same(decoder.open(picture, "talk"), picture)
    assert capfd.readouterr() == ("", "")


def test_no_file_meets_what_a_failed_one_left(decoder: Decoder, picture: Path) -> None:
    """After a file that failed the next is decoded by another process."""
    with pytest.raises(UndecodedError):
        decoder.open(picture, "leave")
    assert same(decoder.open(picture, "meet"), picture)


def test_largest_and_empty_pictures(decoder: Decoder, picture: Path) -> None:
    """A picture beyond the memory that is kept arrives whole, one without pixels arrives empty."""
    large = np.asarray(decoder.open(picture, "large"))
    assert large.shape == (4096, 4096, 3)
    assert (large == (1, 2, 3)).all()
    assert decoder.open(picture, "empty").size == (0, 7)
    assert same(decoder.open(picture, "read"), picture)


def test_ended_from_outside_it_is_started_again(decoder: Decoder, picture: Path, tmp_path: Path) -> None:
    """Somebody who ends the process, or the one that forks it, between two pictures costs nobody a picture."""
    note = tmp_path / "note"
    for which in (0, 1):
        decoder.open(picture, "process", note=str(note))
        pid = int(note.read_text(encoding="utf-8").split()[which])
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([process], timeout=GONE_SECONDS)
        assert same(decoder.open(picture, "read"), picture)


def test_threads_share_it(decoder: Decoder, tmp_path: Path) -> None:
    """Several threads at once each get the picture that they asked for."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        Image.new("L", (40, 40 + number), 50 * number).save(path)
    right: list[bool] = []

    def ask(path: Path) -> None:
        right.extend(same(decoder.open(path, "read"), path) for _ in range(25))

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 100
    assert all(right)


def test_any_name_and_relative_paths(decoder: Decoder, tmp_path: Path) -> None:
    """Names that are not UTF-8, or hold quotes, brackets, line breaks or an emoji, are opened like others."""
    for name in (b"\xff\xfe.png", b'a"b\n[c].png', "\N{MICROSCOPE}é.png".encode()):
        path = tmp_path / os.fsdecode(name)
        Image.new("L", (3, 5), 9).save(path, format="PNG")
        assert same(decoder.open(path, "read"), path)
        assert same(decoder.open(Path(os.path.relpath(path)), "read"), path)


PROGRAM = """
import os, signal, sys
from pathlib import Path
from shared.data.decoding.pool import Decoder
decoder = Decoder("tests.shared.data.openers")
picture, note, end = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
first = decoder.open(picture, "process", note=note)
if end == "fork":
    held = decoder._turns.acquire(), decoder._turns.acquire()  # as other threads that are being answered just now
    child = os.fork()
    if not child:
        os._exit(0 if decoder.open(picture, "read").tobytes() == first.tobytes() else 1)
    decoder._turns.release(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert decoder.open(picture, "read").tobytes() == first.tobytes()
if end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("end", "status"), [("returns", 0), ("killed", -9), ("fork", 0)])
def test_nothing_is_left_behind(picture: Path, tmp_path: Path, end: str, status: int) -> None:
    """However the program that asked ends, the processes that decoded for it end too; a fork of it asks its own."""
    note = tmp_path / "note"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(picture), str(note), end],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    left = [psutil.Process(pid) for pid in map(int, note.read_text().split()) if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=GONE_SECONDS)
    assert not alive
