"""What a released model says of single images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from server.app import initial_state
from server.cli.program import app
from server.model.predict import open_model, predict_image
from shared.data.images import load_pixels, normalise
from shared.data.patients import ImageRecord
from shared.errors import DataError, WeightsError
from shared.models.initial import unpack_initial
from shared.models.weights import save_weights
from tests.dicom_files import PLANTED, dicom_file, picture


@pytest.fixture(scope="module")
def model_file(tiny_federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the warm-started compact model of the tiny federation, released as a held candidate."""
    study = tiny_federation.study
    compact, _ = unpack_initial(study, initial_state(tiny_federation.workspace, study))
    path = tmp_path_factory.mktemp("model") / "candidate.safetensors"
    metadata = {
        "study": study.canonical_json(),
        "temperature": "2.0",
        "verdict": "held",
        "gate": "Held because.",
    }
    save_weights(compact.state_dict(), path, metadata)
    return path


@pytest.fixture(scope="module")
def film(tiny_federation) -> Path:
    """Return one phantom film."""
    return next((tiny_federation.workspace / "data" / "film" / "opacity").glob("*.png"))


def test_probabilities_are_the_models_own_divided_by_the_temperature(
    tiny_federation, model_file, film
) -> None:
    """By hand: softmax(logits / 2) of the same weights, rebuilt from the workspace."""
    study = tiny_federation.study
    compact, _ = unpack_initial(study, initial_state(tiny_federation.workspace, study))
    pixels = load_pixels(ImageRecord(film, 0, "", "", "", None), study.task)
    with torch.no_grad():
        expected = (compact(normalise(pixels)[None])[0].double() / 2).softmax(0).tolist()
    found = predict_image(open_model(model_file), film)
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-6)
    assert found.predicted == study.task.classes[expected.index(max(expected))]
    assert found.mask_area is not None
    assert 0 < found.mask_area < 1


def test_picture_shows_film_mask_and_map_side_by_side(model_file, film, tmp_path: Path) -> None:
    """Three pictures of equal size with gaps; without a path nothing is drawn."""
    found = predict_image(open_model(model_file), film, tmp_path / "maps" / "one.png")
    assert found.picture is not None
    with Image.open(found.picture) as picture:
        assert picture.size == (3 * 192 + 2 * 4, 192)
    assert predict_image(open_model(model_file), film).picture is None


def test_image_of_any_size_and_depth_is_read(model_file, film, tmp_path: Path) -> None:
    """A larger 16-bit copy of a film is classified too."""
    with Image.open(film) as image:
        grey = image.convert("L").resize((90, 70)).point(lambda value: value * 256, mode="I")
    grey.convert("I;16").save(tmp_path / "deep.png")
    assert predict_image(open_model(model_file), tmp_path / "deep.png").predicted


@pytest.mark.parametrize("name", ["none.png", "text.png", "flat.png", "array.npz"])
def test_what_is_no_picture_is_one_sentence(model_file, tmp_path: Path, name: str) -> None:
    """Missing, unreadable and empty files, and arrays, are a DataError that names the file."""
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "array.npz").write_bytes(b"")
    Image.new("L", (40, 40), 7).save(tmp_path / "flat.png")
    with pytest.raises(DataError, match=name):
        predict_image(open_model(model_file), tmp_path / name)


def test_model_that_is_not_finite_is_refused(tiny_federation, model_file, film, tmp_path: Path) -> None:
    """Weights with NaN are refused when opened; logits that overflow are refused on the image."""
    opened = open_model(model_file)
    with torch.no_grad():
        next(opened.compact.student.parameters()).fill_(float("inf"))
    with pytest.raises(DataError, match="not finite"):
        predict_image(opened, film)
    metadata = {
        "study": tiny_federation.study.canonical_json(),
        "temperature": "1",
        "verdict": "held",
        "gate": "",
    }
    save_weights(opened.compact.state_dict(), tmp_path / "broken.safetensors", metadata)
    with pytest.raises(WeightsError, match="not finite"):
        open_model(tmp_path / "broken.safetensors")


def test_file_without_its_study_is_refused(tiny_federation, tmp_path: Path) -> None:
    """Weights of another kind, an unreadable study, and no file at all each say what to give instead."""
    weights = next((tiny_federation.workspace / "weights").glob("*.safetensors"))
    with pytest.raises(WeightsError, match="holds no study"):
        open_model(weights)
    metadata = {"study": "{}", "temperature": "1", "verdict": "held", "gate": ""}
    save_weights({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(WeightsError, match="cannot be read"):
        open_model(tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="cannot be read"):
        open_model(tmp_path / "none.safetensors")


def test_a_dicom_file_is_read_as_its_picture(model_file, film, tmp_path: Path) -> None:
    """A film as PNG and as MONOCHROME1 DICOM, inverted twice, gives the same probabilities."""
    with Image.open(film) as image:
        grey = np.asarray(image.convert("L"))
    path = dicom_file(tmp_path / "film.dcm", 255 - grey, PhotometricInterpretation="MONOCHROME1")
    opened = open_model(model_file)
    assert predict_image(opened, path).probabilities == predict_image(opened, film).probabilities


def test_burned_in_text_is_refused_unless_a_person_allows_it(model_file, tmp_path: Path) -> None:
    """A flagged file is refused by default, without its path or a tag in the sentence, and read where allowed."""
    stored = picture(top=255).astype(np.uint8)
    path = dicom_file(tmp_path / "Plantedname.dcm", stored, BurnedInAnnotation="YES")
    with pytest.raises(DataError, match="image_burned_in") as caught:
        predict_image(open_model(model_file), path)
    assert not [value for value in PLANTED if value in str(caught.value)]
    assert predict_image(open_model(model_file), path, text_rule="allow").predicted
    command = ["predict", str(model_file), str(path), "--maps", str(tmp_path / "maps")]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.stderr.split(":")[:3]) == (1, ["Error", " image 1 of 1", " image_burned_in"])
    assert CliRunner().invoke(app, [*command, "--allow-text"]).exit_code == 0
