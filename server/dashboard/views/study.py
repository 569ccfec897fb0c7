"""The page of one study: progress, who took part and who did not and why, curves, baselines, bytes and times.

In: the store. Out: one frozen value whose size does not grow with rounds or sites beyond what a screen can show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from markupsafe import Markup

from server.dashboard.figures.timeline import Stretch, timeline_figure
from server.dashboard.views.head import Head
from server.dashboard.views.study_rows import (
    Absence,
    ClosedRound,
    EventLine,
    absences,
    auc_figures,
    bytes_sent,
    closed_rounds,
    last_events,
    participation,
)
from server.metrics.intervals import Interval
from server.presentation.formatting import NOT_STATED, in_bytes, in_seconds, shown
from server.presentation.svg_charts import Figure, Line, interval_bar, interval_text, line_figure

MODEL_NAMES: Final = {
    "teacher": "Teacher (frozen)",
    "warm_start": "Warm start (public cohort only)",
    "federated_private": "This study: federated, private",
    "federated": "This study: federated, without privacy",
    "central": "Central: all images in one place",
    "trivial": "Trivial: a few brightness numbers",
}
OWN: Final = ("federated_private", "federated")


@dataclass(frozen=True)
class Baseline:
    """One model's AUC on the public test set."""

    key: str
    name: str
    text: str
    bar: Markup
    n: int


@dataclass(frozen=True)
class Traffic:
    """What one site sent."""

    site: str
    answers: int
    each: str
    total: str


@dataclass(frozen=True)
class StudyView:
    """Everything the page prints."""

    head: Head
    finding: str
    tiles: tuple[tuple[str, str, str], ...]
    curve: Figure | None
    timeline: Figure | None
    absences: tuple[Absence, ...]
    baselines: tuple[Baseline, ...]
    differences: tuple[tuple[str, str, Markup], ...]
    times: Figure | None
    traffic: tuple[Traffic, ...]
    events: tuple[EventLine, ...]

    @property
    def absence_rows(self) -> list[tuple[str, ...]]:
        """Who was missing and why, as cells."""
        return [(one.site, one.why, str(one.times), str(one.first), str(one.last)) for one in self.absences]

    @property
    def traffic_rows(self) -> list[tuple[str, ...]]:
        """What each site sent, as cells."""
        return [(one.site, str(one.answers), one.each, one.total) for one in self.traffic]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What all sites agreed on, line by line."""
        config, data = self.head.config, self.head.data
        privacy, models = config.privacy, config.models
        student = models.student.architecture
        asked = f"at most epsilon {shown(privacy.epsilon)} at delta {shown(privacy.delta)} a site"
        return [
            ("ethics reference", config.ethics_reference),
            ("ends", config.expires.isoformat()),
            ("classes", ", ".join(config.task.classes)),
            ("public data", f"{data.name} ({data.data_kind})" if data else NOT_STATED),
            ("method", config.distillation.method),
            ("teacher", models.teacher.name),
            ("student", "OFA-595" if student == "ofa595" else "sub-network of the w1.2 OFA supernet"),
            ("trained at the sites", privacy.trainable),
            ("privacy asked", asked if privacy.enabled else "none: no guarantee holds"),
            ("quorum", f"{config.federation.quorum} sites"),
            ("code", self.head.code_digest[:16]),
            (
                "versions",
                ", ".join(f"{name} {number}" for name, number in sorted(self.head.versions.items())),
            ),
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said of the data wherever the study is shown."""
        data = self.head.data
        return () if data is None else (*data.notes, *filter(None, (data.attribution,)))


def study_view(connection: sa.Connection, head: Head) -> StudyView:
    """Read the page, in six statements."""
    rounds = closed_rounds(connection, head.uid)
    figures = auc_figures(connection, head.uid)
    traffic = bytes_sent(connection, head.uid)
    stretches = participation(connection, head, len(traffic))
    own = next((figures[key] for key in OWN if key in figures), None)
    return StudyView(
        head=head,
        finding=_finding(head, rounds, figures, own),
        tiles=_tiles(head, rounds, own, stretches, traffic),
        curve=_curve(rounds, figures),
        timeline=timeline_figure(stretches, head.rounds_done),
        absences=absences(connection, head.uid),
        baselines=_baselines(figures),
        differences=_differences(figures),
        times=_times(rounds),
        traffic=tuple(
            Traffic(site, answers, in_bytes(round(sent / answers)) if answers else "—", in_bytes(sent))
            for site, answers, sent in traffic
        ),
        events=last_events(connection, head.uid),
    )


