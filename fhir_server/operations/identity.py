"""Whose Patient it is: when two descriptions are one person, and what a dossier may change of one.

Names are equal after folding case and marks, a birth year equals any date in it; a different sex
alone does not make another person. What a level-2 login settled is not changed by a dossier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.model import identifiers
from fhir_server.model.identifiers import BHYT, CCCD, NS, code_system, identified
from fhir_server.search.fold import fold

Resource = dict[str, Any]

MA_BN: Final = f"{NS}/sid/ma-bn/"
"""How the system of a facility's own patient numbers begins; its code follows."""

IDENTITY_TAGS: Final = code_system("identity")
KEPT_APART: Final[Resource] = {
    "system": IDENTITY_TAGS,
    "code": "kept-apart",
    "display": "Kept apart from the holder of the number",
}
"""The tag of a Patient that came under another person's number."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a description says of who somebody is.

    Attributes:
        number: The 12-digit citizen number, or "".
        cards: Insurance cards.
        own: Facilities' own patient numbers: system and value.
        names: The names, folded; any of them may agree.
        birth: `1958`, `1958-03` or `1958-03-07`, or "".
        gender: FHIR's code, or "".
    """

    number: str
    cards: tuple[str, ...]
    own: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    birth: str
    gender: str

    @property
    def name(self) -> str:
        """The first name, folded; "" where there is none."""
        return self.names[0] if self.names else ""


def folded_name(text: str) -> str:
    """Return a name as names are compared: folded, its words parted by one blank."""
    return " ".join(fold(text).split())


def system_of(identifier: Resource) -> str:
    """Return an identifier's system, a Ministry draft's as the one it means."""
    return identified(identifier)[0]


def identity_of(patient: Resource) -> Identity:
    """Return what a Patient says of who it is."""
    by_system: dict[str, list[str]] = {}
    for identifier in patient.get("identifier", ()):
        system, value = identified(identifier)
        if value:
            by_system.setdefault(system, []).append(value)
    numbers = by_system.get(CCCD, [])
    return Identity(
        number=numbers[0] if numbers else "",
        cards=tuple(by_system.get(BHYT, ())),
        own=tuple(
            (system, value)
            for system, values in by_system.items()
            if system.startswith(MA_BN)
            for value in values
        ),
        names=tuple(dict.fromkeys(_names(patient))),
        birth=str(patient.get("birthDate") or ""),
        gender=str(patient.get("gender") or ""),
    )


def _names(patient: Resource) -> Iterator[str]:
    for name in patient.get("name", ()):
        parts = [name.get("family"), *name.get("given", ())]
        assembled = " ".join(part for part in parts if isinstance(part, str))
        for text in (name.get("text"), assembled):
            if isinstance(text, str) and (folded := folded_name(text)):
                yield folded


def same_birth(one: str, other: str) -> bool:
    """Return whether two partial dates can be one day; what is not said disagrees with nothing."""
    return one.startswith(other) or other.startswith(one)


def agree(one: Identity, other: Identity) -> bool:
    """Return whether name and birth date are one person's; what is not said agrees."""
    named = not one.names or not other.names or not set(one.names).isdisjoint(other.names)
    return named and same_birth(one.birth, other.birth)


def are_the_same(one: Identity, other: Identity) -> bool:
    """Return whether both say name and birth date, and agree: what finds a person by a card."""
    said = one.names and other.names and one.birth and other.birth
    return bool(said) and agree(one, other)


def differs_in_sex(one: Identity, other: Identity) -> bool:
    """Return whether both state a sex, and not the same."""
    stated = {one.gender, other.gender} - {"", "unknown"}
    return len(stated) == 2  # noqa: PLR2004 - both stated, and differently


def numbers_of(patient: Resource) -> tuple[str, ...]:
    """Return the citizen numbers that a Patient carries."""
    found = map(identified, patient.get("identifier", ()))
    return tuple(value for system, value in found if system == CCCD and value)


def without_number(patient: Resource, number: str) -> Resource:
    """Return the Patient without this citizen number."""
    left = [
        identifier
        for identifier in patient.get("identifier", ())
        if identified(identifier) != (CCCD, number)
    ]
    return _put(patient, "identifier", left)


def with_number(patient: Resource, number: str) -> Resource:
    """Return the Patient with this citizen number, first of its identifiers."""
    if number in numbers_of(patient):
        return patient
    identifier = {
        "use": "official",
        "type": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NI"}]
        },
        "system": identifiers.CCCD,
        "value": number,
    }
    return _put(patient, "identifier", [identifier, *patient.get("identifier", ())])


