"""Output control, item by item: which technical controls come before a model artefact may leave (SATRE 3.3.07).

In: what the store holds. Out: one line for each control: present with a link to the record it rests on, or absent with
what is missing. Nothing is claimed on the reader's behalf that no record shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from server.dashboard.decisions import Decision
from server.presentation.privacy_label import missing_fields
from shared.config.kinds import ReleaseKind
from shared.messages.release_kinds import LedgerStatement


@dataclass(frozen=True)
class Control:
    """One control; `link` is relative to the study's page, '' where it is absent."""

    name: str
    state: str  # present, absent, does not apply
    shown: str
    link: str


@dataclass(frozen=True)
class Facts:
    """What the controls are judged by."""

    private: bool
    clip: str
    statements: Mapping[str, LedgerStatement | None]
    heads_lost: int
    other_code: Sequence[str]
    kinds: Sequence[str]
    verdict: str
    has_maps: bool
    attacked: bool
    decisions: Sequence[Decision]
    evidence: str
    weights: str | None


def output_controls(facts: Facts) -> tuple[Control, ...]:
    """Answer each control from the store."""
    gaps = [site for site, one in facts.statements.items() if missing_fields(one, facts.clip)]
    labelled = bool(facts.statements) and not gaps
    stated = bool(facts.statements) and None not in facts.statements.values()
    last = next((one for one in facts.decisions if one.decides), None)
    bound = last is not None and last.evidence == facts.evidence
    declared = get_args(ReleaseKind)
    foreign = [kind for kind in facts.kinds if kind not in declared]
    present = [
        _control(
            "Privacy loss is bounded and stated by each site", labelled if facts.private else None,
            "every site's ledger states its complete label", f"not stated in full: {', '.join(gaps) or 'no statement'}",
            "privacy#label",
        ),
        _control(
            "The accounts follow each other without a gap", stated and facts.heads_lost == 0,
            "each ledger head follows the one remembered", "a ledger was restored or cut, or none was stated",
            "privacy#sites",
        ),
        _control(
            "Sites ran the code of the study", not facts.other_code if facts.statements or facts.kinds else False,
            "all sites enrolled with the study's code digest",
            f"other code at {', '.join(facts.other_code) or 'unknown'}",
            "sites#health",
        ),
        _control(
            "Only declared kinds of release left the sites", bool(facts.kinds) and not foreign,
            f"kinds seen: {', '.join(facts.kinds)}", "no release is recorded", "privacy#kinds",
        ),
        _control(
            "The artefact was checked before release", facts.verdict in {"accepted", "held"},
            f"the gate's verdict: {facts.verdict}", "the gate has not judged it", "model#gate",
        ),
        _control(
            "What the artefact looks at was inspected", facts.has_maps,
            "explanation maps are in the store", "no map was measured", "explanations",
        ),
        _control(
            "A person decided, on this very evidence", bound,
            f"{last.person} ({last.role}): {last.action}" if last else "",
            "the last decision rests on other evidence" if last else "nobody has decided", "model#decision",
        ),
        _control(
            "The artefact is identified by a digest", facts.weights is not None,
            f"SHA-256 {(facts.weights or '')[:16]}", "no weights are in the store", "model#facts",
        ),
        _control(
            "Attacks on the released model were tried (membership inference)", facts.attacked,
            "membership inference was measured", "membership inference was not measured", "privacy#membership",
        ),
    ]  # fmt: skip
    return tuple(present)


def _control(name: str, holds: bool | None, shown: str, missing: str, link: str) -> Control:
    if holds is None:
        return Control(name, "does not apply", "the study ran without privacy and claims nothing", link)
    return Control(name, "present", shown, link) if holds else Control(name, "absent", missing, "")
