"""No file of a few kilobytes takes the memory of a site: limits are asked before anything is decoded."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from pydicom import uid

from shared.config.study import Task
from shared.data.image_problems import PROBLEMS
from shared.data.images import ImageError, load_mask, load_pixels
from shared.data.patients import ImageRecord
from shared.data.pictures.codestream import read_jpeg, read_jpeg_2000
from shared.data.pictures.limits import (
    MAX_DECODED_BYTES,
    MAX_FILE_BYTES,
    TooLargeError,
    check_array,
    check_file,
    check_size,
)
from tests.dicom_files import dicom_file, picture

MAX_PIXELS = 1 << 26
MAX_SIDE_PX = 1 << 15

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
MIB = 1 << 20
CONTROL = (6_000, 6_000)  # pixels of a picture within the limits, which takes 4 bytes each as colour
MOST_MIB = 40  # what reading one file may add to a process that has read a small one before
READER = """
import json, sys
from pathlib import Path
from shared.config.study import Task
from shared.data import images
from shared.data.dicom import picture as dicom
from shared.data.pictures import picture as pictures
from shared.data.images import load_mask, load_pixels
from shared.data.patients import ImageRecord

class Here:  # opens in this process, whose memory is looked at
    def __init__(self, openers):
        self.openers = openers
    def open(self, file, how, **more):
        return self.openers[how]({"file": str(file), **more})

images.PICTURES, images.DICOM_FILES = Here(pictures.OPENERS), Here(dicom.OPENERS)
task = Task(classes=("normal", "pneumonia"), image_size=32)
def read(name, mask=None):
    record = ImageRecord(Path(name), 0, "s", "p", "train", mask and Path(mask), 0, text_rule="allow")
    try:
        (load_mask if mask else load_pixels)(record, task)
    except Exception as error:
        return getattr(error, "kind", type(error).__name__)
    return "ok"
def peak():  # not ru_maxrss, which a child takes over from whoever started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
small, bombs = json.load(sys.stdin)
for name in small:
    assert read(name) == "ok", name
told = {}
for what, files in bombs.items():
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew at what is taken now
    before = peak()
    told[what] = [read(*files), peak() - before]
