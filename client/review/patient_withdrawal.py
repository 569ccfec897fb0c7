"""A patient's withdrawal: purge what is stored here, leave the patient out for good, and say what cannot be undone.

In: the identifier as the hospital's data has it. Out: sentences for the person at the hospital. The record and the
sentences hold no identifier; nothing leaves.
"""

from collections.abc import Iterator

from client.ledger.ledger import Ledger
from client.site.patient_partitions import remove_patient, was_seen
from client.site.site import Site
from client.site.withdrawn_patients import forgotten_name, id_in_data, key_mark
from shared.config.kinds import Partition
from shared.errors import ConfigError


def is_known(site: Site, patient_id: str) -> bool:
    """Tell whether somebody under this identifier took part here, or was forgotten before; writes nothing but a key."""
    site.config.state_dir.mkdir(parents=True, exist_ok=True)
    key, known_as = site.key(), id_in_data(site.config, patient_id)
    if was_seen(site.config.state_dir / "partitions.sqlite", key, known_as):
        return True
    return site.approvals().last("patient", forgotten_name(key, known_as)) is not None


def forget_patient(site: Site, patient_id: str) -> Iterator[str]:
    """Forget a patient and yield what was done and what stays; a second time only purges again.

    The exclusion is recorded before anything is purged: a crash in between leaves the patient out already.
    """
    if not patient_id.strip():
        raise ConfigError("PATIENT_ID is empty; give the identifier as the data has it")
    site.config.state_dir.mkdir(parents=True, exist_ok=True)
    key, known_as = site.key(), id_in_data(site.config, patient_id)
    name = forgotten_name(key, known_as)
    before = site.approvals()
    after = before.decide("patient", "forget", name, key_mark=key_mark(key))
    entry = after.last("patient", name)
    number = 0 if entry is None else entry.number
    yield f"recorded as decision {number}, without the identifier: the patient is left out of every later round"
    num_purged = site.purge_targets()
    yield f"purged: {num_purged} cached sets of targets"
    part = remove_patient(site.config.state_dir / "partitions.sqlite", key, known_as)
    if part is not None:
        yield f"purged: the patient's place among the {part} patients; no other patient's place changes"
    elif after is before:
        yield "this patient had been forgotten before"
    else:
        yield (
            "nobody under this identifier has been seen in a round here; check it against the data, for an "
            "identifier with another spelling is another patient to this program"
        )
    yield from _what_stays(site, part)


def _what_stays(site: Site, part: Partition | None) -> Iterator[str]:
    path = site.config.state_dir / "ledger.sqlite"
    if path.is_file():
        with Ledger.open(path, site.config.head_file) as ledger:
            stated = ledger.statement(site.config.cap.delta, site=site.config.name, span="all runs")
        spent = [one for one in stated.partitions if one.mechanisms and part in {None, one.partition}]
        for one in spent:
            bound = "no bound holds" if one.epsilon is None else f"epsilon {one.epsilon:.4g}"
            yield (
                f"cannot be undone: updates already released, in which {one.partition} patients took part; what they "
                f"tell of any one of them is bounded by {bound} at delta {stated.delta:g}, which stays spent"
            )
    yield "cannot be undone: copies of those releases at the hub and in this site's ledger, and students made of them"
    yield "not done here: the hospital's own images, tables and backups; remove the patient there as well"
