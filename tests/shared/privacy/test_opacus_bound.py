"""Our way of asking Opacus gives what Opacus's own accountants give, and an overflow is an error or no bound at all."""

import math
import warnings
from importlib.machinery import ModuleSpec

import pytest
from opacus.accountants import PRVAccountant, RDPAccountant

from shared.privacy import opacus_formulas
from shared.privacy.opacus_bound import _ORDERS, Row, prv_bound, rdp_bound

DELTA, EPS_ERROR = 1e-5, 0.01
HISTORIES: list[list[Row]] = [
    [(1.0, 0.1, 48)],
    [(0.7, 0.5, 12)],
    [(4.0, 1.0, 4)],
    [(2.5, 0.02, 1_000)],
    [(1.1, 0.08, 48), (6.0, 1.0, 3)],
]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("bound", ["prv", "rdp"])
def test_the_bound_is_opacus_own(history: list[Row], bound: str) -> None:
    """Epsilon is that of the library's accountant on the same history, to the rounding of a float."""
    library = PRVAccountant() if bound == "prv" else RDPAccountant()
    library.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library says by warnings what ours says by errors
        theirs = (
            library.get_epsilon(DELTA, eps_error=EPS_ERROR) if bound == "prv" else library.get_epsilon(DELTA)
        )
    ours = prv_bound(history, DELTA, EPS_ERROR) if bound == "prv" else rdp_bound(history, DELTA)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_what_overflows_is_no_figure() -> None:
    """At a noise that no number holds the one bound is infinite and the other an error, never a small epsilon."""
    assert rdp_bound([(1e-200, 0.5, 10)], DELTA) == math.inf
    with pytest.raises(ArithmeticError):
        prv_bound([(1e-200, 0.5, 10)], DELTA, EPS_ERROR)


@pytest.mark.parametrize("found", [None, ModuleSpec("opacus", None)])
def test_without_opacus_its_name_is_said(found: ModuleSpec | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is not there, or of which nothing but a folder is left, is missing by its own name."""
    monkeypatch.setattr(opacus_formulas, "_NAME", "nothing_is_loaded_under_this_name")
    monkeypatch.setattr(opacus_formulas, "find_spec", lambda _: found)
    with pytest.raises(ModuleNotFoundError, match="opacus"):
        opacus_formulas.formulas("rdp")


def test_orders_are_opacus_own() -> None:
    """Rényi differential privacy is looked at where Opacus looks."""
    assert _ORDERS.tolist() == pytest.approx(RDPAccountant.DEFAULT_ALPHAS, rel=1e-15)
