"""Decisions of people, asked of the real application as a browser asks."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from server.dashboard.decisions import CHANGED, Decision, evidence_of, history
from server.dashboard.export.chai_xml import NAMESPACE
from server.store.append import append_own
from server.store.blobs import get_blob
from server.store.database import writing
from server.store.record_kinds import DocumentBody, FiguresBody, GateBody, StatementBody, StatusBody
from server.store.schema import RECORDS, SESSIONS
from server.store.verification.verify import verify
from tests.audit_records import Entry, running_study, small_study
from tests.dashboard_site import SMALL, Ask, Open, TestClient
from tests.membership_figures import drawn_membership

PAGE = f"/studies/{SMALL}/model"
ATTACKED = "Attacks on the released model were tried (membership inference)"


def evidence(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return evidence_of(connection, SMALL)


def told(engine: sa.Engine) -> tuple[Decision, ...]:
    with engine.connect() as connection:
        return history(connection, SMALL)


def token(client: TestClient) -> str:
    return client.get(PAGE).text.split('name="csrf" value="', 1)[1].split('"', 1)[0]


def say_view(client: TestClient, engine: sa.Engine, view: str = "accept") -> Any:
    return client.post(
        f"{PAGE}/view", data={"csrf": token(client), "view": view, "evidence": evidence(engine)}
    )


def decide(client: TestClient, engine: sa.Engine, action: str = "accept", **fields: str) -> Any:
    form = {
        "csrf": token(client),
        "action": action,
        "reason": "maps and figures agree",
        "evidence": evidence(engine),
    }
    return client.post(f"{PAGE}/decision", data=form | fields)


def without_statements() -> list[Entry]:
    return [entry for entry in small_study() if not isinstance(entry[0], StatementBody)]


def with_membership() -> list[Entry]:
    """Return the small study after membership inference was measured on its student."""
    found = drawn_membership("5" * 64, 600).model_dump(mode="json")
    return [*small_study(), (DocumentBody(name="membership", document=found), ())]


def without_statements_of_film() -> list[Entry]:
    return [
        entry
        for entry in small_study()
        if not (isinstance(entry[0], StatementBody) and entry[0].statement.site == "film")
    ]


def new_evidence(engine: sa.Engine) -> None:
    with writing(engine).begin() as connection:
        append_own(connection, "test", SMALL, FiguresBody(of="shortcut", figures=()))


def test_an_auditor_accepts_with_a_reason_on_the_evidence_shown(ask: Ask, engine: sa.Engine) -> None:
    """The decision is chained under the auditor's name, with the own view given before it."""
    client = ask("auditor")
    assert say_view(client, engine, "undecided").status_code == 303
    assert decide(client, engine).status_code == 303
    last = told(engine)[0]
    assert (last.person, last.action, last.own_view, last.evidence) == (
        "auditor", "accept", "undecided", evidence(engine),
    )  # fmt: skip
    with engine.connect() as connection:
        kinds = (
            connection.execute(sa.select(RECORDS.c.kind).where(RECORDS.c.source == "people")).scalars().all()
        )
    assert kinds[-2:] == ["opinion", "decision"]


def test_the_verdict_is_hidden_until_the_auditor_said_what_they_think(ask: Ask, engine: sa.Engine) -> None:
    """Before: neither sentence nor checks nor badge nor file; after: all of them. A viewer sees them at once."""
    client, file = ask("auditor"), f"/studies/{SMALL}/export.html"
    assert (client.get(file).status_code, ask("viewer").get(file).status_code) == (409, 200)
    before = client.get(PAGE).text
    assert "Accepted:" not in before
    assert "hidden until your own view" in before
    say_view(client, engine, "hold")
    assert "Accepted:" in client.get(PAGE).text
    assert client.get(file).status_code == 200
    assert "Accepted:" in ask("viewer").get(PAGE).text


def test_a_decision_before_the_own_view_is_refused(ask: Ask, engine: sa.Engine) -> None:
    """Nothing is stored, and the page says what comes first."""
    answer = decide(ask("auditor"), engine, "hold")
    assert answer.status_code == 409
    assert "Say first what you think" in answer.text
    assert told(engine) == ()


def test_evidence_that_changed_since_is_a_conflict_and_nothing_is_stored(ask: Ask, engine: sa.Engine) -> None:
    """A record between loading and sending gives 409 and the sentence; the page then asks for a fresh look."""
    client = ask("auditor")
    say_view(client, engine)
    shown = evidence(engine)
    new_evidence(engine)
    before = len(told(engine))
    answer = decide(client, engine, evidence=shown)
    assert answer.status_code == 409
    assert CHANGED in answer.text
    assert len(told(engine)) == before


