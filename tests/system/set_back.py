"""Run a module of ours with a clock that can be set back while it works.

`python -m tests.system.set_back CLOCK MODULE WORD...`: the file CLOCK holds the seconds by which the time of day is off
that our code reads. TLS and gRPC read the machine's own. (Debian's libfaketime 0.9.10 cannot do it: with it Python
either cannot sleep, or has its monotonic clock set back, too.)
"""

import runpy
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

from server.store import append, chain


class SetBack(datetime):
    """A `datetime` whose `now` is off."""

    clock: Path

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the time of the clock that was set back."""
        return super().now(tz) + timedelta(seconds=float(cls.clock.read_text()))


if __name__ == "__main__":
    SetBack.clock = Path(sys.argv[1])
    append.datetime = chain.datetime = SetBack  # where records are stamped
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
