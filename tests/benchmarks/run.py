"""All benchmarks, one after the other, each in a process of its own; their figures go into one JSON file.

python -m tests.benchmarks.run --json results/bench.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BENCHMARKS = ("private_step", "score_cam", "hub_round", "audit_store", "decoding", "commands")
HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run every benchmark; the exit status is 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    target: Path = parser.parse_args().json
    figures, failed = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for name in BENCHMARKS:
            part = Path(scratch) / f"{name}.json"
            print(f"== {name}", flush=True)
            command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(part)]
            if subprocess.run(command, check=False).returncode != 0 or not part.is_file():
                failed.append(name)
                continue
            figures[name] = json.loads(part.read_text(encoding="utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"written: {target}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
