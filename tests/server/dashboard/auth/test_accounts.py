from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from server.cli.program import app as commands
from server.dashboard.auth import accounts as people
from server.dashboard.auth.passwords import fits
from server.store.database import open_store, writing
from server.store.schema import ACCOUNTS, RECORDS, SESSIONS, TOKENS
from tests.dashboard_site import PASSWORD, Ask, TestClient, chained, give_password, log_in, token_of

SHOWN = 'class="secret">'


def send(client: TestClient, what: str, **fields: str) -> tuple[int, str]:
    """Send a form of the page People; returns status and text."""
    answer = client.post(f"/people/{what}", data={"csrf": token_of(client)} | fields)
    return answer.status_code, answer.text


def make_stale(engine: sa.Engine) -> None:
    """Let the password of all sessions have been given six minutes ago."""
    with writing(engine).begin() as connection:
        proved = datetime.now(UTC) - timedelta(minutes=6)
        connection.execute(sa.update(SESSIONS).values(proved=proved))


def role_of(engine: sa.Engine, name: str) -> str:
    with engine.connect() as connection:
        return people.account(connection, name).role


def test_a_new_person_chooses_a_password_before_anything_else(ask: Ask, engine: sa.Engine) -> None:
    """The coordinator is shown a one-time password; it opens the page for a new one, and then works no more."""
    _, page = send(ask("coordinator"), "add", name="Ines  Okafor", role="auditor")
    once = page.partition(SHOWN)[2].partition("<")[0]
    client = ask()
    log_in(client, "Ines Okafor", once)
    assert client.get("/studies").headers["location"] == "/account/password?next=/studies"
    form = {"csrf": token_of(client, "/account/password"), "old": once, "new": PASSWORD, "again": PASSWORD}
    assert client.post("/account/password", data=form).status_code == 303
    assert client.get("/studies").status_code == 200
    assert log_in(ask(), "Ines Okafor", once).status_code == 401
    assert log_in(ask(), "Ines Okafor", PASSWORD).status_code == 303
    said = [(one.person, one.what, one.by) for one in chained(engine)]
    assert ("Ines Okafor", "got an account as auditor", "coordinator") in said
    assert ("Ines Okafor", "chose a password", "") in said


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"old": "wrong" * 4}, "is not the right one"),
        ({"again": "seven otters cross the river"}, "in two ways"),
        ({"new": "too short", "again": "too short"}, "at least 15"),
        ({"new": PASSWORD, "again": PASSWORD}, "is the present one"),
    ],
)
def test_a_password_that_will_not_do_is_refused_in_a_sentence(
    ask: Ask, engine: sa.Engine, fields: dict[str, str], why: str
) -> None:
    """The page says why, and the present password stays."""
    give_password(engine, "viewer")
    client, new = ask("viewer"), "eight otters cross the bridge"
    form = {"csrf": token_of(client), "old": PASSWORD, "new": new, "again": new} | fields
    answer = client.post("/account/password", data=form)
    assert answer.status_code == 422
    assert why in answer.text
    assert log_in(ask(), "viewer").status_code == 303


def test_a_new_password_ends_all_other_sessions(ask: Ask, engine: sa.Engine) -> None:
    """Who changes a password because it was seen closes what was opened with it."""
    give_password(engine, "viewer")
    client, other, new = ask("viewer"), ask("viewer"), "eight otters cross the bridge"
    client.post(
        "/account/password", data={"csrf": token_of(client), "old": PASSWORD, "new": new, "again": new}
    )
    assert client.get("/studies").status_code == 200
    assert other.get("/studies").status_code == 303


