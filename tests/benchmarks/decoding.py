"""Time opening pictures in the decoding process beside opening them in this one, which a damaged file could end.

In: the real packs of `ROUNDS_DATA` where they are, else drawn films of three sizes. Out: milliseconds a picture by
group and their ratio, as medians of paired passes, and what a damaged file costs; as JSON with `--json FILE`. A pass
over a pack reads ahead, as `check` and `prepare` do; one picture at a time is how a single film is opened.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from shared.data import images
from shared.data.ahead import ahead
from shared.data.dicom import picture as dicom
from shared.data.image_problems import ImageError
from shared.data.patients import IMAGE_SUFFIXES, ImageRecord
from shared.data.pictures import picture as pictures
from tests.dicom_files import dicom_file, picture

PACKS = Path(os.environ.get("ROUNDS_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
MOST, PASSES = 150, 7
SIDES = (256, 1024, 2048)


def apart(path: Path) -> object:
    """Open as every program of ours does."""
    return images.open_image(ImageRecord(path, 0, "s", "p", "", None, text_rule="allow"))


def here(path: Path) -> object:
    """Open by the same code in this process, checked and converted as `open_image` does."""
    job = {"file": str(path), "field": "file", "text_rule": "allow"}
    opened = (dicom.OPENERS["dicom"] if path.suffix == ".dcm" else pictures.OPENERS["image"])(job)
    opened.convert("L").getextrema()
    return opened.convert("RGB")


def groups(scratch: Path) -> dict[str, list[Path]]:
    """Return files by group, real where there are any."""
    found = {}
    for pack in sorted(PACKS.iterdir()) if PACKS.is_dir() else ():
        files = [path for path in sorted(pack.rglob("*")) if path.suffix.lower() in {*IMAGE_SUFFIXES, ".dcm"}]
        readable = [path for path in files[:: max(1, len(files) // MOST)] if _reads(path)]
        if readable:
            found[pack.name] = readable
    for side in () if found else SIDES:
        grey = picture(height=side, width=side, top=255).astype(np.uint8)
        Image.fromarray(grey).save(scratch / f"{side}.png")
        Image.fromarray(grey).save(scratch / f"{side}.jpg")
        found[f"drawn {side}"] = [
            scratch / f"{side}.png", scratch / f"{side}.jpg", dicom_file(scratch / f"{side}.dcm", grey)
        ]  # fmt: skip
    return found


def measured(files: Sequence[Path]) -> dict[str, float]:
    """Return milliseconds a picture in each way, and the median ratios of passes side by side."""
    passes = [
        (_timed(ahead(apart, files)), _timed(map(apart, files)), _timed(map(here, files)))
        for _ in range(PASSES + 1)
    ][1:]
    ms, single, alone = (min(times) / len(files) * 1e3 for times in zip(*passes, strict=True))
    return {
        "ms": ms,
        "one_at_a_time_ms": single,
        "in_this_process_ms": alone,
        "ratio": statistics.median(one / third for one, _, third in passes),
        "one_at_a_time_ratio": statistics.median(two / third for _, two, third in passes),
    }


def _timed(opened: Iterable[object]) -> float:
    start = time.perf_counter()
    for _ in opened:
        pass
    return time.perf_counter() - start


def _reads(path: Path) -> bool:
    try:
        apart(path)
    except ImageError:
        return False
    return True


def main() -> None:
    """Measure every group and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for group, files in groups(scratch).items():
            row = measured(files)
            rows.append({"group": group, "files": len(files), **row})
            print(
                f"{group:12} {len(files):4} pictures  {row['ms']:6.2f} ms"
                f"  one at a time {row['one_at_a_time_ms']:6.2f} ms"
                f"  in this process {row['in_this_process_ms']:6.2f} ms"
                f"  x {row['ratio']:.2f}  one at a time x {row['one_at_a_time_ratio']:.2f}"
            )
        cut = scratch / "cut.png"
        Image.fromarray(picture(top=255).astype(np.uint8)).save(cut)
        cut.write_bytes(cut.read_bytes()[:-200])
        damaged = _timed(map(_reads, [cut] * 100)) * 10
        rows.append({"group": "damaged", "ms": damaged})
        print(f"a damaged picture costs {damaged:.1f} ms: the next is decoded by a new process")
    if options.json:
        options.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
