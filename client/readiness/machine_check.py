"""Can this machine do the work: device, cores, memory, disk, link? Forecast from the study, without running a step.

In: `site.yaml`, the study and the models. Out: findings for the person at the hospital; nothing leaves.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from client.readiness.finding import Finding
from client.site.device import Gpu, find_device, gpu_facts
from client.site.site import Site
from shared.config.site import Compute
from shared.config.study import StudyConfig
from shared.distillation.targets import forecast_bytes
from shared.errors import Refusal, RoundsError
from shared.messages.traffic_forecast import RoundTraffic, num_trained, round_traffic
from shared.models.compact import CompactModel
from shared.models.trainable import trainable_names

PROCESS_BYTES = (
    1_000_000_000  # Python with torch and Flower, before any model: 840 MB measured, and Flower's node
)
# What NVIDIA's libraries take beside that, of the machine's memory and of the GPU's: not measured by us, rounded up
# from what torch's users report.
GPU_LIBRARIES_BYTES, GPU_CONTEXT_BYTES = 2_000_000_000, 800_000_000
LOADING = 2.0  # a weights file and the model it fills are in memory together
STEP = 1.5  # peak of a step over what autograd saves: 0.7 to 1.25 measured for five studies
SPARE = 2.0  # free space or memory over what is needed, below which we warn
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current"),  # version 2
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def machine_findings(site: Site, study: StudyConfig, num_train: int) -> Iterator[Finding]:
    """Yield device, threads, memory, disk and link; the last three need models that can be loaded."""
    compute = site.config.compute
    gpu = None
    try:
        device = find_device(compute)
        gpu = gpu_facts(device) if device.type == "cuda" else None
        yield device_finding(compute, str(device), gpu)
    except Refusal as error:
        yield Finding("fail", "device", str(error))
    yield _threads(compute.threads)
    try:
        teacher, (compact, _) = site.teacher(study), site.compact(study)
    except (RoundsError, ValueError):
        return  # said under 'teacher' and 'initial student'
    weights = sum(one.nbytes for model in (teacher, compact) for one in model.parameters())
    step = step_bytes(compact, study, compute.patients_per_chunk)
    if gpu is None:
        yield memory_finding(int(PROCESS_BYTES + LOADING * weights + step), memory_available())
    else:
        needed = int(PROCESS_BYTES + GPU_LIBRARIES_BYTES + LOADING * weights)
        yield memory_finding(needed, memory_available())
        yield gpu_memory_finding(GPU_CONTEXT_BYTES + weights + step, gpu, compute.gpu_memory_fraction)
    yield disk_finding(site.config.state_dir, forecast_bytes(teacher, study, num_train))
    yield link_finding(round_traffic(study, num_trained(study)))


def device_finding(compute: Compute, device: str, gpu: Gpu | None) -> Finding:
    """Say where steps are taken, and of a GPU its name and memory."""
    asked = f"compute.device is {compute.device}"
    if gpu is None:
        why = "" if compute.device == "cpu" else ", for torch finds no GPU here that works"
        return Finding("ok", "device", f"{asked}: steps are taken on the cpu{why}")
    share = f", of which a request may take {compute.gpu_memory_fraction:.0%}"
    memory = f"{gpu.free_bytes / 1e9:.1f} of {gpu.total_bytes / 1e9:.1f} GB free"
    limit = "" if compute.gpu_memory_fraction == 1 else share
    return Finding("ok", "device", f"{asked}: steps are taken on {device}, {gpu.name}, {memory}{limit}")


def step_bytes(compact: CompactModel, study: StudyConfig, chunk: int) -> int:
    """Forecast the bytes of a step with `chunk` patients at once, wherever it is taken.

    It keeps what autograd saves for each patient's views, and each patient's gradient of what is trained.
    """
    names = set(trainable_names(compact, study.privacy.trainable))
    parameters = dict(compact.named_parameters())
    trained = sum(parameters[name].nbytes for name in names)
    own = {one.untyped_storage().data_ptr() for one in parameters.values()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    size = study.task.image_size
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.zeros(study.distillation.views_per_step, 3, size, size)
        if study.only_readout_trains and compact.readout is not None:
            with torch.no_grad():  # what is frozen is computed once and kept: a step has the readout alone
                _, pooled = compact.readout_inputs(images)
            compact.readout(pooled)
        else:
            compact.run(images)
    saved = sum(one.untyped_storage().nbytes() for place, one in kept.items() if place not in own)
    return int(STEP * chunk * (saved + trained))


def memory_available(cgroups: Path = CGROUPS) -> int:
    """Return the bytes that a new process may take: of the machine, or of the container where that is less."""
    free = int(psutil.virtual_memory().available)
    for limit, used in LIMITS:
        try:
            allowed = int((cgroups / limit).read_text()) - int((cgroups / used).read_text())
        except (OSError, ValueError):
            continue  # no such control group, or "max"
        free = min(free, max(allowed, 0))
    return free


def memory_finding(needed: int, available: int) -> Finding:
    """Compare memory needed with memory available, in bytes."""
    sentence = f"a round takes about {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB are available"
    remedy = "; lower compute.patients_per_chunk or give the machine more"
    warning = ": little to spare if anything else runs here"
    return _room("memory", needed, available, sentence, warning, remedy)


def gpu_memory_finding(needed: int, gpu: Gpu, fraction: float) -> Finding:
    """Compare memory needed with what is free on the GPU and allowed by `compute.gpu_memory_fraction`, in bytes."""
    available = int(min(gpu.free_bytes, fraction * gpu.total_bytes))
    sentence = (
        f"a round takes about {needed / 1e9:.1f} GB of the GPU, {available / 1e9:.1f} GB are free and allowed"
    )
    remedy = (
        "; lower compute.patients_per_chunk, raise compute.gpu_memory_fraction, or end what else runs on it"
    )
    return _room("GPU memory", needed, available, sentence, ": little to spare", remedy)


def disk_finding(state_dir: Path, needed: int) -> Finding:
    """Compare the forecast of the target cache with the free space where `state_dir` is or will be."""
    folder = next(path for path in (state_dir, *state_dir.parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    sentence = f"teacher targets will take {needed / 1e6:.1f} MB, {free / 1e6:.0f} MB are free at state_dir"
    remedy = "; free some or move state_dir to a larger volume"
    return _room("target cache", needed, free, sentence, ": a full disk stops the ledger", remedy)


def link_finding(traffic: RoundTraffic) -> Finding:
    """Say what a round moves over this site's link; how fast that is, nobody can tell from here."""
    return Finding("ok" if traffic.suits_slow_links else "warn", "link", str(traffic))


def _room(what: str, needed: int, free: int, sentence: str, warning: str, remedy: str) -> Finding:
    if needed > free:
        return Finding("fail", what, sentence + remedy)
    if SPARE * needed > free:
        return Finding("warn", what, sentence + warning + remedy)
    return Finding("ok", what, sentence)


def _threads(threads: int) -> Finding:
    cores = len(psutil.Process().cpu_affinity() or ()) or 1
    sentence = f"compute.threads is {threads}, this process may use {cores} cores; private steps use one"
    if threads > cores:
        return Finding("warn", "threads", f"{sentence}: more threads than cores are slower; lower it")
    return Finding("ok", "threads", sentence)
