"""torchvision beside a torch without CUDA, where the registry has only the torchvision that was built with CUDA.

Its compiled part then cannot be loaded, and its import ends with `operator torchvision::nms does not exist`, for it
describes two operators that nobody has declared. Nothing here uses any: they are declared, without a kernel, so that
calling one still fails. With torchvision from torch's own CPU index nothing is done.
"""

from torch.library import define

_DESCRIBED = ("torchvision::nms", "torchvision::qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> None:
    """Import torchvision, with the operators declared that its import asks for where its compiled part is missing."""
    try:
        import torchvision  # noqa: PLC0415
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in _DESCRIBED:
            define(name, _SCHEMA)
        import torchvision  # noqa: F401, PLC0415
