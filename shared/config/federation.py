"""How a study runs over its sites: rounds, steps, who must answer, and by when."""

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.config.values import AS_BEFORE, LEARNING_RATES, NOISES, ArrayType, Setting


class Federation(Setting):
    """Rounds, steps and who must answer."""

    rounds: int = Field(4, ge=1, le=10_000)
    steps: int = Field(10, ge=1, le=100_000, description="private steps a site takes in one round")
    learning_rate: float = Field(
        0.5,
        ge=LEARNING_RATES[0],
        le=LEARNING_RATES[1],
        description="of the private steps, in the first round; limited so that the noise of an update stays far below "
        "the largest value that an update may hold",
    )
    final_learning_rate: float | None = Field(
        None,
        ge=LEARNING_RATES[0],
        le=LEARNING_RATES[1],
        description="in the last round; it falls along a line between; None: the same in all rounds",
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="of the private steps; resets at every round")
    server_momentum: float = Field(
        0.0, ge=0, lt=1, description="share of the last merged step kept in the next"
    )
    merge: Literal["mean", "filter"] = Field(
        "mean",
        json_schema_extra=AS_BEFORE,
        description="how updates are merged: their mean as it is, or, for a readout, weighed against the public cohort "
        "by how much noise they hold",
    )
    update_values: ArrayType = Field(
        "float32", description="how updates travel: float16 halves the bytes, rounding after the noise"
    )
    quorum: int = Field(2, ge=1, description="sites that must answer for a round to count")
    min_sites: int = Field(2, ge=1, description="sites that must enrol for the study to begin")
    enrolment_seconds: float = Field(300, gt=0)
    deadline_seconds: float = Field(600, gt=0)
    reply_after_seconds: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="when answers leave, at the earliest; real sites have a fixed time of their own: the later counts",
    )
    evaluate_sites: bool = Field(False, description="ask each site for noised counts after the last round")
    evaluation_noise_multiplier: float = Field(4.0, ge=NOISES[0], le=NOISES[1])

    @model_validator(mode="after")
    def _steps_do_not_grow(self) -> Self:
        if self.final_learning_rate is not None and self.final_learning_rate > self.learning_rate:
            raise ValueError(f"final_learning_rate must be at most learning_rate ({self.learning_rate:g})")
        return self

    def learning_rate_in(self, number: int) -> float:
        """Return the size of private steps in round `number`, 1 to `rounds`; steps that fall settle the student."""
        if self.final_learning_rate is None or self.rounds == 1:
            return self.learning_rate
        share = (number - 1) / (self.rounds - 1)
        return self.learning_rate + share * (self.final_learning_rate - self.learning_rate)
