"""Whether and what a site answers says nothing of one patient, and a request is answered once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from client.rounds.egress import Door
from client.site.site import Site
from shared.config.study import StudyConfig
from shared.errors import ErrorCode, Refusal, RoundsError
from shared.messages.releases import decode_release
from shared.models.arrays import Arrays
from tests.phi import where_found
from tests.privacy.check_ledger import CAP, code_of, rows_in
from tests.privacy.room import DISAGREES, SITE, Room, ask, less, rows_of, weights_of, write_rows
from tests.privacy.table import Check, Finding

Rows = list[dict[str, str]]


def _changed(field: str, value: str, which: int = -1) -> Callable[[Rows, Path], None]:
    def change(mine: Rows, _folder: Path) -> None:
        mine[which][field] = value

    return change


def _broken_file(mine: Rows, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    mine[0]["file"] = str(folder / "broken.png")


def _no_identifier(mine: Rows, _folder: Path) -> None:
    for row in mine:
        row["patient_id"] = ""


BAD_RECORDS: dict[str, Callable[[Rows, Path], None]] = {
    "misspelt label": _changed("label", "opactiy"),
    "two splits": _changed("split", "val"),
    "unknown split": _changed("split", "Train"),
    "two sites": _changed("site", "children"),
    "no identifier": _no_identifier,
    "file missing": _changed("file", "gone.png", 0),
    "file broken": _broken_file,
}


def kind_of(parts: dict[str, bytes]) -> str:
    """Name an answer's parts, or its code."""
    return code_of(parts) or " + ".join(parts)


def records(room: Room) -> Finding:
    """Spoil one patient's record after enrolment, in each way, and ask for a round and for counts."""
    study = room.study("supervised")
    differ = []
    with room.scratch() as scratch:
        answers: dict[str, tuple[str, ...]] = {}
        for number, (name, spoil) in enumerate({"nothing": None, **BAD_RECORDS}.items()):
            folder = scratch / str(number)
            folder.mkdir()
            enrolled = room.site(folder / "state", cap=CAP)
            weights = weights_of(enrolled, study, study.privacy.trainable)
            ask(enrolled, study, "enrol", 0, {})
            rows = rows_of(room.manifest)
            mine = [row for row in rows if row["patient_id"] == DISAGREES]
            if spoil is not None:
                spoil(mine, folder)
            spoilt = write_rows(folder / "spoilt.csv", rows)
            site = room.site(folder / "state", spoilt, cap=CAP)
            kinds = ("train", "evaluate")
            answers[name] = tuple(kind_of(ask(site, study, kind, 1, weights)) for kind in kinds)
            if answers[name] != answers["nothing"]:
                differ.append(f"{name}: {' and '.join(answers[name])}")
    return Finding(
        "the same kind of answer: " + " and ".join(answers["nothing"]),
        "; ".join(differ) or f"the same for {len(BAD_RECORDS)} of {len(BAD_RECORDS)} bad records",
        not differ and all("error" not in one for one in answers["nothing"]),
    )


def asked_again(room: Room) -> Finding:
    """Repeat requests; with noise of size 100 a second draw could not look like the first."""
    study = room.study("supervised", privacy={"noise_multiplier": 100.0})
    different = []
    with room.scratch() as scratch:
        site = room.site(scratch / "state", cap=CAP)
        weights = weights_of(site, study, study.privacy.trainable)
        for kind, part in (("train", "update"), ("evaluate", "evaluation")):
            replies = [ask(site, study, kind, 1, weights) for _ in range(3)]
            if not all(part in one for one in replies) or len({one[part] for one in replies}) > 1:
                different.append(f"{kind}: {', '.join(kind_of(one) for one in replies)}, not the same bytes")
        rows = len(rows_in(site))
    return Finding(
        "the same bytes three times, four rows", "; ".join(different) or f"the same bytes, {rows} rows",
        not different and rows == 4,
    )  # fmt: skip


@contextmanager
def door_that_refuses_once() -> Iterator[list[str]]:
    """Refuse the first update at the door, as one does whose noise was out of range: after noise was drawn."""
    original, refused = Door.let_out, []

    def let_out(self: Door, release, expected_arrays=None):
        if release.kind == "update" and not refused:
            refused.append(release.kind)
            raise Refusal(ErrorCode.FAILED, "update: kept in")
        return original(self, release, expected_arrays)

    Door.let_out = let_out  # type: ignore[method-assign]
    try:
        yield refused
    finally:
        Door.let_out = original  # type: ignore[method-assign]


def failed(room: Room) -> Finding:
    """Let an answer fail after its noise was drawn, then ask again: a hub must not get draws for free."""
    study = room.study("supervised")
    with room.scratch() as scratch:
        site = room.site(scratch / "state", cap=CAP)
        weights = weights_of(site, study, study.privacy.trainable)
        with door_that_refuses_once() as refused:
            replies = [ask(site, study, "train", 1, weights) for _ in range(3)]
        commits = [row.kind for row in rows_in(site)].count("commit")
    kinds = [kind_of(one) for one in replies]
    same = len({tuple(sorted(one.items())) for one in replies}) == 1
    return Finding(
        "the failure is committed and sent again as it is", f"{', '.join(kinds)}; {commits} commit rows",
        bool(refused) and same and commits == 1,
    )  # fmt: skip