def set_apart(patient: Resource, number: str, holder: str) -> Resource:
    """Return the Patient kept apart: without the number, flagged, linked to its holder.

    The link stands on the Patient that is kept apart alone: on the holder's it would show the
    citizen that other's id.
    """
    apart = without_number(patient, number)
    meta = dict(apart.get("meta", {}))
    tags = [tag for tag in meta.get("tag", ()) if tag.get("system") != IDENTITY_TAGS]
    meta["tag"] = [*tags, KEPT_APART]
    links = [link for link in apart.get("link", ()) if link.get("type") != "seealso"]
    seealso = {"other": {"reference": f"Patient/{holder}"}, "type": "seealso"}
    return {**apart, "meta": meta, "link": [*links, seealso]}


def set_free(patient: Resource) -> Resource:
    """Return the Patient no longer flagged and linked as kept apart."""
    meta = dict(patient.get("meta", {}))
    tags = [tag for tag in meta.get("tag", ()) if tag.get("system") != IDENTITY_TAGS]
    freed = _put(patient, "meta", _put(meta, "tag", tags))
    links = [link for link in patient.get("link", ()) if link.get("type") != "seealso"]
    return _put(freed, "link", links)


def _put(element: Resource, name: str, value: Any) -> Resource:
    """Return a copy with this child, or without it where it would be empty."""
    copy = dict(element)
    if value:
        copy[name] = value
    else:
        copy.pop(name, None)
    return copy


def merged(existing: Resource, incoming: Resource, *, settled: bool) -> Resource:
    """Return a Patient with what a dossier says of it: never less than it was.

    Args:
        existing: The Patient as it is.
        incoming: The dossier's Patient, which agrees with it; its references are resolved.
        settled: VNeID or the registry spoke: name, birth date and sex stay.
    """
    result = dict(existing)
    for name, value in incoming.items():
        if name in {"resourceType", "id", "meta", "link", *_WHO}:
            continue
        if name == "identifier":
            result[name] = _union_of_identifiers(existing.get(name, []), value)
        elif name == "extension":
            urls = {extension.get("url") for extension in value}
            kept = [e for e in existing.get(name, ()) if e.get("url") not in urls]
            result[name] = [*kept, *value]
        else:
            result[name] = value
    return result if settled else _who_completed(result, incoming)


_WHO: Final = frozenset({"name", "birthDate", "_birthDate", "gender", "active"})


def _union_of_identifiers(existing: list[Resource], incoming: list[Resource]) -> list[Resource]:
    known = set(map(identified, existing))
    return [*existing, *(one for one in incoming if identified(one) not in known)]


def _who_completed(existing: Resource, incoming: Resource) -> Resource:
    """Return the Patient with the fuller name, birth date and sex of the two."""
    result = dict(existing)
    if not existing.get("name") or _says_more(existing["name"], incoming.get("name")):
        result = _put(result, "name", incoming.get("name"))
    before, after = str(existing.get("birthDate", "")), str(incoming.get("birthDate", ""))
    if after.startswith(before) and after:
        result["birthDate"] = after
        if "_birthDate" in incoming and "_birthDate" not in existing:
            result["_birthDate"] = incoming["_birthDate"]
    if existing.get("gender", "unknown") == "unknown" and "gender" in incoming:
        result["gender"] = incoming["gender"]
    return result


def _says_more(existing: list[Resource], incoming: list[Resource] | None) -> bool:
    """Return whether the name is written without Vietnamese marks, and now comes with them."""
    if not incoming:
        return False
    before, after = existing[0].get("text"), incoming[0].get("text")
    return (
        isinstance(before, str)
        and isinstance(after, str)
        and before.isascii()
        and not after.isascii()
        and folded_name(before) == folded_name(after)
    )


def as_claimed(patient: Resource, name: str, birth_date: str, gender: str) -> Resource:
    """Return the Patient with name, birth date and sex as VNeID states them."""
    result = dict(patient)
    if name:
        family, _, given = name.partition(" ")
        official: Resource = {"use": "official", "text": name, "family": family}
        if given:
            official["given"] = given.split()
        current = patient.get("name", [{}])
        if not current or current[0].get("text") != name:
            result["name"] = [official]
    if birth_date and patient.get("birthDate") != birth_date:
        result["birthDate"] = birth_date
        if birth_date not in str(patient.get("_birthDate", "")):
            result.pop("_birthDate", None)
    if gender:
        result["gender"] = gender
    return result