@pytest.mark.parametrize(
    ("what", "fields", "said"),
    [
        ("role", {"role": "viewer"}, "is viewer now, was auditor"),
        ("disable", {}, "was disabled"),
        ("reset", {}, "got a new one-time password"),
    ],
)
def test_a_change_of_an_account_ends_its_sessions_and_is_chained(
    ask: Ask, engine: sa.Engine, what: str, fields: dict[str, str], said: str
) -> None:
    """A role, a disabled account and a new password count at once, under the coordinator's name."""
    theirs, client = ask("auditor"), ask("coordinator")
    assert theirs.get("/studies").status_code == 200
    assert send(client, what, name="auditor", **fields)[0] in {200, 303}
    assert theirs.get("/studies").status_code == 303
    assert [(one.person, one.what, one.by) for one in chained(engine)] == [("auditor", said, "coordinator")]


def test_a_disabled_person_can_be_enabled_again(ask: Ask, engine: sa.Engine) -> None:
    """The account and its password were kept."""
    give_password(engine, "auditor")
    client = ask("coordinator")
    send(client, "disable", name="auditor")
    assert log_in(ask(), "auditor").status_code == 401
    send(client, "enable", name="auditor")
    assert log_in(ask(), "auditor").status_code == 303


@pytest.mark.parametrize(("what", "fields"), [("disable", {}), ("role", {"role": "viewer"})])
def test_the_last_coordinator_stays(ask: Ask, engine: sa.Engine, what: str, fields: dict[str, str]) -> None:
    """Nobody could make another one."""
    status, page = send(ask("coordinator"), what, name="coordinator", **fields)
    assert status == 422
    assert "only coordinator" in page
    assert role_of(engine, "coordinator") == "coordinator"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "AUDITOR", "role": "viewer"}, "has an account already"),
        ({"name": "", "role": "viewer"}, "printable characters"),
        ({"name": "x" * 101, "role": "viewer"}, "printable characters"),
        ({"name": "Ines", "role": "owner"}, "allowed are viewer, auditor, coordinator"),
    ],
)
def test_an_account_that_cannot_be_is_refused_in_a_sentence(
    ask: Ask, engine: sa.Engine, fields: dict[str, str], why: str
) -> None:
    """The page says why and nothing is made."""
    status, page = send(ask("coordinator"), "add", **fields)
    assert (status, why in page) == (422, True)
    assert chained(engine) == []


def test_a_change_asks_for_the_password_again_after_five_minutes(ask: Ask, engine: sa.Engine) -> None:
    """A session that was left open changes no account; once the password was given, it does."""
    give_password(engine, "coordinator")
    client = ask("coordinator")
    make_stale(engine)
    answer = client.post("/people/disable", data={"csrf": token_of(client), "name": "auditor"})
    assert answer.headers["location"] == "/account/prove?next=/people"
    assert chained(engine) == []
    proof = {"csrf": token_of(client), "password": PASSWORD, "next": "/people"}
    assert client.post("/account/prove", data=proof).headers["location"] == "/people"
    assert send(client, "disable", name="auditor")[0] == 303
    assert [one.what for one in chained(engine)] == ["gave the password again", "was disabled"]