print(json.dumps(told))
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, width: int = 13_000, height: int = 13_000) -> Path:
    """Write a PNG of one bit a pixel: 13,000 x 13,000 take 21 kB here and 1.3 GiB to decode."""
    packer = zlib.compressobj(9)
    row = b"\0" + b"\xaa" * ((width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def tiff(path: Path) -> Path:
    """Write a TIFF of 13,000 x 13,000 grey pixels, deflated, as one strip."""
    tags = {256: 13_000, 257: 13_000, 258: 8, 259: 8, 262: 1, 277: 1, 278: 13_000}
    return _tiff(path, tags, zlib.compress(bytes(169_000_000), 9))


def tiff_of_one_tile(path: Path) -> Path:
    """Write a TIFF of 64 x 64 pixels whose one tile says it has 40,000 x 40,000."""
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 40_000, 323: 40_000}
    return _tiff(path, tags, zlib.compress(bytes(1_000_000), 9), tile=True)


def _tiff(path: Path, tags: dict[int, int], data: bytes, *, tile: bool = False) -> Path:
    directory = ImageFileDirectory_v2(b"II\x2a\x00\x00\x00\x00\x00")
    for tag, value in tags.items():
        directory.tagtype[tag] = 4
        directory[tag] = value
    at, counts = (324, 325) if tile else (273, 279)
    for tag, value in ((at, 8), (counts, len(data))):
        directory.tagtype[tag] = 4
        directory[tag] = value
    path.write_bytes(
        b"II\x2a\x00" + struct.pack("<I", 8 + len(data)) + data + directory.tobytes(8 + len(data))
    )
    return path


def bmp(path: Path) -> Path:
    """Write a run-length BMP of one row, whose steps down would add 255 rows of 60 million pixels each."""
    data = b"\x00\x02\x00\xff" * 200 + b"\x00\x01"
    header = struct.pack("<IiiHHIIiiII", 40, 60_000_000, 1, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    path.write_bytes(
        struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + header + bytes(1024) + data
    )
    return path


def jpeg(path: Path) -> Path:
    """Write a small progressive JPEG with its last scan 500 times over: what it takes is seconds, not memory."""
    buffer = io.BytesIO()
    Image.fromarray(np.tile(picture(top=255).astype(np.uint8), (4, 4))).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    path.write_bytes(content[:last] + content[last:-2] * 500 + b"\xff\xd9")
    return path


def npz(path: Path) -> Path:
    """Write an .npz of 1.2 GB of zeros in about a megabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (30_000, 200, 200)}
    )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("train_images.npy", "w") as file,
    ):
        file.write(header.getvalue())
        for _ in range(1200):
            file.write(bytes(1_000_000))
    return path


def npz_that_lies(path: Path) -> Path:
    """Write an .npz whose array says it has 4 GB and holds nothing."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (100_000, 200, 200)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", header.getvalue())
    return path


def deflated(path: Path) -> Path:
    """Write a deflated DICOM file that inflates to 1.5 GB."""
    dicom_file(path, picture(top=255).astype(np.uint8), syntax=uid.ExplicitVRLittleEndian)
    content = path.read_bytes()
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    at = content.index(old)
    length = struct.pack("<H", len(new))
    content = content[: at - 2] + length + new + content[at + len(old) :]
    group = struct.unpack("<I", content[140:144])[0] + len(new) - len(old)
    content = content[:140] + struct.pack("<I", group) + content[144:]
    start = 144 + group
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = packer.compress(content[start:])
    data += b"".join(packer.compress(bytes(1_000_000)) for _ in range(1500)) + packer.flush()
    path.write_bytes(content[:start] + data)
    return path


def header_of_dicom(path: Path) -> Path:
    """Write a DICOM file whose header says 40,000 x 40,000."""
    return dicom_file(path, picture(top=255).astype(np.uint8), Rows=40_000, Columns=40_000)


def runs(path: Path) -> Path:
    """Write RLE of 9 MB that decodes to half a gigabyte, for a picture of 60 x 80."""
    path = dicom_file(path, picture(top=255).astype(np.uint8), syntax=uid.RLELossless)
    content = path.read_bytes()
    at = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xe0\x7f\x10\x00") + 20)
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 4_200_000
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame
    path.write_bytes(content[:at] + item + b"\xfe\xff\xdd\xe0\0\0\0\0")
    return path


def codestream(path: Path) -> Path:
    """Write a DICOM file of 60 x 80 whose JPEG 2000 says 60,000 x 80,000."""
    dicom_file(path, picture(top=255).astype(np.uint8), syntax=uid.JPEG2000Lossless)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\x4f\xff\x51") + 8
    content[at : at + 8] = struct.pack(">II", 80_000, 60_000)
    content[at + 16 : at + 24] = struct.pack(">II", 80_000, 60_000)  # its one tile
    path.write_bytes(content)
    return path


BOMBS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "PNG": (png, "a.png", "image_too_large"),
    "TIFF": (tiff, "a.tif", "image_too_large"),
    "TIFF of one large tile": (tiff_of_one_tile, "a.tif", "image_too_large"),
    "BMP": (bmp, "a.bmp", "image_too_large"),
    "JPEG of 500 scans": (jpeg, "a.jpg", "image_too_large"),
    "npz": (npz, "a.npz", "image_too_large"),
    "npz that lies": (npz_that_lies, "a.npz", "image_too_large"),
    "deflated DICOM": (deflated, "a.dcm", "image_too_large"),
    "DICOM header": (header_of_dicom, "a.dcm", "image_too_large"),
    "DICOM runs": (runs, "a.dcm", "image_too_large"),
    "DICOM codestream": (codestream, "a.dcm", "image_header"),
}


