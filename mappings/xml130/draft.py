"""The Bundle in the making: entries with their keys, and references between them."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from fhir_server.model.identifiers import CCHN, MA_CSKCB, MA_LK, NS, code_system, extension
from fhir_server.model.sensitivity import LABEL
from mappings.xml130.record import Kind, Record, Row

Element = dict[str, Any]

CURRENCY: Final = "VND"
_SPACE: Final = uuid5(NAMESPACE_URL, f"{NS}/dossier").bytes


def ma_bn_system(ma_cskcb: str) -> str:
    """Return the identifier system of one facility's own patient numbers, MA_BN."""
    return f"{NS}/sid/ma-bn/{ma_cskcb}"


def prune(element: Element) -> Element:
    """Return the element without its empty members; zero and false are not empty."""
    return {name: value for name, value in element.items() if value or value == 0}


def as_code(text: str) -> str:
    """Return the text as a FHIR code: single blanks inside at most."""
    return " ".join(text.split())


def code_list(text: str) -> list[str]:
    """Return the codes of a `;` list, each once."""
    return [code for code in dict.fromkeys(map(as_code, text.split(";"))) if code]


def concept(system: str, code: str, text: str) -> Element:
    """Return a CodeableConcept of one of the project's own code systems."""
    coding = prune({"system": code_system(system), "code": as_code(code), "display": text})
    return prune({"coding": [coding] if code else None, "text": text})


def money(amount: Decimal | None) -> Element | None:
    """Return the amount as FHIR Money."""
    return None if amount is None else {"value": amount, "currency": CURRENCY}


def dated(moment: datetime | date | None) -> str | None:
    """Return a FHIR dateTime or date; the dossier's times are at +07:00."""
    return moment.isoformat() if moment else None


def own(name: str, kind: str, value: Any) -> Element | None:
    """Return one of the project's own extensions, None where there is no value."""
    if not (value or value == 0):
        return None
    return {"url": extension(name), f"value{kind}": value}


def extensions(*some: Element | None) -> list[Element]:
    """Return the extensions that are there."""
    return [one for one in some if one is not None]


def search_for(system: str, value: str) -> str:
    """Return the query that finds a resource by identifier, for If-None-Exist."""
    for sign in ("\\", "|", ",", "$"):
        value = value.replace(sign, f"\\{sign}")
    return f"identifier={quote(system, safe='')}|{quote(value, safe='')}"


class Draft:
    """The entries of one dossier, each with the key that is the same whenever it is sent.

    Args:
        record: The dossier.
        kind: Whether it came as XML tables or as the sixteen fields.
        restricted: Whether its lines carry the label of HIV data.
    """

    def __init__(self, record: Record, kind: Kind, *, restricted: bool) -> None:
        self.record = record
        self.kind: Kind = kind
        self.restricted = restricted
        self.visit = f"{record.facility}|{record.xml1.ma_lk}"
        self.keys: list[str] = []
        self.entries: list[Element] = []
        self._urls: dict[str, str] = {}
        # RFC 9562, 5.5: a name-based UUID is made of SHA-1; nothing here rests on its strength.
        self._named = hashlib.sha1(_SPACE + f"{self.visit}|".encode(), usedforsecurity=False)

    def url(self, key: str) -> str:
        """Return the `urn:uuid:` of an entry: the same key of the same visit, the same URL."""
        url = self._urls.get(key)
        if url is None:
            name = self._named.copy()
            name.update(key.encode())
            url = self._urls[key] = _urn(name.hexdigest())
        return url

    def add(self, key: str, resource: Element, if_none_exist: str | None = None) -> None:
        """Add an entry; `if_none_exist` marks one that other visits share."""
        request: Element = {"method": "POST", "url": resource["resourceType"]}
        if if_none_exist:
            request["ifNoneExist"] = if_none_exist
        self.keys.append(key)
        self.entries.append({"fullUrl": self.url(key), "resource": resource, "request": request})

    def to(self, key: str) -> Element:
        """Return the reference to an entry that was or will be added."""
        return {"reference": self.url(key)}

    @property
    def patient(self) -> Element:
        """The reference to the patient."""
        return self.to("Patient")

    @property
    def encounter(self) -> Element:
        """The reference to the visit."""
        return self.to("Encounter")

    @property
    def organization(self) -> Element:
        """The reference to the facility."""
        return self.to(f"Organization/{self.record.facility}")

    def practitioner(self, code: str) -> Element:
        """Return the reference to a practitioner, who is added at the first mention."""
        key = f"Practitioner/{code}"
        if key not in self._urls:
            self.add(
                key,
                {"resourceType": "Practitioner", "identifier": [{"system": CCHN, "value": code}]},
                search_for(CCHN, code),
            )
        return self.to(key)

    def practitioners(self, codes: tuple[str, ...]) -> list[Element]:
        """Return the references to the practitioners of a `;` list."""
        return [self.practitioner(code) for code in dict.fromkeys(codes) if code]

    def labelled(self, resource: Element) -> Element:
        """Return the resource, labelled where the visit is one of HIV care."""
        return with_label(resource) if self.restricted else resource


def _urn(digest: str) -> str:
    """Return the version 5 UUID that a SHA-1 digest gives, as `uuid.uuid5` does."""
    variant = "89ab"[int(digest[16], 16) & 3]
    return (
        f"urn:uuid:{digest[:8]}-{digest[8:12]}-5{digest[13:16]}"
        f"-{variant}{digest[17:20]}-{digest[20:32]}"
    )


def with_label(resource: Element) -> Element:
    """Return the resource with the security label of HIV data (Luật 64/2006, Đ30)."""
    head = {"resourceType": resource["resourceType"], "meta": {"security": [dict(LABEL)]}}
    return {**head, **resource}


def row_keys(rows: tuple[Row, ...]) -> list[str]:
    """Return each row's key by its STT; rows that share one are counted on."""
    seen: dict[str, int] = {}
    keys: list[str] = []
    for row in rows:
        number = row.texts.get("STT", "").lstrip("0") or "0"
        seen[number] = seen.get(number, 0) + 1
        again = f".{seen[number]}" if seen[number] > 1 else ""
        keys.append(f"{row.table}/{number}{again}")
    return keys


def facility_reference(code: str) -> Element:
    """Return the logical reference to another facility."""
    return {"type": "Organization", "identifier": {"system": MA_CSKCB, "value": code}}


def visit_identifier(draft: Draft) -> Element:
    """Return the identifier of the visit, `MA_CSKCB|MA_LK`."""
    return {"system": MA_LK, "value": draft.visit}
