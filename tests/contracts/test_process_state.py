"""No code of ours changes what belongs to the whole process, but for the places named here, each with its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("client", "deploy", "server", "shared")
# calls by their last names: what they change is one for all threads of a process
CHANGES = {
    "warnings": {"catch_warnings", "simplefilter", "filterwarnings", "resetwarnings"},
    "os": {"chdir", "fchdir", "umask", "putenv", "unsetenv", "nice", "setpriority", "setuid", "setgid"},
    "environ": {"update", "setdefault", "pop", "clear", "popitem"},
    "signal": {"signal", "setitimer", "alarm", "set_wakeup_fd", "siginterrupt"},
    "sys": {"setrecursionlimit", "setswitchinterval", "settrace", "setprofile"},
    "logging": {"basicConfig", "disable", "captureWarnings", "setLoggerClass", "addLevelName"},
    "locale": {"setlocale"},
    "socket": {"setdefaulttimeout"},
    "resource": {"setrlimit"},
    "gc": {"disable", "enable", "set_threshold", "freeze"},
    "contextlib": {"chdir", "redirect_stdout", "redirect_stderr"},
    "random": {"seed", "setstate", "set_state", "fork_rng", "set_rng_state"},
    "time": {"tzset"},
    "multiprocessing": {"set_start_method"},
    "faulthandler": {"enable", "disable"},
    "np": {"seterr", "seterrcall", "set_printoptions"},
    "torch": {
        "set_num_threads", "set_num_interop_threads", "manual_seed", "seed", "set_rng_state",
        "set_default_dtype", "set_default_device", "use_deterministic_algorithms", "set_flush_denormal",
        "set_float32_matmul_precision", "set_deterministic_debug_mode",
    },
    "cuda": {"set_per_process_memory_fraction", "manual_seed", "manual_seed_all", "set_device"},
}  # fmt: skip
ANYWHERE = {
    "setLevel",
    "addFilter",
    "addHandler",
    "setattr",
}  # on whatever object: these say what they change
# file and what it changes: why no other thread is harmed
ALLOWED = {
    ("client/site/device.py", "torch.set_num_threads"): "a site computes in its own process, one request at a time",
    ("client/site/device.py", "cuda.set_per_process_memory_fraction"): "likewise",
    ("client/site/device.py", "setattr"): "likewise: flags of cuDNN",
    ("client/site/device.py", "part.fp32_precision"): "likewise",
    ("client/cli/node.py", "logging.basicConfig"): "first act of a program",
    ("client/review/parcel_intake.py", "signal.signal"): "a command, while both yeses are put in place; set back",
    ("deploy/simulation/membership/signals.py", "torch.set_num_threads"): "first act of a worker process",
    ("deploy/simulation/program.py", "environ.update"): "first act of a program",
    ("deploy/simulation/workspace.py", "torch.set_num_threads"): "between stages of a program; no thread of ours runs",
    ("server/app.py", "torch.set_num_threads"): "before the study's work; in a simulation nothing else uses torch",
    ("server/cli/studies/report.py", "torch.set_num_threads"): "first act of a command",
    ("server/cli/audit/dashboard.py", "logging.basicConfig"): "first act of a program",
    ("server/dashboard/serve.py", "os.umask"): "first act of a program, and of each worker process",
    ("server/dashboard/serve.py", "setLevel"): "likewise",
    ("server/dashboard/serve.py", "signal.signal"): "before the first request is served",
    ("server/feed/service.py", "signal.signal"): "before the service starts",
    ("server/cli/audit/feed.py", "logging.basicConfig"): "first act of a program",
    ("server/cli/audit/feed.py", "setLevel"): "likewise",
    ("server/main.py", "environ.update"): "first act of a program",
    ("server/flower/bundle_building.py", "warnings.catch_warnings"): "a command, in its only thread",
    ("server/flower/bundle_building.py", "warnings.simplefilter"): "likewise",
    ("server/public_data/preparation.py", "hub.HF_HUB_OFFLINE"): "a program that prepares, in its only thread",
    ("server/cli/services.py", "logging.basicConfig"): "first act of a program",
    ("server/cli/services.py", "setLevel"): "likewise",
    ("shared/data/decoding/worker.py", "gc.freeze"): "a process that has one thread and only decodes",
    ("shared/data/decoding/worker.py", "resource.setrlimit"): "likewise",
    ("shared/data/decoding/worker.py", "signal.setitimer"): "likewise",
    ("shared/data/dicom/beginning.py", "setattr"): "a data set that was just read",
    ("shared/data/dicom/picture.py", "settings.reading_validation_mode"): "once, when loaded; never set back",
    ("shared/data/silence.py", "setLevel"): "once, when loaded; never set back",
    ("shared/data/silence.py", "warnings.filterwarnings"): "once, when loaded; never set back",
    ("shared/processes/endings.py", "signal.signal"): "first act of a program, and its last",
    ("shared/processes/left_behind.py", "signal.signal"): "first act of a program",
    ("shared/models/normalisation.py", "setattr"): "a layer of a model that is being built",
    ("shared/models/student.py", "setattr"): "likewise",
    ("shared/processes/process_groups.py", "signal.signal"): "first act of a worker process",
    ("shared/processes/supervisor.py", "signal.signal"): "a supervisor has one thread, and waits for its own children",
    ("shared/models/torch_random.py", "random.fork_rng"): "under a lock that every seed of ours takes",
    ("shared/models/torch_random.py", "torch.manual_seed"): "likewise",
}  # fmt: skip


def changes(source: str) -> Iterator[str]:
    """Yield what a file changes of its whole process: calls, and attributes and items of modules that it sets."""
    tree = ast.parse(source)
    modules = {name for node in ast.walk(tree) for name in _imported_modules(node)}
    parts = _parts(tree, modules)
    taken = {name: origin for node in ast.walk(tree) for name, origin in _imported_names(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _dotted(node.func)
            last, before = called[-1:], (called[-2] if len(called) > 1 else "")
            if len(called) == 1 and called[0] in taken:
                before, last = taken[called[0]], called[:1]
            before = {"numpy": "np"}.get(before, before)
            if last and last[0] in ANYWHERE:
                yield last[0]
            elif last and last[0] in CHANGES.get(before, ()):
                yield f"{before}.{last[0]}"
        for target in _targets(node):
            name = _dotted(target.value if isinstance(target, ast.Subscript) else target)
            if isinstance(target, ast.Subscript) and name[-1:] == ["environ"]:
                yield "os.environ[]"
            elif isinstance(target, ast.Attribute) and name[0] in modules | parts:
                yield ".".join(name[-2:])


def _parts(tree: ast.AST, modules: set[str]) -> set[str]:
    """Return names that stand for a part of a module, such as `flags` after `flags = torch.backends.cudnn`."""
    found: set[str] = set()
    for _ in range(3):  # a name of a name of a name
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign | ast.AnnAssign | ast.For):
                continue
            value = node.iter if isinstance(node, ast.For) else node.value
            values = value.elts if isinstance(value, ast.Tuple) else [value]
            if any(
                isinstance(one, ast.Attribute | ast.Name) and _dotted(one)[0] in modules | found
                for one in values
            ):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def _imported_modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (one.asname or one.name.split(".")[0] for one in node.names)
    if isinstance(node, ast.ImportFrom):
        yield from (one.asname or one.name for one in node.names)


def _imported_names(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.ImportFrom) and node.module:
        yield from ((one.asname or one.name, node.module.split(".")[-1]) for one in node.names)


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return [part for one in node.targets for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        return [node.target]
    return list(node.targets) if isinstance(node, ast.Delete) else []


def _dotted(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute):
        return [*_dotted(node.value), node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    return ["()"]


def test_only_named_places_change_the_process() -> None:
    """Every change of the whole process is one that was thought about, and none that was is there no more."""
    found = {
        (path.relative_to(REPOSITORY).as_posix(), change)
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for change in changes(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("import warnings\nwith warnings.catch_warnings(): pass", "warnings.catch_warnings"),
        ("from warnings import simplefilter\nsimplefilter('error')", "warnings.simplefilter"),
        ("import numpy\nnumpy.random.seed(1)", "random.seed"),
        ("import numpy\nnumpy.seterr(all='raise')", "np.seterr"),
        ("import os\nos.environ['A'] = 'b'", "os.environ[]"),
        ("import os\ndel os.environ['A']", "os.environ[]"),
        ("from PIL import Image\nImage.MAX_IMAGE_PIXELS = None", "Image.MAX_IMAGE_PIXELS"),
        ("import PIL.Image\nPIL.Image.MAX_IMAGE_PIXELS = None", "Image.MAX_IMAGE_PIXELS"),
        ("import torch\nfast = torch.backends.cudnn\nfast.benchmark = True", "fast.benchmark"),
        ("import sys\nsys.excepthook = print", "sys.excepthook"),
        ("import logging\nlogging.getLogger('a').setLevel(9)", "setLevel"),
        ("import numpy as np\nwith np.errstate(all='raise'): np.random.default_rng(1)", None),
        ("import torch\ntorch.Generator().manual_seed(1)", None),
    ],
)
def test_a_change_is_seen(line: str, change: str | None) -> None:
    """Calls, imported names, the environment and attributes of modules are found; a thread's own things are not."""
    assert list(changes(line)) == ([] if change is None else [change])
