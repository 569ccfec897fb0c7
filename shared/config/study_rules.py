"""What must fit together across a study's fields: each alone may be right, and the study yet never close a round.

In: a study whose fields are each in their range. Out: nothing, or a sentence with fields, values, what is allowed and
what to do. Refused here, nothing has been asked of a hospital, and nothing is spent.
"""

from shared.config.federation import Federation


def check_times(rules: Federation) -> None:
    """Refuse a time of answering that is no earlier than the deadlines: every answer would be late by rule."""
    reply = rules.reply_after_seconds
    if reply is None:
        return
    for name in ("enrolment_seconds", "deadline_seconds"):
        allowed = getattr(rules, name)
        if reply >= allowed:
            raise ValueError(
                f"federation.reply_after_seconds is {reply:g}, allowed is less than federation.{name} ({allowed:g}): "
                "sites would be charged for answers that come too late; lower the one or raise the other"
            )


def sites_needed(rules: Federation) -> tuple[str, int]:
    """Return how many sites must enrol for the study to close a round, and the field that says so."""
    if rules.quorum > rules.min_sites:
        return "federation.quorum", rules.quorum
    return "federation.min_sites", rules.min_sites


def check_readout(rules: Federation, trainable: str, *, has_readout: bool) -> None:
    """Refuse a readout that is to learn and is not there, and a filter over steps that it cannot weigh."""
    if trainable == "readout" and not has_readout:
        raise ValueError(
            "privacy.trainable is readout, which models.readout does not name; add models: {readout: {stage: 3}} or "
            "choose another set"
        )
    if rules.merge == "mean":
        return
    if trainable != "readout":
        raise ValueError(
            f"federation.merge is filter, which weighs the updates of a readout, and privacy.trainable is {trainable}; "
            "use merge: mean, or trainable: readout"
        )
    for name, allowed in (("steps", 1), ("momentum", 0), ("server_momentum", 0)):
        if getattr(rules, name) != allowed:
            raise ValueError(
                f"federation.{name} is {getattr(rules, name):g}, allowed with merge: filter is {allowed}: an update "
                "must be one noised mean of gradients; correct it, or use merge: mean"
            )
    if rules.final_learning_rate is not None:
        raise ValueError(
            "federation.final_learning_rate: merge: filter chooses the size of steps by itself; leave it out"
        )
