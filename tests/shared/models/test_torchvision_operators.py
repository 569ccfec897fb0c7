"""torchvision beside a torch without CUDA: its compiled part cannot be loaded, and it is imported all the same."""

import os
import subprocess
import sys

WITHOUT = """
import torch
def cannot(path):
    raise OSError("libcudart.so.13: cannot open shared object file")
torch.ops.load_library = cannot
"""
OURS = """
import shared.models.compact, timm
from torchvision.transforms.functional import gaussian_blur
print(gaussian_blur(torch.ones(1, 3, 16, 16), 5).shape[-1])
"""


def run(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, for what was imported stays imported."""
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, env=os.environ
    )


def test_without_its_compiled_part_torchvision_is_imported() -> None:
    """Our models, and timm after them, work; by itself the import fails on an operator that nobody declared."""
    assert "torchvision::nms does not exist" in run(WITHOUT + "import torchvision").stderr
    done = run(WITHOUT + OURS)
    assert (done.returncode, done.stdout) == (0, "16\n"), done.stderr


def test_with_its_compiled_part_nothing_is_declared() -> None:
    """The operator is torchvision's own, with a kernel: of two boxes that cover each other one is left."""
    done = run(
        "import shared.models, torch, torchvision\n"
        "boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]])\n"
        "print(torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist())"
    )
    assert (done.returncode, done.stdout) == (0, "[0]\n"), done.stderr