def _finding(
    head: Head,
    rounds: Sequence[ClosedRound],
    figures: dict[str, Interval],
    own: Interval | None,
) -> str:
    """Say the state of the study in one or two sentences."""
    if head.state == "failed":
        why = f": {head.why}" if head.why else "."
        return f"The study failed after {head.rounds_done} of {head.rounds} rounds{why}"
    if own is not None and own.value is not None:
        warm = figures.get("warm_start")
        before = f", from {interval_text(warm, 2)} before any hospital took part" if warm else ""
        return (
            f"The student reaches an AUC of {interval_text(own, 2)} on {own.n} public test patients{before}."
        )
    known = [one.auc for one in rounds if one.auc.value is not None]
    if not known:
        return "No round has closed yet: the study waits for its sites or for the first answers."
    return (
        f"{head.rounds_done} of {head.rounds} rounds are closed; on the public images that follow the rounds the "
        f"student is at an AUC of {interval_text(known[-1], 2)}."
    )


def _tiles(
    head: Head,
    rounds: Sequence[ClosedRound],
    own: Interval | None,
    stretches: list[Stretch],
    traffic: list[tuple[str, int, int]],
) -> tuple[tuple[str, str, str], ...]:
    """(figure, what it is, what goes with it) for the head of the page; only what was measured."""
    auc = own or next((one.auc for one in reversed(rounds) if one.auc.value is not None), None)
    found = [(f"{head.rounds_done} / {head.rounds}", "rounds closed", head.state)]
    if auc is not None and auc.value is not None:
        span = "no interval" if auc.low is None else f"95 % interval {auc.low:.2f} to {auc.high:.2f}"
        found.append((f"{auc.value:.2f}", "AUC on public test images", span))
    if stretches:
        sites = {one.site for one in stretches}
        took, missed = (sum(getattr(one, name) for one in stretches) for name in ("accepted", "missing"))
        found.append((str(len(sites)), "sites", f"{took} answers accepted, {missed} missing"))
    seconds = [one.seconds for one in rounds if one.seconds is not None]
    if seconds:
        found.append(
            (
                in_seconds(sorted(seconds)[len(seconds) // 2]),
                "a round, median",
                f"{in_seconds(sum(seconds))} in all",
            )
        )
    sent = sum(one for _, _, one in traffic)
    if sent:
        found.append(
            (
                in_bytes(sent),
                "sent by all sites",
                f"{in_bytes(round(sent / max(1, sum(n for _, n, _ in traffic))))} an answer",
            )
        )
    return tuple(found)


def _curve(rounds: Sequence[ClosedRound], figures: dict[str, Interval]) -> Figure | None:
    points = tuple((float(one.number), one.auc) for one in rounds if one.auc.value is not None)
    if len(points) < 2:
        return None
    levels = [("teacher", figures.get("teacher")), ("warm start", figures.get("warm_start"))]
    return line_figure(
        "Test AUC after each round",
        "The line is the merged student on the public test images that follow the rounds, with its 95 % band "
        "(resampled patients); dashed lines are teacher and warm start on the whole test set.",
        [Line("student", points)],
        x_name="round",
        y_name="AUC",
        references=[(name, one.value) for name, one in levels if one is not None and one.value is not None],
    )


def _times(rounds: Sequence[ClosedRound]) -> Figure | None:
    points = tuple(
        (float(one.number), Interval(value=one.seconds)) for one in rounds if one.seconds is not None
    )
    if len(points) < 2:
        return None
    return line_figure(
        "Seconds a round took",
        "From the first request to the last accepted answer or the deadline.",
        [Line("seconds", points)],
        x_name="round",
        y_name="seconds",
        y_range=(0, max(one.value or 0 for _, one in points)),
    )


def _baselines(figures: dict[str, Interval]) -> tuple[Baseline, ...]:
    found = [(key, one) for key, one in figures.items() if "-" not in key]
    order = {key: place for place, key in enumerate(MODEL_NAMES)}
    found.sort(key=lambda pair: (order.get(pair[0], len(order)), pair[0]))
    low = 0.0 if any(one.low is not None and one.low < 0.4 for _, one in found) else 0.4
    return tuple(
        Baseline(
            key,
            _name(key),
            interval_text(one, 2),
            interval_bar(f"AUC, {_name(key)}", one, low, 1, (0.5,)),
            one.n,
        )
        for key, one in found
    )


def _differences(figures: dict[str, Interval]) -> tuple[tuple[str, str, Markup], ...]:
    """(pair, difference in words, bar around zero) of every paired difference, each with its own interval."""
    found = []
    for key, one in figures.items():
        first, dash, second = key.partition("-")
        if not dash:
            continue
        reach = max([0.05, *(abs(edge) for edge in (one.low, one.high, one.value) if edge is not None)])
        bar = interval_bar("difference of AUC", one, -reach, reach, marks=(0,))
        found.append((f"{_name(first)} minus {_name(second)}", interval_text(one), bar))
    return tuple(found)


def _name(key: str) -> str:
    return MODEL_NAMES.get(key, key.replace("_", " ").replace(".", ": "))
