"""The rules in force, and their application to one claim."""

from __future__ import annotations

from collections.abc import Callable
from decimal import localcontext
from typing import Final

from fhir_server.operations.claim_rules.card import card
from fhir_server.operations.claim_rules.duplicate import duplicate
from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding
from fhir_server.operations.claim_rules.line_arithmetic import line_arithmetic
from fhir_server.operations.claim_rules.sums import sums
from fhir_server.operations.claim_rules.two_places import two_places
from mappings.xml130.arithmetic import EXACT

Rule = Callable[[ClaimFacts, Evidence], list[Finding]]

RULES: Final[dict[str, Rule]] = {
    "G01": duplicate,
    "G04": card,
    "G07": two_places,
    "G18": line_arithmetic,
    "G19": sums,
}


def adjudicate(claim: ClaimFacts, evidence: Evidence) -> list[Finding]:
    """Return all findings of all rules: of the whole claim and of its lines."""
    with localcontext(EXACT):
        return [finding for rule in RULES.values() for finding in rule(claim, evidence)]
