"""What a caller may see: a value made from the principal; silence means no.

The table is auth/README.md; a test compares the two. What a caller may write of what it may
touch is `auth.writes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from auth import writes
from auth.criteria import AnyOf, Anything, Criteria, InPatientCompartment, Matching, Tagged
from auth.needs import Needs
from auth.principal import Principal
from auth.scopes import Letter, Level, allows
from auth.writes import COMPARTMENT, FACILITY_WRITES
from fhir_server.model import identifiers

NOTHING: Final = AnyOf(())
"""Shows nothing, and is no refusal."""

INTERACTIONS: Final[dict[str, Letter]] = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "search-type": "s",
    "history-type": "s",
    "search-system": "s",
    "history-system": "s",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
    # The server's own: what a log-in looks at, and leaves as it was.
    "login": "r",
}
"""The letter of a SMART scope that an interaction needs."""

OPERATIONS: Final[dict[str, Letter]] = {
    "$health-book": "r",
    "$access-history": "r",
    "$everything": "r",
    "$summary": "r",
    # A check reads claims; the ClaimResponse is the server's own note of what it found.
    "$check": "r",
    "$submit": "c",
    "$match": "s",
}
"""The letter that an operation needs; of one that is not here, `r`."""

ASYNCHRONOUS: Final = frozenset({"job-status", "job-output", "job-cancel"})
"""What is asked of an asynchronous request once it is begun: https://hl7.org/fhir/R4/async.html"""

OPEN: Final = frozenset({"Location", "Medication", "Organization", "Practitioner"})
"""Types that say nothing of a patient, which a citizen may read."""

NAMED_BY_CLAIM: Final = frozenset({
    "Condition", "Encounter", "MedicationRequest", "Organization", "Patient", "Practitioner",
    "Procedure",
})  # fmt: skip
"""Types that a payer sees as far as a claim of its own insured names them."""

PAYER_QUERIES: Final[Mapping[str, str]] = {
    "Coverage": "",
    "Claim": "coverage.",
    "ClaimResponse": "request:Claim.coverage.",
    "CoverageEligibilityRequest": "coverage.",
    "CoverageEligibilityResponse": "coverage.",
} | dict.fromkeys(NAMED_BY_CLAIM, "_has:Claim:names:coverage.")
"""All that a payer may ever see (contract 6), and how its type leads to the Coverage.

`Claim.coverage`, `Claim.names` and `CoverageEligibilityRequest.coverage` are the project's own
search parameters. Every other type is 403.
"""

PAYER_MASKS: Final = frozenset({"hiv", "record"})
"""What payers do not see of what a claim names; `interactions.redact` says how."""

PAYER_OPERATIONS: Final = frozenset({
    ("$check", "Claim"),
    ("$submit", "Claim"),
    ("$submit", "CoverageEligibilityRequest"),
})  # fmt: skip
CITIZEN_OPERATIONS: Final = frozenset({
    ("$access-history", "Patient"),
    ("$everything", "Patient"),
    ("$health-book", "Patient"),
    ("$summary", "Patient"),
})  # fmt: skip

