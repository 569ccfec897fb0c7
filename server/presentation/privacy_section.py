"""What may be said of a study's privacy: the claim with its strength, its limits, and the label of all sites.

In: what each site's ledger stated. Out: sentences and rows, the same on report, model card and dashboard.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from server.presentation.formatting import NOT_STATED, shown
from server.presentation.privacy_label import label_fields
from server.presentation.privacy_statements import (
    CLAIM,
    IN_KEPT_SIMULATION,
    IN_SIMULATION,
    LATE_REPLIES,
    LEDGER_WITHOUT_PRIVACY,
    NOT_COVERED,
    STATED_BY_SOME,
    UNCONFIRMED,
    WITHOUT_PRIVACY,
)
from shared.messages.release_kinds import KEPT_SIMULATION, THIS_RUN_ALONE, LedgerStatement


@dataclass(frozen=True)
class Field:
    """One field of the label: what all sites say alike, or each site's own words."""

    name: str
    common: str | None
    by_site: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """The complete label of some sites; what all say alike is said once."""

    sites: tuple[str, ...]
    fields: tuple[Field, ...]

    @property
    def common(self) -> list[tuple[str, str]]:
        """(field, words) that all sites state alike."""
        return [(field.name, field.common) for field in self.fields if field.common is not None]

    @property
    def differing(self) -> list[str]:
        """Names of the fields in which sites differ."""
        return [field.name for field in self.fields if field.common is None]

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """(site, its words for each differing field)."""
        columns = [field.by_site for field in self.fields if field.common is None]
        return [(site, [column[place] for column in columns]) for place, site in enumerate(self.sites)]


def no_guarantee(epsilon: Mapping[str, float | None], *, private: bool) -> str | None:
    """Say that no guarantee holds and by which of the two ways it came to that; None where one does.

    `epsilon` holds what each site's ledger states, None for a site at which no guarantee holds.
    """
    if not private:
        return WITHOUT_PRIVACY
    open_ended = sorted(site for site, spent in epsilon.items() if spent is None)
    return LEDGER_WITHOUT_PRIVACY.format(sites=" and ".join(open_ended)) if open_ended else None


def claim(epsilon: Mapping[str, float | None], silent: Collection[str], *, private: bool) -> str:
    """Give the claim with the strength that the ledgers support; `silent` sites let no statement out."""
    if (none := no_guarantee(epsilon, private=private)) is not None:
        return none
    if not epsilon:
        return f"{UNCONFIRMED} {CLAIM}"
    if silent:
        said = STATED_BY_SOME.format(stated=", ".join(sorted(epsilon)), silent=", ".join(sorted(silent)))
        return f"{said} {CLAIM}"
    return CLAIM


def not_covered(
    statements: Mapping[str, LedgerStatement], epsilon: Mapping[str, float | None], *, private: bool
) -> tuple[str, ...]:
    """List what the claim leaves out, or that there is none."""
    spans = {one.span for one in statements.values()}
    simulated = {THIS_RUN_ALONE: IN_SIMULATION, KEPT_SIMULATION: IN_KEPT_SIMULATION}
    told = tuple(words for span, words in simulated.items() if span in spans)
    none = no_guarantee(epsilon, private=private)
    return (*told, *NOT_COVERED, LATE_REPLIES) if none is None else (*told, none)


def spent_words(epsilon: float | None, stale_since: int | None) -> str:
    """Say what a site stated to have spent; `stale_since` is the round of a statement that is not its last answer."""
    if epsilon is None:
        return "no guarantee"
    return shown(epsilon) + ("" if stale_since is None else f" as of round {stale_since}, may be more")


def label_of(
    sites: Collection[str], statements: Mapping[str, LedgerStatement], spent: Mapping[str, str], clip: str
) -> Label:
    """Return the label; a site without a statement has 'not stated' everywhere, without any there are no fields.

    `spent` holds each site's epsilon in words, `clip` is the study's.
    """
    columns = {site: label_fields(one, clip, spent[site]) for site, one in statements.items()}
    fields = []
    for name in next(iter(columns.values()), {}):
        cells = tuple(columns[site][name] if site in columns else NOT_STATED for site in sites)
        fields.append(Field(name, cells[0] if len(set(cells)) == 1 else None, cells))
    return Label(tuple(sites), tuple(fields))