@pytest.mark.parametrize(
    ("action", "reason", "said"), [("hold", "  ", "reason is empty"), ("", "why", "decision is")]
)
def test_a_gap_in_the_form_is_one_sentence(
    ask: Ask, engine: sa.Engine, action: str, reason: str, said: str
) -> None:
    """422, the field is named, nothing is stored."""
    client = ask("auditor")
    say_view(client, engine)
    answer = decide(client, engine, action, reason=reason)
    assert answer.status_code == 422
    assert said in answer.text
    assert not any(one.decides for one in told(engine))


def test_a_viewer_decides_nothing(ask: Ask, engine: sa.Engine) -> None:
    """The form is not there, and sending it is refused."""
    client = ask("viewer")
    assert 'name="action"' not in client.get(PAGE).text
    assert decide(client, engine, "hold").status_code == 403
    assert told(engine) == ()


def test_a_password_given_long_ago_is_asked_again(ask: Ask, engine: sa.Engine) -> None:
    """After five minutes the decision leads to the password, and nothing is stored."""
    client = ask("auditor")
    csrf = token(client)
    with writing(engine).begin() as connection:
        connection.execute(sa.update(SESSIONS).values(proved=datetime.now(UTC) - timedelta(minutes=6)))
    answer = client.post(
        f"{PAGE}/decision", data={"csrf": csrf, "action": "hold", "reason": "x", "evidence": evidence(engine)}
    )
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/account/prove")
    assert told(engine) == ()


def test_a_student_leaves_only_when_gate_and_person_accepted_it(ask: Ask, engine: sa.Engine) -> None:
    """403 with the reason before, the very bytes after, and 403 again once it is withdrawn."""
    client, file = ask("auditor"), f"{PAGE}/student.safetensors"
    assert client.get(file).status_code == 403
    say_view(client, engine)
    decide(client, engine)
    given = client.get(file)
    assert given.status_code == 200
    with engine.connect() as connection:
        kept = get_blob(connection, given.headers["etag"].strip('"'))
    assert kept is not None
    assert given.content == kept.content
    decide(client, engine, "withdraw")
    assert client.get(file).status_code == 403


def test_nobody_accepts_in_the_gates_place(ask: Ask, engine: sa.Engine) -> None:
    """A held student can be held or withdrawn, never accepted."""
    client = ask("auditor")
    held = next(body for body, _ in small_study("held") if isinstance(body, GateBody))
    with writing(engine).begin() as connection:
        append_own(connection, "test", SMALL, held)
    say_view(client, engine)
    answer = decide(client, engine)
    assert answer.status_code == 409
    assert "nobody may accept it" in answer.text
    assert decide(client, engine, "hold").status_code == 303


def test_the_own_view_can_be_switched_off(ask: Ask, app: FastAPI, engine: sa.Engine) -> None:
    """A house that does not want it sees the verdict at once, and decides without a view before it."""
    app.state.settings = replace(app.state.settings, own_view_first=False)
    client = ask("auditor")
    assert "Accepted:" in client.get(PAGE).text
    assert decide(client, engine).status_code == 303
    assert [(one.action, one.own_view) for one in told(engine)] == [("accept", "")]


def test_an_accepted_student_can_be_held_and_withdrawn_and_each_step_is_chained(
    ask: Ask, engine: sa.Engine
) -> None:
    """A person overrides the gate's yes, and takes back their own; the history shows all of it, newest first."""
    client = ask("auditor")
    say_view(client, engine)
    steps = ["accept", "hold", "accept", "withdraw"]
    for step in steps:
        assert decide(client, engine, step, reason=f"because of {step}").status_code == 303
    with engine.connect() as connection:
        bodies = connection.execute(
            sa.select(RECORDS.c.body).where(RECORDS.c.kind == "decision").order_by(RECORDS.c.seq)
        ).scalars()
        assert [json.loads(body)["action"] for body in bodies] == steps
    page = client.get(PAGE).text
    assert page.index("because of withdraw") < page.index("because of hold")
    assert verify(engine).findings == ()


def test_a_stopped_study_says_so_on_its_page(open_page: Open) -> None:
    """`rounds-hub study stop` leaves a record; what was stopped is neither running nor completed."""
    stopped = StatusBody(state="stopped", why="the coordinator stopped it")
    page = open_page([*running_study(3), (stopped, ())]).get(f"/studies/{SMALL}")
    assert re.search(r"<li><small>state</small>.*?stopped", page.text, re.DOTALL)
    assert "sse-connect" not in page.text


