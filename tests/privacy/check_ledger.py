"""Every answer is paid for, once, and what was paid is neither lost nor begun anew."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path

from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant

from client.ledger.ledger_schema import Row, read_rows
from client.site.site import Site
from shared.config.study import StudyConfig
from shared.errors import ErrorCode
from shared.messages.releases import decode_release
from tests.privacy.room import Room, ask, weights_of
from tests.privacy.table import Check, Finding

CAP = {"epsilon": 100.0, "delta": 1e-5}


def studied(room: Room, steps: int = 4) -> StudyConfig:
    """Return a study of several private steps a round, each over a sample."""
    return room.study("supervised", privacy={"sample_rate": 0.25}, federation={"steps": steps})


def rows_in(site: Site) -> list[Row]:
    """Read the ledger's rows from its file."""
    with closing(sqlite3.connect(site.config.state_dir / "ledger.sqlite")) as database:
        return read_rows(database)


def epsilon_of(study: StudyConfig, trained: int, counted: int) -> dict[str, float]:
    """Compose what the hub itself saw answered, by dp-accounting alone: nothing of ours."""
    sigma = study.privacy.noise_multiplier
    training = PLDAccountant(value_discretization_interval=1e-4)
    training.compose(
        SelfComposedDpEvent(
            PoissonSampledDpEvent(study.privacy.sample_rate, GaussianDpEvent(sigma)),
            study.federation.steps * trained,
        )
    )
    counts = PLDAccountant(value_discretization_interval=1e-4)
    counts.compose(
        SelfComposedDpEvent(GaussianDpEvent(study.federation.evaluation_noise_multiplier), counted)
    )
    return {
        "train": float(training.get_epsilon(study.privacy.delta)),
        "evaluation": float(counts.get_epsilon(study.privacy.delta)),
    }


def spent(room: Room) -> Finding:
    """Ask for rounds and counts, add up what was answered by another library, and compare with what is stated."""
    study, rounds = studied(room), 2 if room.quick else 3
    with room.scratch() as scratch:
        site = room.site(scratch / "state", cap=CAP)
        weights = weights_of(site, study, study.privacy.trainable)
        requests = [("train", number) for number in range(1, rounds + 1)] + [("evaluate", 1), ("evaluate", 2)]
        answers = [ask(site, study, kind, number, weights) for kind, number in requests]
        stated = decode_release(answers[-1]["ledger_statement"]).fields
        rows = rows_in(site)
    expected = epsilon_of(study, rounds, 2)
    told = {one.partition: math.inf if one.epsilon is None else one.epsilon for one in stated.partitions}
    keys = {"train": "train", "evaluate": "evaluate"}
    once = all(
        sorted(row.kind for row in rows if row.round == number and row.request_kind == keys[kind])
        == ["commit", "reserve"]
        for kind, number in requests
    )
    within = all(expected[part] - 0.005 <= told[part] <= 1.03 * expected[part] + 0.02 for part in expected)
    return Finding(
        "stated = dp-accounting over what was answered (-0.005, +3 % + 0.02); one reserve and one commit row each",
        ", ".join(f"{part} stated {told[part]:.4f}, is {value:.4f}" for part, value in expected.items())
        + ("" if once else "; rows are missing or double"),
        once and within,
    )


def cut(room: Room) -> Finding:
    """Drop rows, drop the file, put an old file back: the site must stop until a person puts it right."""
    study = studied(room, 1)
    seen = []
    with room.scratch() as scratch:
        for name in ("the last two rows dropped", "all rows dropped", "the file deleted", "a row edited"):
            site = room.site(scratch / name, cap=CAP)
            weights = weights_of(site, study, study.privacy.trainable)
            for number in (1, 2):
                ask(site, study, "train", number, weights)
            spoil(site.config.state_dir / "ledger.sqlite", name)
            parts = ask(site, study, "train", 3, weights)
            if code_of(parts) != ErrorCode.LEDGER_STOPPED:
                seen.append(f"{name}: {' and '.join(parts)}")
    return Finding(
        "ledger_stopped, nothing else leaves", "; ".join(seen) or "ledger_stopped, 4 of 4", not seen
    )


def spoil(path: Path, how: str) -> None:
    """Do to the file what somebody with write access to it can do."""
    if how == "the file deleted":
        path.unlink()
        return
    with closing(sqlite3.connect(path)) as database, database:
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        first = {"the last two rows dropped": 2, "all rows dropped": 0}
        if how in first:
            database.execute("DELETE FROM replies WHERE seq > ?", (first[how],))
            database.execute("DELETE FROM rows WHERE seq > ?", (first[how],))
        else:
            database.execute("UPDATE rows SET mechanism = replace(mechanism, '4.0', '400.0') WHERE seq = 1")


def code_of(parts: dict[str, bytes]) -> str | None:
    """Return the code of an error answer; None for any other."""
    return decode_release(parts["error"]).fields.code if set(parts) == {"error"} else None


def capped(room: Room) -> Finding:
    """Ask for one round after another under a small cap: the last answer stays under it by another library too."""
    study = studied(room)
    cap = {"epsilon": 1.02 * epsilon_of(study, 2, 1)["train"] + 0.02, "delta": study.privacy.delta}
    answered = 0
    with room.scratch() as scratch:
        site = room.site(scratch / "state", cap=cap)
        weights = weights_of(site, study, study.privacy.trainable)
        for number in range(1, 5):
            parts = ask(site, study, "train", number, weights)
            answered += "update" in parts
        code = code_of(parts)
    reached = epsilon_of(study, answered, 1)["train"] if answered else 0.0
    return Finding(
        f"at most the cap {cap['epsilon']:.3f}, then budget_spent", f"{reached:.3f} in {answered} answers, then {code}",
        0 < reached <= cap["epsilon"] and code == ErrorCode.BUDGET_SPENT,
    )  # fmt: skip


CHECKS = (
    Check("ledger, spend", "the ledger's epsilon is that of everything that was answered",
          "rounds and counts, added up by dp-accounting outside", spent),
    Check("ledger, cut", "a ledger that lost or changed rows is noticed",
          "rows dropped, all dropped, the file deleted, a row edited, by somebody who may write it", cut),
    Check("ledger, cap", "nothing leaves beyond the hospital's cap", "ask until refused", capped),
)  # fmt: skip
