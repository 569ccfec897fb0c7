"""The page of one study: progress, who took part and who did not and why, curves, baselines, bytes and times.

In: the store. Out: one frozen value whose size does not grow with rounds or sites beyond what a screen can show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

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
from server.presentation.model_names import OWN
from server.presentation.performance_figures import (
    AucTable,
    DifferenceRow,
    auc_table,
    difference_rows,
    learning_curve,
)
from server.presentation.svg_charts import Figure, Line, interval_text, line_figure


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
    baselines: AucTable
    differences: tuple[DifferenceRow, ...]
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
    figures, pairs = auc_figures(connection, head.uid)
    traffic = bytes_sent(connection, head.uid)
    stretches = participation(connection, head, len(traffic))
    own = next((figures[key] for key in OWN if key in figures), None)
    return StudyView(
        head=head,
        finding=_finding(head, rounds, figures, own),
        tiles=_tiles(head, rounds, own, stretches, traffic),
        curve=learning_curve(
            [(one.number, one.auc) for one in rounds], figures.get("teacher"), figures.get("warm_start")
        ),
        timeline=timeline_figure(stretches, head.rounds_done),
        absences=absences(connection, head.uid),
        baselines=auc_table(figures),
        differences=difference_rows(pairs),
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
