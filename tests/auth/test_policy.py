"""Who may see what: principals x types x interactions, against the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import auth
from auth.criteria import AnyOf, Anything, InPatientCompartment, Matching, Tagged
from auth.policy import INTERACTIONS, NOTHING, PAYER_QUERIES, policy_for
from auth.principal import SYSTEM, Principal
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.identifiers import PAYER
from fhir_server.search.query import parse_criteria
from tests.auth import access_table
from tests.auth.access_table import AUDITOR, BHXH, CHILD, HOSPITAL, LEVEL_1, MOTHER, PRIVATE

README = (Path(next(iter(auth.__path__))) / "README.md").read_text(encoding="utf-8")
ALL_INTERACTIONS = [
    *INTERACTIONS,
    "transaction",
    "batch",
    "submit",
    "submission-read",
    "job-status",
    "job-output",
    "job-cancel",
    "$check",
    "$submit",
    "$health-book",
    "$everything",
    "$unheard-of",
]


@pytest.mark.parametrize("lines", [access_table.table(), access_table.operations_table()])
def test_the_readme_says_what_the_code_does(lines: list[list[str]]) -> None:
    """The tables of auth/README.md are those that the policy gives."""
    assert access_table.as_markdown(lines) in README


def test_every_type_stands_in_one_row() -> None:
    """The table leaves no resource type out, and names none twice."""
    named = [name for types in access_table.ROWS.values() for name in types]

    assert sorted(named) == sorted(RESOURCE_TYPES)


@pytest.mark.parametrize("interaction", ALL_INTERACTIONS)
@pytest.mark.parametrize("resource_type", [None, "Patient", "Claim", "Consent"])
def test_a_level_1_account_may_nothing(interaction: str, resource_type: str | None) -> None:
    """Below level 2 everything is refused, `metadata` too."""
    policy = policy_for(LEVEL_1)

    assert policy.narrow(interaction, resource_type) is None
    assert policy.narrow("capabilities", None) is None


@pytest.mark.parametrize(
    "principal", [MOTHER, CHILD, HOSPITAL, BHXH, PRIVATE, AUDITOR], ids=lambda p: p.client_id
)
@pytest.mark.parametrize(
    "interaction", ["$unheard-of", "history-system", "history-type", "delete-all", ""]
)
def test_what_is_not_foreseen_is_refused(principal: Principal, interaction: str) -> None:
    """Silence means no, of interactions, operations and types."""
    policy = policy_for(principal)

    assert policy.narrow(interaction, "Patient") is None
    assert policy.narrow("read", "NoSuchType") in {None, Tagged("facility/01999")}
    assert policy.narrow("search-system", None) is None


@pytest.mark.parametrize(
    "principal", [MOTHER, HOSPITAL, BHXH, AUDITOR, SYSTEM], ids=lambda p: p.kind
)
@pytest.mark.parametrize("interaction", ALL_INTERACTIONS)
def test_without_scopes_nothing_is_granted(principal: Principal, interaction: str) -> None:
    """A token that holds no resource scope opens nothing."""
    bare = Principal(
        principal.kind,
        principal.client_id,
        principal.code,
        principal.patient_id,
        level=principal.level,
        scopes=(),
    )

    for resource_type in ("Patient", "Claim", "Consent", "AuditEvent", "Bundle", None):
        assert policy_for(bare).narrow(interaction, resource_type) is None


@given(
    st.sampled_from([MOTHER, CHILD, HOSPITAL, BHXH, PRIVATE, AUDITOR, SYSTEM]),
    st.sampled_from(ALL_INTERACTIONS),
    st.sampled_from(["Patient", "Claim", "Consent", "AuditEvent", "Observation", "Organization"]),
    st.sets(
        st.sampled_from([
            "patient/*.r",
            "patient/Consent.c",
            "system/*.rs",
            "system/Claim.r",
            "system/Bundle.c",
            "openid",
            "system/*.cruds",
        ])
    ),
)
def test_fewer_scopes_never_show_more(
    principal: Principal, interaction: str, resource_type: str, scopes: set[str]
) -> None:
    """With fewer scopes a caller gets what it had, or is refused; never something else."""
    narrower = Principal(
        principal.kind,
        principal.client_id,
        principal.code,
        principal.patient_id,
        level=principal.level,
        scopes=tuple(scopes),
        private=principal.private,
    )
    level = "patient" if principal.kind == "citizen" else "system"
    widest = Principal(
        principal.kind,
        principal.client_id,
        principal.code,
        principal.patient_id,
        level=principal.level,
        scopes=(f"{level}/*.cruds",),
        private=principal.private,
    )

    got = policy_for(narrower).narrow(interaction, resource_type)

    assert got is None or got == policy_for(widest).narrow(interaction, resource_type)


def test_scopes_of_another_level_open_nothing() -> None:
    """A `user/` or `system/` scope does nothing for a citizen, nor `patient/` for a system."""
    citizen = Principal(
        "citizen", "a", patient_id="p", level=2, scopes=("system/*.cruds", "user/*.cruds")
    )
    hospital = Principal("facility", "h", code="01999", scopes=("patient/*.cruds",))

    assert policy_for(citizen).narrow("read", "Patient") is None
    assert policy_for(hospital).narrow("read", "Patient") is None


def test_a_citizen_sees_the_one_patient_and_the_verified_links() -> None:
    """The own Patient by id, not by compartment; the links to the children by id."""
    policy = policy_for(MOTHER, links=("l1", "l2"))

    assert policy.narrow("search-type", "Patient") == Matching("_id=mother")
    assert policy.narrow("search-type", "RelatedPerson") == AnyOf((
        InPatientCompartment("mother"),
        Matching("_id=l1,l2"),
    ))
    assert policy_for(MOTHER).narrow("read", "RelatedPerson") == InPatientCompartment("mother")


def test_every_criterion_of_a_payer_is_a_search_that_is_understood() -> None:
    """Each `Matching` of a payer parses, and asks for the payer."""
    for resource_type in PAYER_QUERIES:
        criteria = policy_for(BHXH).narrow("read", resource_type)
        assert isinstance(criteria, AnyOf)
        for part in criteria.criteria:
            assert isinstance(part, Matching)
            assert PAYER in repr(parse_criteria(resource_type, part.query))


def test_a_private_insurer_sees_nothing_of_types_it_may_ask_for() -> None:
    """Without consent a search is empty, not refused; other types are refused."""
    assert policy_for(PRIVATE).narrow("search-type", "Claim") == NOTHING
    assert policy_for(PRIVATE).narrow("search-type", "Observation") is None


def test_payers_see_what_a_claim_needs() -> None:
    """HIV data, and what a claim does not need, is masked for payers alone."""
    assert policy_for(BHXH).masks == policy_for(PRIVATE).masks == {"hiv", "record"}
    assert policy_for(HOSPITAL).masks == policy_for(MOTHER).masks == frozenset()


def test_system_alone_chooses_ids() -> None:
    """Update as create is the system's."""
    assert policy_for(SYSTEM).chooses_ids
    assert not any(policy_for(p).chooses_ids for p in (MOTHER, HOSPITAL, BHXH, AUDITOR))


def test_submitting_needs_a_scope_that_covers_bundle_c() -> None:
    """`system/Bundle.c` or wider submits; `system/*.rs` does not."""
    for scopes, is_granted in (
        (("system/Bundle.c",), True),
        (("system/*.c",), True),
        (("system/*.rs",), False),
        (("system/Patient.cruds",), False),
        (("user/Bundle.c",), False),
    ):
        hospital = Principal("facility", "h", code="01999", scopes=scopes)
        criteria = policy_for(hospital).narrow("submit", None)
        assert criteria == (Tagged("facility/01999") if is_granted else None)


def test_a_bundle_is_let_in_for_its_entries_to_be_asked() -> None:
    """Transaction and batch are granted to whoever holds scopes; the entries decide."""
    assert policy_for(HOSPITAL).narrow("transaction", None) == Anything()
    assert policy_for(MOTHER).narrow("batch", None) == Anything()
