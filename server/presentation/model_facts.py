"""What a model is, line by line: the same on report, model card and dashboard."""

from collections.abc import Sequence

from server.metrics.measured import ModelFacts
from server.presentation.formatting import NOT_STATED, in_bytes, shown


def model_rows(
    model: ModelFacts, classes: Sequence[str], image_size: int, method: str
) -> list[tuple[str, str]]:
    """Return (name, value) of all that a reader asks first; what is not known is 'not stated'."""
    macs = None if model.num_macs is None else f"{model.num_macs / 1e6:.0f} million at {image_size} px"
    trained = None if model.num_trainable is None else shown(model.num_trainable)
    where = shown(model.trainable_set)
    return [
        ("classes", ", ".join(classes)),
        ("input", f"{image_size} × {image_size} pixels"),
        ("method", method),
        ("teacher", shown(model.teacher)),
        ("student", shown(model.student)),
        ("normalisation", shown(model.normalisation)),
        ("explainer", shown(model.explainer)),
        ("fill behind the mask", shown(model.fill)),
        ("parameters", shown(model.num_parameters)),
        ("trained at the sites", f"{trained} ({where})" if trained else where),
        ("multiply-adds for one image", shown(macs)),
        ("size of the weights", in_bytes(model.num_bytes) if model.num_bytes else NOT_STATED),
    ]
