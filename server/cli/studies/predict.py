"""`rounds-hub predict`: a released student on images of this machine.

In: a model file and images. Out: a table or JSON, and one picture an image, on this machine.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from server.model.predict import Prediction, ReleasedModel, open_model, predict_image
from shared.errors import DataError
from shared.terminal.command_line import AsJson, examples
from shared.terminal.tables import plain_table, wide_console

app = typer.Typer()


@app.command(
    epilog=examples(
        "rounds-hub predict results/latest/student.safetensors film.png",
        "rounds-hub predict results/latest/student.safetensors film.dcm",
        "rounds-hub predict results/latest/candidate.safetensors a.png b.png --maps maps --json",
    )
)
def predict(
    model: Annotated[Path, typer.Argument(help="student.safetensors or candidate.safetensors")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, BMP, TIFF or DICOM files")
    ],
    maps: Annotated[Path, typer.Option(help="folder for one picture an image: film, mask, map")] = Path(
        "maps"
    ),
    allow_text: Annotated[
        bool, typer.Option(help="take DICOM pictures with burned-in text; for those a person has looked at")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Classify images, with a map picture each and the gate's verdict.

    Probabilities are calibrated on public cohort patients; elsewhere they may be off.

    Exit status 1 when an image could not be used; the others are still classified.
    """
    opened = open_model(model)
    done: list[Prediction] = []
    failed: dict[Path, str] = {}
    for number, file in enumerate(images, start=1):
        try:
            picture = maps / f"{number:02d}-{file.stem}.png"
            done.append(predict_image(opened, file, picture, "allow" if allow_text else "refuse"))
        except DataError as error:
            named = str(file) in str(error)  # sentences about DICOM name no file
            failed[file] = str(error) if named else f"image {number} of {len(images)}: {error}"
    if as_json:
        typer.echo(json.dumps(_as_json(opened, done, failed), indent=1, ensure_ascii=False))
    else:
        _show_predictions(opened, done)
    for sentence in failed.values():
        typer.echo(f"Error: {sentence}", err=True)
    if failed:
        raise typer.Exit(1)


def _show_predictions(model: ReleasedModel, done: list[Prediction]) -> None:
    console = wide_console()
    if model.verdict != "accepted":
        console.print(
            f"HELD: this model did not pass its gate and may not be used. {model.gate}",
            style="bold red",
            markup=False,
        )
    columns = ("file", "class", *model.study.task.classes, "verdict", "map")
    if done:
        console.print(plain_table(columns, (_prediction_cells(model, one) for one in done)))
    console.print(
        f"Study {model.study.name}, model {model.sha256[:12]}. {model.gate} Probabilities are calibrated on public "
        f"cohort patients (temperature {model.temperature:.3g}); elsewhere they may be off. Research software, not "
        "for diagnosis.",
        markup=False,
    )


def _prediction_cells(model: ReleasedModel, one: Prediction) -> tuple[str | Text, ...]:
    return (
        str(one.file),
        one.predicted,
        *(f"{chance:.3f}" for chance in one.probabilities.values()),
        "accepted" if model.verdict == "accepted" else Text("HELD", "bold red"),
        f"{one.picture}" + ("" if one.evidence else " (no positive evidence)"),
    )


def _as_json(model: ReleasedModel, done: list[Prediction], failed: dict[Path, str]) -> dict[str, Any]:
    images: list[dict[str, Any]] = [
        {
            "file": str(one.file),
            "class": one.predicted,
            "probabilities": one.probabilities,
            "mask_area": one.mask_area,
            "evidence": one.evidence,
            "map": str(one.picture),
        }
        for one in done
    ]
    return {
        "model_sha256": model.sha256,
        "study": model.study.name,
        "study_digest": model.study.digest(),
        "verdict": model.verdict,
        "gate": model.gate,
        "temperature": model.temperature,
        "images": images + [{"file": str(file), "error": sentence} for file, sentence in failed.items()],
    }
