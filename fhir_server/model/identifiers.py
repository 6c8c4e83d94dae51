"""The identifier systems we know, one constant each, and the project's own namespace."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

SID: Final = "http://fhir.hl7.org.vn/core/sid"

CCCD: Final = f"{SID}/cccd"
"""The citizen's 12-digit number (số định danh cá nhân), printed on the căn cước card."""

BHYT: Final = f"{SID}/bhyt"
"""The health-insurance card's code: 15 characters, or 10 digits on cards since 01/04/2021."""

BHXH: Final = f"{SID}/bhxh"
"""The ten-digit social-insurance number, the end of a 15-character card code."""

MA_CSKCB: Final = f"{SID}/ma-cskcb"
"""The facility's five-character code (QĐ 384/QĐ-BYT 2019)."""

CCHN: Final = f"{SID}/cchn"
"""The practitioner's licence number (chứng chỉ hành nghề)."""

MA_LK: Final = f"{SID}/ma-lk"
"""A visit; the value is `MA_CSKCB|MA_LK`."""

PAYER: Final = f"{SID}/payer"
"""A payer: `BHXH` is the social insurer."""

CMND: Final = f"{SID}/cmnd"
"""The old nine-digit identity card."""

PASSPORT: Final = f"{SID}/passport"
"""A Vietnamese passport: a capital and seven digits."""

PAPER: Final = f"{SID}/paper"
"""Any other paper of a person: a foreign passport, an e-ID account code."""

DRAFT: Final = "http://fhir.ehealth.gov.vn/core/sid"

_NAMED_ALIKE: Final = (
    CCCD, BHYT, BHXH, MA_CSKCB, CCHN, MA_LK, PAYER, CMND, PASSPORT, PAPER,
)  # fmt: skip

DRAFT_SYSTEMS: Final[dict[str, str]] = {
    # Contract 7: the draft's systems are accepted, so every name of ours under its base too.
    **{DRAFT + system.removeprefix(SID): system for system in _NAMED_ALIKE},
    # The draft's "citizen_id" is the old identity card, its "national_id" the 12-digit number;
    # they are taken for one another, so that a value's shape decides (`meanings`).
    f"{DRAFT}/citizen_id": CMND,
    f"{DRAFT}/national_id": CCCD,
    f"{DRAFT}/insurance_number": BHYT,
    f"{DRAFT}/passport_number": PASSPORT,
    f"{DRAFT}/provider-license-number": MA_CSKCB,
    f"{DRAFT}/provider-medical-license-number": CCHN,
}
"""The Ministry draft's systems, accepted on input as the ones they mean."""

_CARDS: Final = frozenset({f"{DRAFT}/citizen_id", f"{DRAFT}/national_id"})
_CCCD_SHAPE: Final = re.compile(r"\d{12}", re.ASCII).fullmatch
_CMND_SHAPE: Final = re.compile(r"\d{9}", re.ASCII).fullmatch


def plain(system: str, value: str) -> str:
    """Return a value as it is compared: blanks or wide digits make no other citizen's number."""
    if system != CCCD or (value.isascii() and value.isalnum()):
        return value
    return unicodedata.normalize("NFKC", value).strip()


def meanings(system: str, value: str = "") -> tuple[str, ...]:
    """Return the systems of ours that a system may mean for a value.

    Of the draft's two cards the value's shape says which it is: 12 digits S/cccd, 9 digits
    S/cmnd; of another shape it may be either, first the one that its name means.
    """
    meant = DRAFT_SYSTEMS.get(system, system)
    if system not in _CARDS:
        return (meant,)
    shape = plain(CCCD, value)
    if _CCCD_SHAPE(shape):
        return (CCCD,)
    if _CMND_SHAPE(shape):
        return (CMND,)
    return (meant, CMND if meant == CCCD else CCCD)


def identified(identifier: Mapping[str, Any]) -> tuple[str, str]:
    """Return the system and value of an Identifier as they are compared: "" where absent."""
    system, value = identifier.get("system"), identifier.get("value")
    text = value if isinstance(value, str) else ""
    meant = meanings(system, text)[0] if isinstance(system, str) else ""
    return meant, plain(meant, text)


NS: Final = "https://fhir-server.example/fhir"
"""The project's own namespace, until an authority assigns one."""

IDENTITY_TAGS: Final = f"{NS}/CodeSystem/identity"
"""Code system of the tags (`meta.tag`) by which the server says whose a Patient is not."""

KEPT_APART: Final = "kept-apart"
"""The tag of a Patient that came under the number of another."""

MA_BN: Final = f"{NS}/sid/ma-bn/"
"""How the system of a facility's own patient numbers (MA_BN) begins; its code follows."""


def names_facility(value: Any) -> bool:
    """Return whether an element says of which facility it is, at any depth."""
    if isinstance(value, list):
        return any(map(names_facility, value))
    if not isinstance(value, dict):
        return False
    system = value.get("system")
    if isinstance(system, str) and (system == MA_CSKCB or system.startswith(MA_BN)):
        return True
    return any(map(names_facility, value.values()))


def extension(name: str) -> str:
    """Return the URL of one of the project's own extensions."""
    return f"{NS}/StructureDefinition/{name}"


def code_system(name: str) -> str:
    """Return the URL of one of the project's own code systems."""
    return f"{NS}/CodeSystem/{name}"