_READS: Final = frozenset({"read", "vread", "history-instance", "search-type", "search-system"})


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What one caller may see and do.

    Attributes:
        links: Ids of the RelatedPersons that are verified links of this citizen now.
    """

    principal: Principal
    links: tuple[str, ...] = ()

    def narrow(self, interaction: str, resource_type: str | None) -> Criteria | None:
        """Return which resources of a type an interaction may touch; None is 403.

        For update, patch and delete these are the current resources that may be changed.
        """
        principal = self.principal
        if principal.kind == "citizen" and principal.level < LEVEL:
            return None
        if interaction == "capabilities":
            return Anything()
        if interaction in {"transaction", "batch"}:
            # The Bundle's entries are asked for one by one.
            return Anything() if principal.scopes else None
        if interaction in ASYNCHRONOUS:
            # Whoever began an asynchronous request, and nobody else, finds it.
            return Anything() if principal.scopes else None
        if interaction in {"submit", "submission-read"}:
            return self._submission(interaction)
        if interaction == "$validate":
            # Who may create a resource may ask what would be found in it; nothing is shown.
            return self.narrow("create", resource_type)
        letter = INTERACTIONS.get(interaction) or OPERATIONS.get(interaction)
        if letter is None and not interaction.startswith("$"):
            return None
        if not self._scope_allows(letter or "r", resource_type):
            return None
        return _RIGHTS[principal.kind](self, interaction, resource_type)

    def check_write(
        self,
        interaction: str,
        resource: Mapping[str, Any],
        *,
        conditional: bool = False,
        before: Mapping[str, Any] | None = None,
        base_url: str = "",
    ) -> tuple[Needs, ...]:
        """Return what else must be so for the caller to write this content.

        Args:
            interaction: create, update or patch.
            resource: The resource as it would be.
            conditional: A create with If-None-Exist or `ifNoneExist`.
            before: The resource as it is; None where it is made.
            base_url: The FHIR base: absolute references below it are our own resources.

        Raises:
            Forbidden: The content alone is not this caller's to write.
        """
        return writes.check(
            self.principal,
            interaction,
            resource,
            conditional=conditional,
            before=before,
            base_url=base_url,
        )

    def may_change(self, resource_type: str, tags: frozenset[str]) -> bool:
        """Return whether the caller may change a resource that `narrow` shows for update.

        Args:
            resource_type: Its type.
            tags: The store's tags of it: who submitted, and who wrote it.
        """
        return writes.may_change(self.principal, resource_type, tags)

    @property
    def shares(self) -> bool:
        """Whether the caller makes what others need too (`auth.facility.SHARED`), but no twice."""
        return bool(self.principal.tag)

    @property
    def chooses_ids(self) -> bool:
        """Whether an update of an id never used makes the resource."""
        return self.principal.kind == "system"

    @property
    def masks(self) -> frozenset[str]:
        """What is masked in what the caller sees.

        `hiv`: ICD-10 B20-B24, Z21 and table XML6; `record`: what a claim does not need.
        """
        return PAYER_MASKS if self.principal.kind == "payer" else frozenset()

    @property
    def facility(self) -> str:
        """The facility that the caller is or acts for, which sees of no other where one was."""
        return self.principal.tag.removeprefix("facility/")

    def _scope_allows(self, letter: Letter, resource_type: str | None) -> bool:
        level = _LEVELS.get(self.principal.kind, "system")
        return allows(self.principal.scopes, level, letter, resource_type or "*")

    def _submission(self, interaction: str) -> Criteria | None:
        """Submitting, and reading the receipts, needs a scope that covers `system/Bundle.c`."""
        letters: tuple[Letter, ...] = ("c",) if interaction == "submit" else ("c", "r")
        if not any(self._scope_allows(letter, "Bundle") for letter in letters):
            return None
        if self.principal.kind == "system":
            return Anything()
        return Tagged(self.principal.tag) if self.principal.tag else None


LEVEL: Final = 2
"""The authentication level that the book needs (NĐ 69/2024: a level-2 account)."""

_LEVELS: Final[dict[str, Level]] = {"citizen": "patient", "practitioner": "user"}


@lru_cache(maxsize=4096)
def policy_for(principal: Principal, *, links: tuple[str, ...] = ()) -> AccessPolicy:
    """Return what this caller may see and do.

    Args:
        principal: Who calls.
        links: Ids of the RelatedPersons that are verified links of this citizen now.
    """
    return AccessPolicy(principal, links)


def _system(policy: AccessPolicy, interaction: str, resource_type: str | None) -> Criteria | None:
    del policy, interaction, resource_type
    return Anything()


def _auditor(policy: AccessPolicy, interaction: str, resource_type: str | None) -> Criteria | None:
    del policy
    return Anything() if resource_type == "AuditEvent" and interaction in _READS else None


def _facility(policy: AccessPolicy, interaction: str, resource_type: str | None) -> Criteria | None:
    own = Tagged(policy.principal.tag)
    if resource_type is None or resource_type == "AuditEvent":
        return None
    if interaction in _READS:
        return Anything() if resource_type == "Organization" else own
    if resource_type not in FACILITY_WRITES:
        return None
    if interaction == "create":
        return Anything()
    return own if interaction in {"update", "patch"} else None


def _payer(policy: AccessPolicy, interaction: str, resource_type: str | None) -> Criteria | None:
    path = PAYER_QUERIES.get(resource_type or "")
    if path is None:
        return None
    if interaction not in _READS and (interaction, resource_type) not in PAYER_OPERATIONS:
        return None
    if policy.principal.private:
        # Luật 91/2025/QH15, điều 26: nothing without the person's written request.
        return NOTHING
    return _of_insured(path, policy.principal.code)


def _of_insured(path: str, code: str) -> Criteria:
    """A Coverage names its payor by identifier, or by the Organization that has it."""
    payer = f"{identifiers.PAYER}|{code}"
    return AnyOf((
        Matching(f"{path}payor:identifier={payer}"),
        Matching(f"{path}payor:Organization.identifier={payer}"),
    ))


def _citizen(policy: AccessPolicy, interaction: str, resource_type: str | None) -> Criteria | None:
    patient_id = policy.principal.patient_id
    if (interaction, resource_type) in CITIZEN_OPERATIONS:
        return Matching(f"_id={patient_id}")
    if interaction in _READS and resource_type is not None:
        return _citizen_reads(policy, resource_type)
    if resource_type == "Consent" and interaction == "create":
        return Anything()
    if resource_type == "Consent" and interaction in {"update", "patch", "delete"}:
        return InPatientCompartment(patient_id)
    return None


def _citizen_reads(policy: AccessPolicy, resource_type: str) -> Criteria | None:
    patient_id = policy.principal.patient_id
    if resource_type == "Patient":
        # Not the compartment: Patient.link would bring in one that is kept apart.
        return Matching(f"_id={patient_id}")
    own = InPatientCompartment(patient_id)
    if resource_type == "RelatedPerson" and policy.links:
        return AnyOf((own, Matching(f"_id={','.join(policy.links)}")))
    if resource_type in COMPARTMENT:
        return own
    return Anything() if resource_type in OPEN else None


_RIGHTS: Final[dict[str, Callable[[AccessPolicy, str, str | None], Criteria | None]]] = {
    "system": _system,
    "facility": _facility,
    "practitioner": _facility,
    "payer": _payer,
    "auditor": _auditor,
    "citizen": _citizen,
}
