"""Time the commands that people type most, each in a process of its own, beside an empty program and `import torch`.

In: a hub and a site made for it. Out: seconds of CPU (user and system, for others may use the machine), the least of
three, and their ratios to the other two in the same run; as JSON with `--json FILE`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.system.commands import MODULES
from tests.typed_commands import ACCOUNTING, COMMANDS, REPOSITORY, made

PASSES = 3
EMPTY, TORCH = "python -c pass", "python -c import torch"


def seconds(words: Sequence[str], status: int) -> float:
    """Return the seconds of CPU of a Python process with these words, which has to end with `status`."""
    with subprocess.Popen(
        [sys.executable, *words], cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        _, ended, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        raise SystemExit(f"{' '.join(words)}: ended with {process.returncode}, not with {status}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a line a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go")
    target: Path | None = parser.parse_args().json
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        names = made(Path(folder))
        for number in range(PASSES):  # all of them a pass, so that a busy minute falls on each alike
            names["new"] = f"new{number}"
            lines = [(EMPTY, ["-c", "pass"], 0), (TORCH, ["-c", "import torch"], 0)]
            lines += [
                (typed.line, ["-m", MODULES[typed.program], *typed.words(names)], typed.status)
                for typed in (*COMMANDS, ACCOUNTING)
            ]
            for line, words, status in lines:
                figures[line] = min(seconds(words, status), figures.get(line, float("inf")))
    print(f"{'seconds of CPU':<56}{'':>6}{'x empty':>10}{'x torch':>10}")
    for line, taken in figures.items():
        name = " ".join(word for word in line.split() if "{" not in word)
        print(f"{name:<56}{taken:>6.2f}{taken / figures[EMPTY]:>10.1f}{taken / figures[TORCH]:>10.2f}")
    if target is not None:
        target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
