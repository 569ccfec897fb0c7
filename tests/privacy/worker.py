"""A process that has the libraries loaded and runs each job in a fork, on the source tree that the job names.

In: one JSON object a line, {"tree", "room", "job", "quick"}. Out: one JSON object a line. Nothing of ours is imported
before the fork, so each job sees the code of its own tree: a copy with a fault planted, or the repository.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "torchvision", "timm", "ofa.utils", "opacus.accountants", "opacus.validators", "dp_accounting.pld",
    "scipy.stats", "scipy.optimize", "PIL.Image", "pydicom", "safetensors.numpy", "pydantic", "cryptography",
)  # fmt: skip
OURS = ("client", "server", "shared", "deploy")
BUILD, SEARCH, NAMES = "build the room", "search for the worst ratio", "name the checks"


def main() -> None:
    """Answer jobs until the input ends; what a check prints goes to the errors, so that answers stay readable."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for name in LIBRARIES:
        importlib.import_module(name)
    if loaded := [name for name in OURS if name in sys.modules]:
        raise RuntimeError(f"{loaded} came with the libraries: a planted fault would not be seen")
    for line in sys.stdin:
        answers.write(in_a_fork(json.loads(line)) + "\n")
        answers.flush()


def in_a_fork(job: dict[str, Any]) -> str:
    """Run a job in a child of this process and return its answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        started = time.monotonic()
        try:
            answer = done(job)
        except BaseException as error:  # noqa: BLE001 - whatever a check dies of is its row's problem
            traceback.print_exc()
            answer = {"problem": f"{type(error).__name__}: {error}"[:300]}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer | {"seconds": time.monotonic() - started}, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or json.dumps({"problem": "the process died", "seconds": 0.0})


def done(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in this process."""
    tree, folder = Path(job["tree"]), Path(job["room"])
    sys.path.insert(0, str(tree))
    importlib.invalidate_caches()
    import logging

    import torch

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    import client

    if not Path(client.__file__).is_relative_to(tree):
        raise RuntimeError(f"client came from {client.__file__}, needed is {tree}")
    if job["job"] == BUILD:
        from tests.privacy.room import build

        build(folder)
        return {}
    if job["job"] == SEARCH:
        from tests.privacy.search import worst_ratios

        return {"rows": worst_ratios(job["seconds"])}
    from tests.privacy.catalogue import CHECKS

    if job["job"] == NAMES:
        return {"checks": [(check.name, check.claim, check.attack) for check in CHECKS.values()]}
    from tests.privacy.room import Room

    found = CHECKS[job["job"]].run(Room(folder, job["quick"]))
    return {"bound": found.bound, "seen": found.seen, "holds": bool(found.holds)}


if __name__ == "__main__":
    main()