def small_ones(folder: Path) -> list[str]:
    """Write small files whose reading loads every decoder, so that what is measured after them is the bomb's."""
    grey = picture(top=255).astype(np.uint8)
    found = [folder / f"small.{suffix}" for suffix in ("png", "jpg", "tif", "bmp")]
    for file in found:
        Image.fromarray(grey).save(file)
    np.savez_compressed(folder / "small.npz", train_images=grey[None])
    syntaxes = (uid.RLELossless, uid.JPEG2000Lossless, uid.DeflatedExplicitVRLittleEndian)
    films = [dicom_file(folder / f"{syntax}.dcm", grey, syntax=syntax) for syntax in syntaxes]
    return [str(file) for file in (*found, *films, folder / "small.npz")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    """Read all bombs in one process of their own: for each the word, and by how many MiB the peak of memory rose."""
    folder = tmp_path_factory.mktemp("bombs")
    small, bombs = small_ones(folder), {}
    for number, (what, (make, name, _)) in enumerate(BOMBS.items()):
        (folder / str(number)).mkdir()
        file = make(folder / str(number) / name)
        assert file.stat().st_size < 9_000_000, what
        bombs[what] = [str(file)]
    bombs["mask"] = [small[0], bombs["PNG"][0]]
    bombs["control"] = [str(png(folder / "control.png", *CONTROL))]
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input=json.dumps([small, bombs]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {what: (kind, grown) for what, (kind, grown) in json.loads(done.stdout).items()}


def test_what_reading_takes_is_seen(told: dict[str, tuple[str, float]]) -> None:
    """A picture of 36 million pixels is read, and the measure that the others stay under shows its 137 MiB."""
    kind, grown = told["control"]
    assert kind == "ok"
    assert grown > 4 * CONTROL[0] * CONTROL[1] / MIB


@pytest.mark.parametrize("what", [*BOMBS, "mask"])
def test_a_small_file_that_decodes_to_gigabytes_is_refused_before_it_does(
    told: dict[str, tuple[str, float]], what: str
) -> None:
    """Of any format, a file of at most 9 MB is refused with a word of its own and takes at most 40 MiB to read."""
    kind, grown = told[what]
    assert kind == (BOMBS[what][2] if what in BOMBS else "mask_too_large")
    assert kind in PROBLEMS
    assert grown < MOST_MIB


@pytest.mark.parametrize(
    ("what", "width", "height", "bytes_per_pixel"),
    [
        ("film of 35 x 43 cm at 50 micrometres", 7_000, 8_600, 2),
        ("breast, 24 x 30 cm at 50 micrometres", 4_800, 6_000, 2),
        ("panoramic film of a jaw", 6_000, 3_000, 2),
        ("stitched film of a whole leg", 3_000, 20_000, 2),
        ("fundus photograph of 40 megapixels", 7_300, 5_480, 4),
        ("fundus photograph of 40 megapixels in 48 bits", 7_300, 5_480, 6),
    ],
)
def test_the_largest_honest_pictures_pass(what: str, width: int, height: int, bytes_per_pixel: int) -> None:
    """What the largest devices give is within the limits."""
    check_size(width, height, bytes_per_pixel)
    assert what


@pytest.mark.parametrize(
    ("width", "height", "bytes_per_pixel"),
    [(MAX_PIXELS // 4096 + 1, 4096, 1), (MAX_SIDE_PX + 1, 1, 1), (8192, 8192, 4.1), (-5, 1 << 40, 1)],
)
def test_past_a_limit_is_too_large(width: int, height: int, bytes_per_pixel: float) -> None:
    """One row, one column or a part of a byte more is refused, whatever a header says of the other."""
    check_size(8192, 8192, 4)
    with pytest.raises(TooLargeError):
        check_size(width, height, bytes_per_pixel)


def test_an_array_past_the_size_of_a_picture_must_have_been_large_in_its_file() -> None:
    """Up to 256 MiB an array may be anything; past it 20 times its stored bytes; past 1 GiB nothing."""
    check_array(MAX_DECODED_BYTES, 1)
    check_array(1000 * MIB, 50 * MIB)
    for num_bytes, stored in ((MAX_DECODED_BYTES + 1, 1), (1001 * MIB, 50 * MIB), (1025 * MIB, 1025 * MIB)):
        with pytest.raises(TooLargeError):
            check_array(num_bytes, stored)


def test_a_file_of_too_many_bytes_is_not_opened(tmp_path: Path) -> None:
    """A file with a hole, which takes no room on the disk, is too large by its length, of any format."""
    for name in ("a.png", "a.dcm", "a.tif"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_FILE_BYTES + 1)
        with pytest.raises(TooLargeError):
            check_file(tmp_path / name)
        with pytest.raises(ImageError) as refused:
            load_pixels(ImageRecord(tmp_path / name, 0, "s", "p", "train", None), TASK)
        assert refused.value.kind == "image_too_large"


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    """A pipe in place of a picture or mask, whatever its name, is no readable image at once."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(ImageError) as refused:
        load_pixels(ImageRecord(tmp_path / name, 0, "s", "p", "train", None), TASK)
    assert refused.value.kind == "image_unreadable"
    Image.fromarray(picture(top=255).astype(np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(ImageError) as refused:
        load_mask(ImageRecord(tmp_path / "b.png", 0, "s", "p", "train", tmp_path / name), TASK)
    assert refused.value.kind == "mask_unreadable"


@pytest.mark.parametrize("progressive", [False, True])
def test_the_scans_of_a_jpeg_are_counted(progressive: bool) -> None:
    """One scan in a baseline JPEG, those of the encoder's script in a progressive one; size and depth as written."""
    buffer = io.BytesIO()
    Image.fromarray(picture(height=60, width=80, top=255).astype(np.uint8)).save(
        buffer, "JPEG", progressive=progressive
    )
    found = read_jpeg(buffer.getvalue())
    assert (found.width, found.height, found.samples, found.bits) == (80, 60, 1, 8)
    assert found.num_scans == (6 if progressive else 1)


def test_a_thumbnail_of_a_jpeg_counts_for_nothing() -> None:
    """Scans and sizes inside a segment, where cameras keep a small picture, are passed over."""
    small, large = io.BytesIO(), io.BytesIO()
    Image.fromarray(picture(height=30, width=20, top=255).astype(np.uint8)).save(small, "JPEG")
    Image.fromarray(picture(height=60, width=80, top=255).astype(np.uint8)).save(
        large, "JPEG", exif=b"Exif\0\0" + small.getvalue() * 3
    )
    found = read_jpeg(large.getvalue())
    assert (found.width, found.height, found.num_scans) == (80, 60, 1)


def test_a_jpeg_2000_says_its_size(tmp_path: Path) -> None:
    """Width, height, components and depth stand in the SIZ segment."""
    Image.fromarray(picture(height=60, width=80)).save(tmp_path / "a.j2k")
    found = read_jpeg_2000((tmp_path / "a.j2k").read_bytes())
    assert (found.width, found.height, found.samples, found.bits) == (80, 60, 1, 16)