CARD = """BasicInfo(ModelName ModelDeveloper DeveloperContact)
ReleaseInfo(ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability EHRCompatibility? RegulatoryApproval?)
ModelSummary(Summary Keywords) Keywords(Keyword*)
UsesAndDirections(IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation
  CautionedOutOfScopeSettings)
Warnings(KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel)
TrustIngredients(AISystemFacts TransparencyInformation)
AISystemFacts(OutcomesAndOutputs ModelType FoundationModels? InputDataSource OutputAndInputDataTypes
  DevelopmentDataCharacterization BiasMitigationApproaches OngoingMaintenance Security? Transparency?)
TransparencyInformation(FundingSource ThirdPartyInformation? StakeholdersConsulted)
KeyMetrics(UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability)
UsefulnessUsabilityEfficacy(MetricGoal Results Interpretation TestType TestingDataDescription
  ValidationProcessAndJustification)
FairnessEquity(MetricGoal Results Interpretation TestType TestingDataDescription ValidationProcessAndJustification)
SafetyReliability(MetricGoal Results Interpretation TestType TestingDataDescription ValidationProcessAndJustification)
Results(MetricResult+) MetricResult(Label ValueJson)
Resources(EvaluationReferences? ClinicalTrial? PeerReviewedPublications ReimbursementStatus? PatientConsentOrDisclosure)
"""  # what CHAI's v0.2/schema.xsd allows below each element, in order; an element that is not here holds text alone


def test_every_part_of_the_card_is_one_that_the_schema_allows(ask: Ask) -> None:
    """Names, order and number of all elements on all levels, and no text where elements belong."""
    allowed = dict(re.findall(r"(\w+)\(([^)]*)\)", CARD))
    root = ET.fromstring(ask("viewer").get(f"{PAGE}/card.xml").text)  # noqa: S314 - made by this very software
    seen = set()
    for parent in root.iter():
        name = parent.tag.removeprefix(f"{{{NAMESPACE}}}")
        inside = "".join(f"<{child.tag.removeprefix(f'{{{NAMESPACE}}}')}>" for child in parent)
        assert not parent.attrib
        if name in allowed:
            pattern = re.sub(r"(\w+)([?*+]?)\s*", r"(?:<\1>)\2", allowed[name])
            assert re.fullmatch(pattern, inside), (name, inside)
            assert not (parent.text or "").strip()
            seen.add(name)
        else:
            assert inside == "" or name == "AppliedModelCard", name
    assert seen == set(allowed)


def test_the_card_is_json_as_the_run_wrote_it(ask: Ask) -> None:
    """The same fields as in the record, none left out."""
    written = next(body.document for body, _ in small_study() if getattr(body, "name", "") == "model_card")
    assert ask("viewer").get(f"{PAGE}/card.json").json() == written


@pytest.mark.parametrize(
    ("entries", "absent"),
    [
        (small_study, {"A person decided, on this very evidence", ATTACKED}),
        (with_membership, {"A person decided, on this very evidence"}),
        (running_study, {
            "A person decided, on this very evidence", "The artefact was checked before release",
            "The artefact is identified by a digest", ATTACKED,
        }),
        (without_statements_of_film, {
            "A person decided, on this very evidence", "Privacy loss is bounded and stated by each site",
            "The accounts follow each other without a gap", ATTACKED,
        }),
        (without_statements, {
            "A person decided, on this very evidence", "Privacy loss is bounded and stated by each site",
            "The accounts follow each other without a gap", ATTACKED,
        }),
    ],
)  # fmt: skip
def test_each_output_control_leads_to_what_shows_it_or_is_absent(
    open_page: Open, entries: Callable[[], list[Entry]], absent: set[str]
) -> None:
    """SATRE 3.3.07: each line links to a place that exists, or is absent and says what is missing."""
    client = open_page(entries())
    table = client.get(PAGE).text.partition('id="controls"')[2].partition("</table>")[0]
    lines = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', table, re.DOTALL)
    assert len(lines) == 9
    assert {name for name, state, _ in lines if "absent" in state} == absent
    for name, state, shown in lines:
        link = re.fullmatch(r'<a href="([^"#]*)(?:#([^"]*))?">(.+)</a>', shown)
        assert (link is None) == ("absent" in state), name
        if link is None:
            assert len(shown) > 10
        else:
            page = client.get(link[1])
            assert page.status_code == 200
            assert not link[2] or f'id="{link[2]}"' in page.text, shown


def test_the_card_is_complete_xml_in_the_order_of_the_schema(ask: Ask) -> None:
    """Every required part of CHAI's v0.2 is there, in order, and nothing is empty."""
    answer = ask("viewer").get(f"{PAGE}/card.xml")
    assert answer.status_code == 200
    root = ET.fromstring(answer.text)  # noqa: S314 - made by this very software
    assert root.tag == f"{{{NAMESPACE}}}AppliedModelCard"
    assert [one.tag.split("}")[1] for one in root] == [
        "BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings", "TrustIngredients", "KeyMetrics",
        "Resources", "Bibliography",
    ]  # fmt: skip
    leaves = [one for one in root.iter() if not len(one) and not one.tag.endswith("Keywords")]
    assert all(one.text and one.text.strip() for one in leaves)
