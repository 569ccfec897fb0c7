"""A process that has the libraries loaded and runs each job in a fork, on the source tree that the job names.

In: one JSON object a line, {"tree", "room", "job", "quick"}. Out: one JSON object a line. Nothing of ours is imported
before the fork, so each job sees the code of its own tree: a copy with a fault planted, or the repository.
"""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

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
    """Do one job in this process, with the code of the job's tree: nothing of ours may be imported before."""
    tree, folder = Path(job["tree"]), Path(job["room"])
    sys.path.insert(0, str(tree))
    importlib.invalidate_caches()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    found_at = str(importlib.import_module("client").__file__)
    if not Path(found_at).is_relative_to(tree):
        raise RuntimeError(f"client came from {found_at}, needed is {tree}")
    if job["job"] == BUILD:
        ours("build_room").build(folder)
        return {}
    if job["job"] == SEARCH:
        return {"rows": ours("search").worst_ratios(job["seconds"])}
    checks = ours("catalogue").CHECKS
    if job["job"] == NAMES:
        return {"checks": [(check.name, check.claim, check.attack) for check in checks.values()]}
    found = checks[job["job"]].run(ours("room").Room(folder, job["quick"]))
    return {"bound": found.bound, "seen": found.seen, "holds": bool(found.holds)}


def ours(name: str) -> Any:
    """Import one of our modules, which comes with the tree's own code."""
    return importlib.import_module(f"tests.privacy.{name}")


if __name__ == "__main__":
    main()
