"""What is still missing until a site takes part, whose turn it is, and one sentence on what to do.

In: what is known of one site and of the hub. Out: what lacks, in the order of deploy/README.md; the first is
the next step. Pure: the command line and the dashboard say the same because both ask here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from server.connections.site_answers import ACCEPTED, SiteAnswer
from shared.errors import ErrorCode
from shared.messages.refusal_meanings import CODE_REFUSED, Turn, code_of, meaning_of, refusal_sentence

Word = Literal["yes", "no", "not said"]
Standing = Literal["invited", "admitted", "removed"]
ONLINE, OFFLINE, NEVER_CAME, NOT_REGISTERED, NOT_KNOWN = (
    "online", "offline", "never came", "not registered", "not known",
)  # fmt: skip
_LACKING: Final = {
    ErrorCode.STUDY_NOT_APPROVED: "approval of the study",
    ErrorCode.CODE_NOT_APPROVED: "approval of the app bundle",
    ErrorCode.NOT_READY: "data",
}


@dataclass(frozen=True)
class Known:
    """What a site chose to say of one thing, and by what."""

    word: Word = "not said"
    how: str = ""


@dataclass(frozen=True)
class SiteFacts:
    """What the hub knows of one site; `since` is when it was invited, admitted or removed."""

    site: str
    standing: Standing
    since: datetime
    connection: str = ""
    last_seen: datetime | None = None
    code: Known = Known()
    study: Known = Known()
    data: Known = Known()
    answer: SiteAnswer | None = None
    is_back: bool = False  # removed, and admitted again with other keys


@dataclass(frozen=True)
class Situation:
    """What holds for all sites: the newest bundle ('' for none), the newest study ('' for none) and its state."""

    hub_serves: bool
    bundle: str = ""
    study: str = ""
    study_state: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the study has come to its good end."""
        return self.study_state == "completed"


@dataclass(frozen=True)
class Lack:
    """One thing that is missing: `what` in a word or two, whose `turn` it is, and a sentence on what they do."""

    what: str
    turn: Turn
    sentence: str


def lacks(facts: SiteFacts, at: Situation) -> list[Lack]:
    """Return all that is missing until this site takes part, the next step first."""
    if facts.standing == "removed":
        return []
    if facts.standing == "invited":
        sentence = (
            f"It joins with FEDERATION.json and sends {facts.site}.pub; then `rounds-hub admit "
            f"{facts.site}.pub`, and both read out their words."
        )
        return [Lack("admission", "hospital", sentence)]
    return [*_code(facts, at), *_connection(facts, at), *_study(facts, at)]


def nothing_to_do(facts: SiteFacts, at: Situation) -> str:
    """Say why there is nothing to do for a site that lacks nothing."""
    if facts.standing == "removed":
        again = "it is back with new keys" if facts.is_back else "it may come back with a new node key"
        return f"Nothing to do: it was removed, {again}."
    if at.is_over:
        return f"Nothing to do: {at.study} is completed, and it took part."
    stage = "" if facts.answer is None else f", last in {facts.answer.stage}"
    return f"Nothing to do: it takes part in {at.study}{stage}."


def _code(facts: SiteFacts, at: Situation) -> Iterator[Lack]:
    if not at.bundle:
        sentence = (
            "Offer the study and its code with `rounds-hub study offer`, and send the file to the hospitals."
        )
        yield Lack("app bundle", "hub", sentence)
    elif facts.code.word != "yes":
        sentence = (
            f"It looks at bundle {at.bundle} and approves it, with the hub's parcel by `rounds-site study take`, and "
            f"sends {facts.site}.answer.json; then `rounds-hub study accept`."
        )
        yield Lack("approval of the app bundle", "hospital", sentence)


def _connection(facts: SiteFacts, at: Situation) -> Iterator[Lack]:
    if not at.hub_serves:
        yield Lack("running hub", "hub", "Start the hub with `rounds-hub serve`; then sites can connect.")
    elif facts.connection == NOT_REGISTERED:
        sentence = "The SuperLink does not know its key; tell it with `rounds-hub register`."
        yield Lack("registration", "hub", sentence)
    elif facts.connection in {NEVER_CAME, OFFLINE}:
        how = "has never connected" if facts.connection == NEVER_CAME else "is not connected"
        sentence = (
            f"It {how}: the hospital starts `rounds-site run site.yaml`; `rounds-site check` there says what is in the "
            "way."
        )
        yield Lack("connection", "hospital", sentence)


def _study(facts: SiteFacts, at: Situation) -> Iterator[Lack]:
    answer = facts.answer
    if answer is not None and answer.outcome != ACCEPTED and not at.is_over:
        yield _refused(facts, at, answer)
    elif not at.study and facts.study.word == "yes":
        yield Lack("study", "hub", "It has approved the study; submit it with `rounds-hub study submit`.")
    elif not at.study:
        yield Lack("study", "hub", "No study was submitted yet; `rounds-hub study submit WORKSPACE` does it.")
    elif answer is None or answer.round is None:
        yield _unasked(at)
    elif at.study_state in {"failed", "stopped"}:
        sentence = (
            f"{at.study} is {at.study_state}: see `rounds-hub study status`, then `rounds-hub study resume`."
        )
        yield Lack("running study", "hub", sentence)


def _unasked(at: Situation) -> Lack:
    if at.is_over:
        return Lack("answer", "hub", f"It took no part in {at.study}; a next study asks it again.")
    if at.study_state in {"failed", "stopped"}:
        sentence = f"{at.study} is {at.study_state} without an answer of it; resume it with `rounds-hub study resume`."
        return Lack("answer", "hub", sentence)
    return Lack("answer", "nobody", f"Wait: {at.study} asks it as soon as enough sites are connected.")


def _refused(facts: SiteFacts, at: Situation, answer: SiteAnswer) -> Lack:
    """Say what a refusal asks for; what the hospital has mended since is for the hub to ask again."""
    code, meaning = code_of(answer.outcome), meaning_of(answer.outcome)
    is_mended = (code == ErrorCode.STUDY_NOT_APPROVED and facts.study.word == "yes") or (
        (code == ErrorCode.CODE_NOT_APPROVED or answer.outcome == CODE_REFUSED) and facts.code.word == "yes"
    )
    if is_mended:
        sentence = f"It has approved since; ask it again with `rounds-hub study resume {at.study}`."
        return Lack("answer", "hub", sentence)
    what = "answer" if code is None else _LACKING.get(code, "answer")
    turn: Turn = "hub" if meaning is None else meaning.turn
    return Lack(what, turn, f"In {answer.stage}: {refusal_sentence(answer.outcome).rstrip('.')}.")
