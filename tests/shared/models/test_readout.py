"""The readout: what it adds, what it trains, and a map of it that is exact."""

import pytest
import torch

from shared.config.files import parse_study
from shared.config.study import StudyConfig
from shared.errors import ConfigError
from shared.models.compact import CompactModel, build_compact
from shared.models.readout import Readout
from shared.models.trainable import trainable_names


def study_with(readout: dict[str, int] | None, **groups: dict[str, object]) -> StudyConfig:
    """Return a small study, with a readout or without."""
    raw: dict[str, object] = {
        "name": "readout", "purpose": "test", "ethics_reference": "none", "expires": "2100-01-01",
        "task": {"classes": ["normal", "opacity", "other"], "image_size": 64},
        "models": {"readout": readout},
    }  # fmt: skip
    return parse_study(raw | groups)


@pytest.fixture(scope="module")
def filled() -> CompactModel:
    """Make a compact model whose readout holds arbitrary statistics and weights."""
    compact = build_compact(study_with({"stage": 4, "grid": 2}), seed=1).eval()
    readout = compact.readout
    assert readout is not None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        readout.mean.normal_(generator=generator)
        readout.scale.uniform_(0.5, 2.0, generator=generator)
        rows = torch.linalg.qr(torch.randn(len(readout.mean), 64, generator=generator))[0].T
        readout.directions.copy_(rows)
        readout.shrink.uniform_(-0.9, 0.0, generator=generator)
        readout.linear.weight.normal_(generator=generator)
        readout.linear.bias.normal_(generator=generator)
    return compact


@torch.no_grad()
def test_a_new_readout_says_nothing() -> None:
    """Before it is fitted it adds zero, so a study with one starts from the very student of a study without."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, with_one = (
        build_compact(study_with(one), seed=3).eval() for one in (None, {"stage": 3, "grid": 4})
    )
    torch.testing.assert_close(plain(images), with_one(images), rtol=0, atol=0)


@torch.no_grad()
def test_its_logits_are_added_to_the_students(filled: CompactModel) -> None:
    """One pass gives what the frozen part and the linear layer give apart."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert filled.readout is not None
    logits, pooled = filled.readout_inputs(images)
    assert pooled.shape == (2, 136 * 2 * 2)
    torch.testing.assert_close(filled(images), logits + filled.readout(pooled))
    assert (filled(images) - logits).abs().min() > 1e-3


@torch.no_grad()
def test_whitening_is_the_matrix_that_it_says(filled: CompactModel) -> None:
    """Held against the matrix I + V' S V written out."""
    readout = filled.readout
    assert readout is not None
    x = torch.randn(5, len(readout.mean), generator=torch.Generator().manual_seed(1))
    matrix = (
        torch.eye(len(readout.mean)) + readout.directions.T @ torch.diag(readout.shrink) @ readout.directions
    )
    torch.testing.assert_close(
        readout.whitened(x), ((x - readout.mean) * readout.scale) @ matrix, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_its_map_is_exact(filled: CompactModel) -> None:
    """The places of the map add up, with what no place has, to what the readout says of each class."""
    readout = filled.readout
    assert readout is not None
    stage_map = torch.randn(3, 136, 4, 4, generator=torch.Generator().manual_seed(2))
    said = readout(readout.pooled(stage_map))
    for index in range(3):
        places = readout.class_map(stage_map, index)
        assert places.shape == (3, 4, 4)
        total = places.sum((1, 2)) + readout.class_constant(index)
        torch.testing.assert_close(total, said[:, index], rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="5 x 5 does not divide into 2 x 2 cells"):
        readout.class_map(torch.zeros(1, 136, 5, 5), 0)


def test_what_trains(filled: CompactModel) -> None:
    """The readout is a set of its own, and part of every other; statistics of the cohort never train."""
    linear = {"readout.linear.weight", "readout.linear.bias"}
    assert set(trainable_names(filled, "readout")) == linear
    for which in ("head", "scales", "last", "all"):
        names = set(trainable_names(filled, which))
        assert linear < names
        assert {name for name in names if name.startswith("readout.")} == linear
    assert sum(dict(filled.named_parameters())[name].numel() for name in linear) == 3 * (136 * 4 + 1)


def test_its_size_follows_from_stage_and_grid() -> None:
    """96 channels of stage 3 and 136 of stage 4, times the cells."""
    widths = {
        (stage, grid): Readout(stage, grid, 2).linear.in_features for stage in (3, 4) for grid in (1, 4)
    }
    assert widths == {(3, 1): 96, (3, 4): 1536, (4, 1): 136, (4, 4): 2176}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"privacy": {"trainable": "readout"}, "models": {}}, "models.readout does not name"),
        ({"federation": {"merge": "filter", "steps": 1}}, "privacy.trainable is scales"),
        (
            {"federation": {"merge": "filter", "steps": 2}, "privacy": {"trainable": "readout"}},
            "federation.steps is 2, allowed with merge: filter is 1",
        ),
        (
            {
                "federation": {"merge": "filter", "steps": 1, "server_momentum": 0.5},
                "privacy": {"trainable": "readout"},
            },
            "federation.server_momentum is 0.5, allowed with merge: filter is 0",
        ),
        (
            {
                "federation": {"merge": "filter", "steps": 1, "final_learning_rate": 0.1},
                "privacy": {"trainable": "readout"},
            },
            "final_learning_rate: merge: filter chooses",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(groups: dict[str, dict[str, object]], words: str) -> None:
    """A readout that is not there cannot learn, and the filter weighs one noised mean of gradients."""
    with pytest.raises(ConfigError, match=words):
        study_with({"stage": 3, "grid": 4}, **groups)


def test_studies_without_a_readout_keep_their_digest() -> None:
    """What was approved before readouts were there is the same study."""
    raw = study_with(None).canonical_json()
    assert not any(word in raw for word in ('readout":', "site_weights", '"merge"'))
    other = study_with({"stage": 3, "grid": 4}).canonical_json()
    assert '"readout":{"grid":4,"stage":3}' in other
