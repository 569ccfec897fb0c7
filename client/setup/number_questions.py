"""How many patients are declared, and what may be spent on one? Each is explained in a line, and typed by a person."""

from collections.abc import Mapping
from typing import Any

from client.setup.options import Options
from client.setup.proposals.numbers import USUAL_EPSILON, largest_delta, proposed_delta, rounded_up, serving
from client.setup.questions import Questions, number
from shared.config.site import FAR_ABOVE, FAR_BELOW, check_declared, check_delta
from shared.config.study import StudyConfig
from shared.errors import ConfigError


def ask_declared(
    questions: Questions,
    options: Options,
    before: Mapping[str, Any],
    study: StudyConfig | None,
    num_train: int,
) -> int:
    """Ask for the declared number; what was typed before stands in brackets, a count never does."""
    below, above = serving(num_train)
    was = before.get("declared_patients")
    questions.say("How many training patients does this hospital declare?", "bold")
    questions.say("  It is public: the hub weighs this site by it, and each private step is divided by it.")
    questions.say(
        "  So it is a round number that a person types, never a count: one patient must not show in it."
    )
    questions.say(f"  By the data, rounded down: {below}; the next above, {above}, serves as well.")
    whole = number("--declared", int, 1)

    declared = int(
        questions.ask(
            f"Declared training patients (such as {below} or {above})", "--declared", options.declared, whole,
            proposed=None if was is None else str(was),
        )
    )  # fmt: skip
    if not FAR_BELOW * declared <= num_train <= FAR_ABOVE * declared:
        questions.say(f"  {declared} is far from what the data holds: check will say so.", "yellow")
    try:
        if study is not None:
            check_declared(study, declared, str(before.get("name")))
    except ConfigError as error:
        questions.say(f"  {error}", "yellow")
    return declared


def ask_cap(
    questions: Questions,
    options: Options,
    before: Mapping[str, Any],
    study: StudyConfig | None,
    declared: int,
    needed: float | None,
) -> tuple[float, float]:
    """Ask for the cap; `needed` is what the ledger would hold after the whole study, None where no study is given."""
    was = before.get("cap") or {}
    delta = proposed_delta(declared, study)
    old_delta = was.get("delta")
    if old_delta is not None and float(old_delta) <= largest_delta(declared) and study is None:
        delta = float(old_delta)
    epsilon = float(was.get("epsilon") or USUAL_EPSILON)
    enough = epsilon if needed is None else max(epsilon, rounded_up(needed))
    questions.say("What may all runs together spend on one patient, at most (cap)?", "bold")
    questions.say(
        f"  delta is the chance that the promise fails: at most 1 / (10 x {declared}) = {largest_delta(declared):.3g}, "
        f"{delta:g} {'as the study counts' if study is not None and delta == study.privacy.delta else 'is usual'}."
    )
    if study is not None and study.privacy.enabled:
        reach = "" if needed is None else f", which brings the ledger to {needed:.2f}"
        questions.say(
            f"  epsilon is what one patient may show: this study asks {study.privacy.epsilon:g}{reach}."
        )
        if needed is not None and epsilon < needed:
            sentence = (
                f"  The cap of {epsilon:g} would stop it before its end; {enough:g} pays for all of it."
            )
            questions.say(sentence, "yellow")
    else:
        questions.say(
            "  epsilon is what one patient may show: 1 is strict, 10 is usual; a study is refused past it."
        )

    def parse_delta(answer: str) -> float:
        value = number("--cap-delta", float, 0.0)(answer)
        if value <= 0:
            raise ConfigError(f"--cap-delta is {answer}, allowed is more than 0; correct it")
        try:
            check_delta(value, declared, "--cap-delta")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return value

    def parse_epsilon(answer: str) -> float:
        value = number("--cap-epsilon", float, 0.0)(answer)
        if value <= 0:
            raise ConfigError(f"--cap-epsilon is {answer}, allowed is more than 0; correct it")
        return value

    chosen = questions.ask(
        "Cap: epsilon", "--cap-epsilon", options.cap_epsilon, parse_epsilon, proposed=f"{enough:g}",
        is_sure=enough == epsilon,
    )  # fmt: skip
    return chosen, parse_delta(options.cap_delta or repr(delta))
