"""The code that is made from feed.proto is what is committed."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
MADE = ("feed_pb2.py", "feed_pb2.pyi", "feed_pb2_grpc.py", "feed_pb2_grpc.pyi")


def test_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    """`make proto` changes nothing: byte for byte, by the versions that constraints.txt pins."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (recipe,) = [line.strip() for line in makefile.splitlines() if "grpc_tools.protoc" in line]
    command = (
        recipe.replace("$(BIN)", str(Path(sys.executable).parent))
        .replace("_out=.", f"_out={tmp_path}")
        .replace("$$", "$")
    )
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S602 - the Makefile's own line
    assert done.returncode == 0, done.stderr
    for name in MADE:
        assert (tmp_path / "server/feed" / name).read_bytes() == (
            REPOSITORY / "server/feed" / name
        ).read_bytes(), name
