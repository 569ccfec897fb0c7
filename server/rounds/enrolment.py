"""Who takes part: asks every connected node to enrol, and maps nodes to the names hospitals gave.

A site that does not enrol is only known not to; why stays at the site. Where node keys were admitted under a name, a
site may enrol under that name alone, so that no hospital answers in another's place.
"""

from collections.abc import Mapping

from server.rounds.exchange import Answer, Exchange
from server.runs.enrolled_site import EnrolledSite
from server.runs.run_folder import RunFolder
from shared.code_digest import code_digest
from shared.config.study import StudyConfig
from shared.config.study_rules import sites_needed
from shared.errors import RoundsError, StudyError
from shared.messages.refusal_meanings import NO_ANSWER
from shared.messages.releases import EnrolmentRelease, ErrorRelease, decode_release
from shared.messages.requests import Request, RequestHeader, encode_request
from shared.models.arrays import arrays_digest


def enrol_sites(
    study: StudyConfig, study_uid: str, exchange: Exchange, folder: RunFolder
) -> tuple[EnrolledSite, ...]:
    """Enrol every connected site, in name order; `StudyError` when fewer do than min_sites, or than a round needs."""
    rules = study.federation
    field, needed = sites_needed(rules)
    nodes = exchange.wait_for_nodes(needed, rules.enrolment_seconds)
    header = RequestHeader(
        study_uid=study_uid,
        round=0,
        kind="enrol",
        study_json=study.canonical_json(),
        base_digest=arrays_digest({}),
        code_digest=code_digest(),
    )
    payload = encode_request(Request(header, {}))
    enrolled: dict[str, EnrolledSite] = {}
    admitted = exchange.admitted_names()
    silent = set(nodes)
    answers = exchange.ask(
        "enrol",
        dict.fromkeys(nodes, payload),
        rules.enrolment_seconds,
        enough=lambda: len(enrolled) >= needed,
    )
    for answer in answers:
        if answer.asked_again:
            folder.record_event("asked_again", round=0, kind="enrol", **_who(answer.node_id, admitted))
            continue
        silent.discard(answer.node_id)
        try:
            site = _read(answer, study)
            if site.name != admitted.get(site.node_id, site.name):
                raise StudyError(
                    f"site {site.name}: its node key was admitted as {admitted[site.node_id]!r}; correct name in its "
                    "site.yaml"
                )
            if site.name in enrolled:
                raise StudyError(f"site {site.name}: two nodes enrol under this name; give each its own")
        except RoundsError as error:
            folder.record_event("not_enrolled", **_who(answer.node_id, admitted), why=str(error))
            continue
        enrolled[site.name] = site
        folder.record_event("enrolled", site=site.name, declared_patients=site.declared_patients)
    for node in sorted(silent):
        folder.record_event("not_enrolled", **_who(node, admitted), why=NO_ANSWER)
    if len(enrolled) < needed:
        raise StudyError(
            f"{field} is {needed}: {len(enrolled)} of {len(nodes)} connected sites enrolled; "
            "see events.jsonl here and `rounds-site check` at the sites"
        )
    return tuple(enrolled[name] for name in sorted(enrolled))


def _who(node: int, admitted: Mapping[int, str]) -> dict[str, str]:
    """Name a node as the coordinator knows it: by the name its key was admitted under, else by its number."""
    return {"site": admitted[node]} if node in admitted else {"node": str(node)}


def _read(answer: Answer, study: StudyConfig) -> EnrolledSite:
    if answer.parts is None:
        raise StudyError(answer.failure)
    if "error" in answer.parts:
        refused = decode_release(answer.parts["error"], kinds=("error",)).fields
        raise StudyError(
            f"answered {refused.code if isinstance(refused, ErrorRelease) else 'nothing usable'}"
        )
    body = decode_release(answer.parts.get("enrolment", b""), kinds=("enrolment",)).fields
    if not isinstance(body, EnrolmentRelease):
        raise StudyError("sent no enrolment")
    if body.study_digest != study.digest():
        raise StudyError(f"site {body.site}: accepted another study")
    if body.code_digest != code_digest():
        raise StudyError(
            f"site {body.site}: runs code {body.code_digest[:12]}, the hub runs {code_digest()[:12]}; "
            "give both the same version (in simulation, start the SuperLink outside the app's folder)"
        )
    return EnrolledSite(body.site, answer.node_id, body.declared_patients, body.versions, answer.num_bytes)
