"""A configuration is checked once, says in one sentence what is wrong, and has one digest."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from shared.config.federation import Federation
from shared.config.files import overridden, parse_site, parse_study, read_study, read_yaml, write_yaml
from shared.config.site import SiteConfig, check_delta, check_sampling
from shared.config.study import StudyConfig
from shared.config.values import AS_BEFORE
from shared.errors import ConfigError

STUDY: dict[str, Any] = {
    "name": "chest",
    "purpose": "p",
    "ethics_reference": "e",
    "expires": "2030-01-01",
    "task": {"classes": ["normal", "opacity"]},
}
SITE: dict[str, Any] = {
    "name": "north",
    "data": {"source": "images"},
    "declared_patients": 100,
    "weights_dir": "w",
    "state_dir": "s",
    "head_file": "h",
}


@pytest.mark.parametrize(
    ("dotted", "value", "words"),
    [
        ("privacy.epsilon", -1, "greater than 0"),
        ("privacy.sample_rate", 1.5, "less than or equal to 1"),
        ("privacy.delta", "much", "allowed is a number"),
        ("privacy.max_grad_norm", float("nan"), "finite"),
        ("privacy.max_grad_norm", 2e4, "less than or equal to 10000"),
        ("privacy.max_grad_norm", 1e-5, "greater than or equal to 0.0001"),
        ("privacy.noise_multiplier", 0.05, "greater than or equal to 0.1"),
        ("privacy.noise_multiplier", 1.1e4, "less than or equal to 10000"),
        ("privacy.sample_rate", 1e-7, "greater than or equal to 0.000001"),
        ("federation.learning_rate", 1.6e6, "less than or equal to 100"),
        ("federation.learning_rate", 1e-7, "greater than or equal to 0.000001"),
        ("federation.final_learning_rate", 1e-7, "greater than or equal to 0.000001"),
        ("federation.evaluation_noise_multiplier", 0.01, "greater than or equal to 0.1"),
        ("privacy.trainable", "everything", "'head', 'scales', 'last' or 'all'"),
        ("privacy.noise", 1.0, "there is no such field; allowed are delta, enabled, "),
        ("privacy.epsilom", 1.0, "there is no such field; did you mean privacy.epsilon? allowed are "),
        ("privcy", 1, "there is no such field; did you mean privacy? allowed are audit, "),
        ("task.image_size", 50, "multiple of 4"),
        ("task.classes", ["one"], "at least 2"),
        ("distillation.method", "magic", "'supervised', 'kd', 'hybrid', 'medtex' or 'rounds'"),
        ("distillation.weights.alpha", 2, "less than or equal to 1"),
        ("federation.rounds", 0, "greater than or equal to 1"),
        ("models.teacher.sha256", "abc", "64 digits"),
        ("name", "Not A Name", "small letters"),
        ("expires", "soon", "a date such as"),
        ("schema_version", 2, "1"),
    ],
)
def test_a_wrong_field_is_one_sentence(dotted: str, value: object, words: str) -> None:
    """A wrong study field gives one ConfigError line with origin, field, value and what is allowed."""
    with pytest.raises(ConfigError) as refused:
        parse_study(overridden(STUDY, {dotted: value}), "study.yaml")
    sentence = str(refused.value)
    assert sentence.startswith(f"study.yaml: {dotted}")
    assert repr(value) in sentence
    assert words in sentence
    assert "\n" not in sentence


def test_a_missing_field_is_named() -> None:
    """A missing field is named, and further mistakes are counted."""
    with pytest.raises(
        ConfigError, match=r"study: name is missing; fill it in \(4 more to correct after it\)"
    ):
        parse_study({})


@pytest.mark.parametrize(
    ("dotted", "value", "words"),
    [
        ("task.positive", "fracture", "positive must be one of normal, opacity"),
        ("task.classes", ["normal", "normal"], "must differ"),
        ("distillation.views_per_step", 3, r"at most num_views \(2\)"),
        ("models.student.normalisation", "frozen", r"frozen needs student\.weights_sha256"),
        ("models.student.weights_sha256", "0" * 64, "group takes none"),
    ],
)
def test_fields_must_fit_each_other(dotted: str, value: object, words: str) -> None:
    """Fields that contradict each other are refused in words of this system."""
    with pytest.raises(ConfigError, match=words):
        parse_study(overridden(STUDY, {dotted: value}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"federation.rounds": 1001, "federation.steps": 1000}, "is 1001000, allowed is at most 1000000"),
        (
            {
                "federation.learning_rate": 100.0,
                "privacy.max_grad_norm": 1e3,
                "privacy.noise_multiplier": 1.0,
            },
            r"are 1\.58e\+06 in one round, allowed is at most 100000; lower one of the three",
        ),
    ],
)
def test_the_whole_study_has_a_measure(fields: dict[str, object], words: str) -> None:
    """Limits that each field keeps must be kept together too: ten deviations of the noise are 100000 at most."""
    with pytest.raises(ConfigError, match=words):
        parse_study(overridden(STUDY, fields))


@pytest.mark.parametrize("path", sorted(Path("deploy/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_studies_are_far_from_every_limit(path: Path) -> None:
    """With a hundred times their clip or their learning rate our own studies still pass, whatever their noise."""
    raw = read_yaml(path)
    for field in ("privacy.max_grad_norm", "federation.learning_rate"):
        group, name = field.split(".")
        parse_study(overridden(raw, {field: 100 * raw[group][name], "privacy.noise_multiplier": 10.0}))


def test_a_cap_that_gives_a_patient_away_is_refused() -> None:
    """cap.delta may be at most 1 / (10 x declared patients), and the sentence says how much that is."""
    assert parse_site(SITE | {"cap": {"delta": 0.001}}).cap.delta == 0.001
    with pytest.raises(ConfigError, match=r"cap\.delta is 0\.0011, allowed is at most 0\.001 .*lower it"):
        parse_site(SITE | {"cap": {"delta": 0.0011}})


def test_delta_bound() -> None:
    """check_delta accepts exactly 1 / (10 x patients) and nothing above it."""
    check_delta(1 / 2000, 200, "privacy.delta")
    with pytest.raises(ValueError, match=r"privacy\.delta is 0\.000501"):
        check_delta(0.000501, 200, "privacy.delta")


def test_a_step_expects_two_patients() -> None:
    """A sample rate under which a step would expect fewer than 2 of the declared patients is refused."""
    study = parse_study(overridden(STUDY, {"privacy.sample_rate": 0.02}))
    check_sampling(study, 100)
    with pytest.raises(ConfigError, match=r"privacy\.sample_rate is 0\.02: with 99 .*raise it to 0\.0202"):
        check_sampling(study, 99)


def test_the_digest_is_of_the_content() -> None:
    """Equal studies have equal digests whatever the order or form they were written in; others differ."""
    first = parse_study(STUDY)
    again = parse_study(dict(reversed(STUDY.items())) | {"expires": date(2030, 1, 1), "warm_start": {}})
    other = parse_study(overridden(STUDY, {"privacy.epsilon": 7.9}))
    assert first.digest() == again.digest() != other.digest()
    assert StudyConfig.model_validate_json(first.canonical_json()) == first


def test_the_digest_is_stable() -> None:
    """The digest does not change between versions by itself: hospitals have approved it."""
    canonical = parse_study(STUDY).canonical_json()
    assert canonical.startswith('{"audit":{"max_mask_area":0.95,"min_auc":0.6,')
    assert '"privacy":{"delta":1e-05,"enabled":true,"epsilon":8.0,' in canonical
    assert " " not in canonical


class LaterFederation(Federation):
    """A federation of a later version, which has a field more."""

    pause_seconds: float = Field(0.0, json_schema_extra=AS_BEFORE)
    breaks: int = 1


class LaterStudy(StudyConfig):
    """A study of a later version."""

    federation: LaterFederation = LaterFederation()
    note: str = Field("", json_schema_extra=AS_BEFORE)


def test_a_field_added_later_changes_no_digest_until_it_is_used() -> None:
    """A field marked as meaning what was before it is left out at its default alone; every other field counts."""
    now = parse_study(STUDY).canonical_json()
    later = LaterStudy.model_validate(STUDY)
    unmarked = json.loads(later.canonical_json())
    assert unmarked["federation"].pop("breaks") == 1
    assert unmarked == json.loads(now)
    used = [
        LaterStudy.model_validate(STUDY | {"federation": {"pause_seconds": 1.0}}),
        LaterStudy.model_validate(STUDY | {"note": "x"}),
    ]
    assert len({one.digest() for one in (later, *used)}) == 3
    for one in used:
        assert LaterStudy.model_validate_json(one.canonical_json()) == one


def test_a_configuration_never_changes() -> None:
    """A parsed study is frozen."""
    with pytest.raises(ValueError, match="frozen"):
        parse_study(STUDY).privacy.epsilon = 100.0


def test_overrides_by_dotted_name() -> None:
    """A dotted name sets one field, an empty value none, and the raw study stays as it was."""
    raw = {"privacy": {"epsilon": 8.0, "delta": 1e-5}, "name": "x"}
    changed = overridden(raw, {"privacy.epsilon": 2.0, "privacy.delta": "", "federation.rounds": 3})
    assert changed == {
        "privacy": {"epsilon": 2.0, "delta": 1e-5},
        "name": "x",
        "federation": {"rounds": 3},
    }
    assert raw["privacy"] == {"epsilon": 8.0, "delta": 1e-5}


def test_an_override_below_a_plain_field_is_refused() -> None:
    """A dotted name that goes through a plain field is refused and named."""
    with pytest.raises(ConfigError, match=r"name\.part: name is not a group of fields"):
        overridden({"name": "x"}, {"name.part": 1})


def test_yaml_round_trip(tmp_path: Path) -> None:
    """What write_yaml writes, read_yaml and the parser give back."""
    study, site = parse_study(STUDY), parse_site(SITE)
    write_yaml(tmp_path / "study.yaml", study)
    write_yaml(tmp_path / "site.yaml", site)
    assert read_study(tmp_path / "study.yaml") == study
    assert parse_site(read_yaml(tmp_path / "site.yaml")) == site


@pytest.mark.parametrize("content", [None, b"a: [", b"\xff\xfe\x00", b"- 1\n- 2\n", b""])
def test_a_file_that_is_no_mapping(tmp_path: Path, content: bytes | None) -> None:
    """A missing, broken or list-shaped YAML file is one ConfigError that names it."""
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"study\.yaml: (cannot be read|holds)") as refused:
        read_yaml(path)
    assert "\n" not in str(refused.value)


def test_private_weights_need_a_spend() -> None:
    """Weights accepted as private-dp without their (epsilon, delta) are refused: their spend must be charged."""
    digest = "1" * 64
    accepted = SITE | {"accepted_digests": {digest: "private-dp"}}
    assert isinstance(parse_site(accepted | {"private_dp_spend": {digest: (1.0, 1e-6)}}), SiteConfig)
    with pytest.raises(ConfigError, match=r"private_dp_spend has no .*111111111111"):
        parse_site(accepted)
