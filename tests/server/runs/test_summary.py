import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from server.runs.summary import ByModel, SiteCounts, Summary, auc_of, read_summary, write_summary
from shared.errors import StudyError


def test_summary_survives_writing(tmp_path: Path, full_summary: Summary) -> None:
    """What is written is read back equal, and writing twice gives equal bytes."""
    path = write_summary(tmp_path, full_summary)
    first = path.read_bytes()
    assert read_summary(tmp_path) == full_summary
    write_summary(tmp_path, read_summary(tmp_path))
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "content", [None, "", "{", '{"status": "completed"}', '{"status": "completed", "x": 1}']
)
def test_broken_summary_is_a_sentence(tmp_path: Path, content: str | None) -> None:
    """A missing, cut or foreign summary.json is a StudyError."""
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(StudyError, match=r"not the summary of a run"):
        read_summary(tmp_path)


def test_figures_must_be_finite(full_summary: Summary) -> None:
    """NaN cannot enter a summary."""
    with pytest.raises(ValidationError):
        Summary.model_validate(full_summary.model_dump() | {"temperature": float("nan")})


def test_auc_of_keeps_every_model(full_summary: Summary) -> None:
    """The AUC of every measured model is there, under the same key and name."""
    auc = auc_of(full_summary.metrics)
    assert [key for key, _, _ in auc.named()] == [key for key, _, _ in full_summary.metrics.named()]
    assert auc.site_alone["nih_cc_ap"] == full_summary.metrics.site_alone["nih_cc_ap"].auc
    assert list(ByModel().named()) == []


def test_report_and_card_do_not_load_torch() -> None:
    """Reports are made by processes that never import torch or Flower."""
    code = (
        "import sys, server.report.html_report, server.report.model_card; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'flwr')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_accuracy_of_noised_counts_has_the_spread_that_noise_gives_it() -> None:
    """Over many draws of the noise, accuracy from noised counts spreads as its stated deviation says."""
    truth, noise = np.array([[60.0, 10.0], [5.0, 25.0]]), 2.0
    draws = np.random.default_rng(0).normal(truth, noise, (4000, 2, 2))
    shares = draws[:, [0, 1], [0, 1]].sum(1) / draws.sum((1, 2))
    found = SiteCounts(counts=tuple(map(tuple, truth.tolist())), noise_std=noise).accuracy()
    assert found is not None
    assert found[0] == pytest.approx(0.85)
    assert found[1] == pytest.approx(shares.std(), rel=0.1)


def test_counts_that_drown_in_noise_give_no_accuracy() -> None:
    """With a total below the noise nothing is said of accuracy."""
    assert SiteCounts(counts=((2.0, 1.0), (0.0, 1.0)), noise_std=4.0).accuracy() is None
