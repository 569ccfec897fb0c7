"""All checks by name, in the order in which the table shows them."""

from tests.privacy import (
    check_answers,
    check_audit,
    check_coins,
    check_company,
    check_ledger,
    check_noise,
    check_sensitivity,
)

MODULES = (
    check_sensitivity,
    check_company,
    check_noise,
    check_coins,
    check_audit,
    check_ledger,
    check_answers,
)
CHECKS = {check.name: check for module in MODULES for check in module.CHECKS}