def asked_in_every_way(site: Site, study: StudyConfig, weights: Arrays) -> Iterator[dict[str, bytes]]:
    """Yield answers to requests of each kind, good and bad."""
    yield ask(site, study, "enrol", 0, {})
    for kind in ("train", "evaluate"):
        yield ask(site, study, kind, 1, weights)
        yield ask(site, study, kind, 1, {name: value + 1 for name, value in weights.items()})
        yield ask(site, study, kind, 2, {name: value * 1e30 for name, value in weights.items()})
    yield ask(site, study, "train", 10_000, weights)


def texts(room: Room) -> Finding:
    """Plant names in folders, files, identifiers and labels, let the site answer and fail, and search what leaves."""
    study = room.study("supervised")
    planted = ["Zacharias", "Quendelbach", "XQ-77-1204", "sonderbar"]
    sent: dict[str, bytes] = {}
    with room.scratch() as scratch:
        folder = scratch / planted[0]
        folder.mkdir()
        rows = rows_of(room.manifest)
        mine = [row for row in rows if row["patient_id"] == DISAGREES]
        for number, row in enumerate(mine):
            picture = folder / f"{planted[1]}-{number}.png"
            picture.write_bytes(Path(row["file"]).read_bytes())
            row |= {"patient_id": planted[2], "file": str(picture)}
        good = write_rows(folder / "patients.csv", rows)
        mine[-1]["label"] = planted[3]
        bad = write_rows(folder / "misspelt.csv", rows)
        for name, source in (("good", good), ("bad", bad), ("gone", folder / "nowhere.csv")):
            site = room.site(scratch / name, source, cap=CAP)
            weights = weights_of(site, study, study.privacy.trainable)
            for number, parts in enumerate(asked_in_every_way(site, study, weights)):
                sent |= {f"{name} {number} {part}": data for part, data in parts.items()}
    named = [*planted, str(room.folder), "Traceback", "patients.csv", "nowhere.csv", f"{SITE}-train-"]
    found = where_found(named, sent)
    shapes = {name: value.shape for name, value in weights.items()}
    undeclared = [place for place in sent if not is_declared(place.split()[-1], sent[place], shapes)]
    problems = [f"{value} in {place}" for place, value in found]
    problems += [f"{place} is no declared release" for place in undeclared]
    return Finding(
        "nothing found, declared releases only",
        "; ".join(problems[:3]) or f"nothing in {len(sent)} parts, {sum(map(len, sent.values()))} bytes",
        not problems,
    )


PARTS: dict[str, Mapping[str, tuple[int, ...]] | None] = {
    "enrolment": None, "evaluation": {"confusion": (2, 2)}, "ledger_statement": None, "error": None,
}  # fmt: skip


def is_declared(part: str, data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Say whether bytes are a declared release in its canonical form, so that nothing travels beside it."""
    try:
        decode_release(data, (PARTS | {"update": shapes})[part])
    except (KeyError, RoundsError):
        return False
    return True


def counts(room: Room) -> Finding:
    """Two hospitals that differ in how many patients they have, and in nothing that they declare, answer alike."""
    study = room.study("supervised")
    differ = []
    with room.scratch() as scratch:
        gone = [f"{SITE}-train-{number:05d}" for number in range(2, 9)] + [f"{SITE}-val-00000"]
        small = less(room.manifest, scratch / "small.csv", *gone)
        sites = [room.site(scratch / "large", cap=CAP), room.site(scratch / "small", small, cap=CAP)]
        weights = weights_of(sites[0], study, study.privacy.trainable)
        shapes = {name: value.shape for name, value in weights.items()}
        for kind, number in (("enrol", 0), ("train", 1), ("evaluate", 1)):
            parts = [ask(site, study, kind, number, weights if number else {}) for site in sites]
            for part in {*parts[0], *parts[1]}:
                both = [public(one.get(part, b""), shapes) for one in parts]
                if both[0] != both[1]:
                    differ.append(f"{kind}: {part} differs")
    return Finding("the same but for noised arrays", "; ".join(differ) or "the same", not differ)


def public(data: bytes, shapes: dict[str, tuple[int, ...]]) -> str:
    """Return everything of a release but its noised arrays' values and the ledger's own hash over them."""
    for expected in (shapes, {"confusion": (2, 2)}, None):
        try:
            release = decode_release(data, expected)
        except Exception:  # noqa: BLE001, S112 - not of this form
            continue
        fields = release.fields.model_dump(mode="json") | {"head_hash": None}
        return str(
            (
                release.study_uid,
                release.round,
                fields,
                sorted((n, a.shape) for n, a in release.arrays.items()),
            )
        )
    return f"undeclared {data!r}"


CHECKS = (
    Check("answers, bad record", "one patient's record changes neither kind nor code of an answer",
          f"{', '.join(BAD_RECORDS)}: after enrolment", records),
    Check("answers, asked again", "the same request gets the same bytes and costs once", "ask three times",
          asked_again),
    Check("answers, failed", "noise that was drawn for a failed answer is not drawn again",
          "the door refuses an update, then the hub asks twice more", failed),
    Check("answers, texts", "no path, identifier, label or exception's text leaves",
          "names planted in folders, files, identifiers and labels; requests that fail in each way", texts),
    Check("answers, counts", "no count of patients leaves",
          "two hospitals that differ in their number of patients alone", counts),
)  # fmt: skip
