"""Where a site's work runs: found, refused before anything is touched, and the same on every device."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from client.rounds.answer import answer
from client.site.device import Gpu, find_device, full_float32, gpu_facts, working_on
from shared.config.files import parse_site
from shared.config.kinds import RequestKind
from shared.config.site import Compute
from shared.errors import ConfigError, DeviceError, ErrorCode, Refusal
from tests.device_checks import CHECKS, Check, code

REPOSITORY = Path(__file__).resolve().parents[3]
NO_GPU = not torch.cuda.is_available()
GPU = pytest.mark.skipif(NO_GPU, reason="torch finds no GPU on this machine")
MISSING = "cuda:99"  # nowhere are there so many


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_gpu_does_what_the_cpu_does(
    check: Check, device: str, tiny_federation: Any, tmp_path: Path
) -> None:
    """Every check of `tests/device_checks.py` holds on a GPU."""
    with full_float32():
        check(torch.device(device), tiny_federation, tmp_path)


def test_a_second_device_does_what_the_cpu_does(tmp_path: Path) -> None:
    """Every check holds on a device made for these tests, which mixes no tensors and has limited memory."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.second_device_checks", str(tmp_path)], cwd=REPOSITORY,
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert len(results) > len(CHECKS)
    assert {name: error for name, error in results.items() if error} == {}


@pytest.mark.parametrize("kind", ["enrol", "train", "evaluate"])
def test_a_missing_gpu_is_one_code_before_anything_is_touched(
    tiny_federation: Any, tmp_path: Path, kind: RequestKind, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where there is no data to read; nothing is charged, and one sentence says here what to do."""
    site = tiny_federation.site(
        "film", tmp_path, compute={"device": MISSING}, data={"source": str(tmp_path / "nowhere.csv")},
        allow_releases=["enrolment", "update", "evaluation", "error"],
    )  # fmt: skip
    parts = answer(site, tiny_federation.request(kind, 0 if kind == "enrol" else 1))
    assert code(parts) == ErrorCode.DEVICE_MISSING
    assert not (tmp_path / "film" / "ledger.sqlite").exists()
    assert not (tmp_path / "film" / "partitions.sqlite").exists()
    (said,) = [one.getMessage() for one in caplog.records]
    assert f"compute.device is '{MISSING}': torch finds " in said
    assert "set compute.device to cpu or auto" in said


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    """The cpu is always there; auto is the first GPU that works, else the cpu."""
    assert find_device(Compute()).type == "cpu"
    assert find_device(Compute(device="auto")).type == ("cpu" if NO_GPU else "cuda")


@pytest.mark.parametrize("device", ["warp", "cuda:", "cuda:-1", "CUDA", "mps", "", "cuda:0:1"])
def test_other_devices_are_refused_when_site_yaml_is_read(
    tiny_federation: Any, tmp_path: Path, device: str
) -> None:
    """The sentence names field, value and what is allowed."""
    raw = tiny_federation.site("film", tmp_path).config.model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"compute\.device is .*allowed are cpu, auto .*, cuda and cuda:N"):
        parse_site(raw | {"compute": {"device": device}})


@pytest.mark.parametrize("fraction", [0, 1.5, -1])
def test_a_share_of_memory_is_above_0_and_at_most_1(
    tiny_federation: Any, tmp_path: Path, fraction: float
) -> None:
    """Refused when site.yaml is read."""
    raw = tiny_federation.site("film", tmp_path).config.model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"compute\.gpu_memory_fraction"):
        parse_site(raw | {"compute": {"gpu_memory_fraction": fraction}})


def test_work_leaves_threads_as_it_found_them() -> None:
    """Inside, as many threads as site.yaml says; afterwards, and after a failure, as before."""
    before = torch.get_num_threads()
    with working_on(Compute(threads=before + 1)) as device:
        assert device.type == "cpu"
        assert torch.get_num_threads() == before + 1
    with pytest.raises(ZeroDivisionError), working_on(Compute(threads=before + 1)):
        1 / 0  # noqa: B018 - the failure
    assert torch.get_num_threads() == before


def test_too_little_memory_is_one_sentence() -> None:
    """Torch's own text, which tells sizes, is not passed on."""
    with (
        pytest.raises(DeviceError, match=r"lower compute\.patients_per_chunk") as raised,
        working_on(Compute()),
    ):
        raise torch.OutOfMemoryError("Tried to allocate 512.00 MiB")
    assert "512" not in str(raised.value)


def test_float32_keeps_its_digits_on_a_gpu() -> None:
    """Inside, products and convolutions are not rounded to TF32 and algorithms are fixed; afterwards as before."""

    def settings() -> list[object]:
        cudnn = torch.backends.cudnn
        parts = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
        return [*(part.fp32_precision for part in parts), cudnn.deterministic, cudnn.benchmark]

    before = settings()
    assert before[1] == "tf32", "torch no longer rounds convolutions by itself"
    with full_float32():
        assert settings() == ["ieee", "ieee", "ieee", True, False]
    assert settings() == before


@GPU
def test_a_gpus_products_keep_float32s_digits() -> None:
    """A product and a convolution on the GPU are the CPU's to 1e-5; with TF32 they would differ by 1e-3."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(512, 512, generator=generator) for _ in range(2))
    x, w = torch.randn(2, 64, 32, 32, generator=generator), torch.randn(64, 64, 3, 3, generator=generator)
    with full_float32():
        product, convolved = (a.cuda() @ b.cuda()).cpu(), torch.conv2d(x.cuda(), w.cuda()).cpu()
    for found, expected in ((product, a @ b), (convolved, torch.conv2d(x, w))):
        assert float((found - expected).norm() / expected.norm()) < 1e-5


@GPU
def test_a_gpus_share_of_memory_is_kept(tiny_federation: Any, tmp_path: Path) -> None:
    """With next to nothing of the GPU the site does not enrol, and a round is `failed`, whoever the patients are."""
    compute = {"device": "cuda", "gpu_memory_fraction": 1e-5}
    site = tiny_federation.site("film", tmp_path, compute=compute)
    assert code(answer(site, tiny_federation.request("enrol", 0))) == ErrorCode.NOT_READY
    assert code(answer(site, tiny_federation.request("train", 1))) == ErrorCode.FAILED


@GPU
def test_a_gpu_is_described() -> None:
    """Name and memory are torch's."""
    gpu = gpu_facts(find_device(Compute(device="cuda")))
    assert isinstance(gpu, Gpu)
    assert 0 < gpu.free_bytes <= gpu.total_bytes


def test_a_gpu_that_does_not_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is listed and cannot compute is refused by name, and passed over by auto."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    if not NO_GPU:
        monkeypatch.setattr("client.site.device._works", lambda _: False)
    with pytest.raises(Refusal, match="does not work here") as refused:
        find_device(Compute(device="cuda"))
    assert refused.value.code == ErrorCode.DEVICE_MISSING
    assert find_device(Compute(device="auto")).type == "cpu"