def test_a_wrong_proof_is_counted_as_a_wrong_login(ask: Ask, engine: sa.Engine) -> None:
    """An open session is no way around the throttle."""
    give_password(engine, "coordinator")
    client = ask("coordinator")
    form = {"csrf": token_of(client), "password": "wrong" * 4}
    codes = [client.post("/account/prove", data=form).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    assert log_in(ask(), "coordinator").status_code == 429


def test_a_change_and_its_record_are_one_transaction(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the record cannot be written, the account is not changed either."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(people, "append_own", broken)
    with pytest.raises(RuntimeError), writing(engine).begin() as connection:
        people.change_role(connection, "auditor", "viewer", "coordinator")
    assert role_of(engine, "auditor") == "auditor"


def test_the_first_start_makes_one_coordinator_with_a_password_of_its_own(tmp_path: Path) -> None:
    """Two stores get two passwords; a store with an account gets none; nothing else can log in."""
    made = []
    for name in ("one", "two"):
        store = open_store(tmp_path / f"{name}.sqlite")
        with writing(store).begin() as connection:
            assert people.accounts(connection) == []
            assert connection.execute(sa.select(TOKENS)).all() == []
            made.append(people.first_administrator(connection))
            assert people.first_administrator(connection) is None
            assert [(one.name, one.role, one.must_change) for one in people.accounts(connection)] == [
                ("admin", "coordinator", True)
            ]
        store.dispose()
    assert made[0] != made[1]
    assert None not in made


def rounds_hub(*words: object) -> Result:
    return CliRunner().invoke(commands, [str(word) for word in words])


def test_the_operator_looks_after_accounts_at_the_terminal(tmp_path: Path, engine: sa.Engine) -> None:
    """Add, give a role, reset, disable, enable and list; each is chained as the operator's."""
    store = ("--store", tmp_path / "store.sqlite")
    added = rounds_hub("people", "add", "Ines Okafor", "--role", "auditor", *store)
    assert added.exit_code == 0, added.output
    once = added.output.split()[-1]
    with engine.connect() as connection:
        assert fits(people.password_hash(connection, "Ines Okafor") or "", once)
    assert rounds_hub("people", "role", "Ines Okafor", "coordinator", *store).exit_code == 0
    assert once != rounds_hub("people", "reset", "Ines Okafor", *store).output.split()[-1]
    assert rounds_hub("people", "disable", "Ines Okafor", *store).exit_code == 0
    listed = rounds_hub("people", "list", *store).output
    assert [line.split()[2:4] for line in listed.splitlines() if line.startswith("Ines")] == [
        ["coordinator", "disabled"]
    ]
    assert rounds_hub("people", "enable", "Ines Okafor", *store).exit_code == 0
    assert {one.by for one in chained(engine)} == {"the operator's terminal"}
    assert len(chained(engine)) == 5


def test_a_mistake_at_the_terminal_is_one_sentence(tmp_path: Path, engine: sa.Engine) -> None:
    """An unknown person, an unknown role and a store that is not there."""
    store = tmp_path / "store.sqlite"
    for words, why in (
        (("people", "role", "nobody", "viewer", "--store", store), "has no account"),
        (("people", "add", "Ines", "--role", "owner", "--store", store), "allowed are viewer"),
        (("people", "list", "--store", tmp_path / "no.sqlite"), "no such file"),
    ):
        done = rounds_hub(*words)
        assert done.exit_code == 1
        assert why in done.output
        assert done.output.count("\n") == 1
    assert chained(engine) == []


def test_tokens_are_made_listed_and_revoked_at_the_terminal(tmp_path: Path, engine: sa.Engine) -> None:
    """A token is printed once; two live ones of one name are refused; both steps are chained."""
    store = ("--store", tmp_path / "store.sqlite")
    said = rounds_hub("token", "new", "monitoring", "--days", 30, *store).output.split()[-1]
    assert said.startswith("rounds_")
    assert "there is a live one" in rounds_hub("token", "new", "monitoring", *store).output
    listed = rounds_hub("token", "list", *store).output
    assert "live" in listed
    assert said not in listed
    assert rounds_hub("token", "revoke", "monitoring", *store).exit_code == 0
    assert "revoked" in rounds_hub("token", "list", *store).output
    assert [(one.person, one.what) for one in chained(engine)] == [
        ("token monitoring", "was made for 30 days"),
        ("token monitoring", "was revoked"),
    ]


def test_no_record_holds_a_secret(ask: Ask, engine: sa.Engine) -> None:
    """Neither a password, nor its hash, nor a session's cookie or token stands in the chain."""
    give_password(engine, "auditor")
    client = ask()
    log_in(client, "auditor")
    token = token_of(client)
    log_in(ask(), "auditor", "seven otters cross the river")
    with engine.connect() as connection:
        chain = repr(connection.execute(sa.select(RECORDS).where(RECORDS.c.source == "people")).all())
        secrets = [
            *connection.execute(sa.select(ACCOUNTS.c.password).where(ACCOUNTS.c.password != "")).scalars(),
            *connection.execute(sa.select(SESSIONS.c.token)).scalars(),
        ]
    for secret in (PASSWORD, "seven otters cross the river", client.cookies["rounds"], token, *secrets):
        assert secret not in chain
