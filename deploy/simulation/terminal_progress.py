"""Showing a person how far a run is: stages before it, rounds as they close, epsilon, time left."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from server.runs.run_folder import read_lines

_EVERY_SECONDS = 15.0
_TABLE_WIDTH = 220  # signs, in a log


class Progress:
    """Prints one line when a stage moves on; a terminal gets a line that overwrites itself."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._live = sys.stdout.isatty()
        self._started: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._events_read = 0
        self._rounds_read = 0
        self._num_rounds = 0
        self._run_started = time.monotonic()

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self._console.print(text, style=style)

    def table(self, caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table as wide as the terminal, in a log as wide as it wants."""
        shown = Table(title=caption, title_justify="left")
        for name in head:
            shown.add_column(name)
        for row in rows:
            shown.add_row(*row)
        wide = (
            self._console
            if self._live
            else Console(highlight=False, markup=False, emoji=False, width=_TABLE_WIDTH)
        )
        wide.print(shown)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take one step of a stage: print at its begin, every few seconds, and at its end."""
        now = time.monotonic()
        started = self._started.setdefault(what, now)
        over = done >= total
        if not over and now - self._last.get(what, started - 2 * _EVERY_SECONDS) < (
            1.0 if self._live else _EVERY_SECONDS
        ):
            return
        self._last[what] = now
        took = now - started
        left = f", about {took / done * (total - done):.0f} s left" if done and not over and took > 2 else ""
        end = "\r" if self._live and not over else "\n"
        self._console.print(f"  {what}: {done} of {total}, {took:.0f} s{left}".ljust(76), end=end)
        if over:
            self._started.pop(what)
            self._last.pop(what)

    def follow(self, events: Path, rounds: Path) -> None:
        """Print what a running study wrote since the last call."""
        for line in list(read_lines(events))[self._events_read :]:
            self._events_read += 1
            self._tell(line)
        for line in list(read_lines(rounds))[self._rounds_read :]:
            self._rounds_read += 1
            self._tell_round(line)

    def _tell(self, line: dict[str, Any]) -> None:
        match line["event"]:
            case "study_started":
                self._num_rounds = line["rounds"]
                self._run_started = time.monotonic()
                self.say(f"  study {line['study']} started, {line['rounds']} rounds")
            case "enrolled":
                self.say(f"  {line['site']} enrolled ({line['declared_patients']} patients declared)")
            case "not_enrolled":
                self.say(f"  {line.get('site', 'a node')} did not enrol: {line['why']}", style="yellow")
            case "answered" if line["outcome"] == "accepted":
                spent = "" if line.get("epsilon") is None else f", epsilon {line['epsilon']:.2f} spent"
                self.say(f"    {line['site']} answered{spent}")
            case "answered" | "deadline":
                self.say(
                    f"    {line['site']}: {line.get('outcome', 'no answer by the deadline')}", style="yellow"
                )
            case "late":
                who = line.get("site", "a node")
                self.say(f"    {who} answered round {line['round']} too late: discarded", style="yellow")
            case "asked_again":
                who = line.get("site", "a node")
                self.say(f"    {who} failed and was sent the same request once more", style="yellow")
            case "study_failed":
                self.say(f"  study failed: {line['why']}", style="red")

    def _tell_round(self, line: dict[str, Any]) -> None:
        auc = line["test"]["auc"]["value"]
        shown = "not measured" if auc is None else f"{auc:.3f}"
        if line["round"] == 0:
            self.say(f"  warm start: public test AUC {shown}")
            return
        took = time.monotonic() - self._run_started
        left = took / line["round"] * (self._num_rounds - line["round"])
        self.say(
            f"  round {line['round']} of {self._num_rounds}: {len(line['answered'])} sites, public test AUC {shown}, "
            f"{line['seconds']:.0f} s, about {left:.0f} s left"
        )
