"""What settings and messages are made of: frozen values, one meaning each, with the limits that all sides know."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from shared.config.one_meaning import check_one_meaning

DIGEST, STUDY_NAME = r"^[0-9a-f]{64}$", r"^[a-z0-9][a-z0-9-]{0,39}$"
Digest = Annotated[str, Field(pattern=DIGEST)]
Epsilon = Annotated[float, Field(ge=0)]
Delta = Annotated[float, Field(ge=0, lt=1)]
ArrayType = Literal["float32", "float16"]

# Public limits of what moves weights. A hub that may ask for any number can place a limit of ours inside the noise, and
# learn from what happens there; inside these, no honest setting lacks room.
LEARNING_RATES, CLIPS, NOISES = (1e-6, 100.0), (1e-4, 1e4), (0.1, 1e4)
MOST_STEPS = 1_000_000  # of a whole study: the accountants' grids bear ten times as many
FEWEST_EXPECTED = (
    2  # patients a step expects at least (shared.config.site.check_sampling): the smallest normaliser
)
LARGEST_NOISE = (
    1e5  # ten standard deviations of a weight's noise in one round: a tenth of what an update may hold
)


# `json_schema_extra` of a study's field that was added later and whose default means what was before it
AS_BEFORE: dict[str, JsonValue] = {"as_before": True}


class Frozen(BaseModel):
    """A value that is checked once and never changes; unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Setting(Frozen):
    """A group of fields that a person fills in: no value of theirs is silently turned into another."""

    @field_validator("*", mode="before")
    @classmethod
    def _one_meaning(cls, value: object, info: ValidationInfo) -> object:
        check_one_meaning(cls.model_fields[str(info.field_name)].annotation, value)
        return value
