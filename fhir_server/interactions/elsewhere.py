"""Where else a Patient was: hidden from a facility, and left as it is when the facility updates.

A facility's own patient number names the facility (MA_BN, `NS/sid/ma-bn/<code>`), and a visit to
some facilities is a diagnosis. So of a Patient that it may read, a facility or practitioner sees
its own numbers, and none of another's; nor an extension that names another facility. So it is of
a Patient that another resource contains.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fhir_server.interactions.claim_needs import PERSONS
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_BN, MA_CSKCB, identified

if TYPE_CHECKING:
    from fhir_server.interactions.context import FhirResult, Resource

_LISTS: Final = ("identifier", "extension")
_PATIENT: Final = b'"resourceType":"Patient"'


def without_elsewhere(result: FhirResult, code: str) -> FhirResult:
    """Return the result as the facility of this code may see it."""
    version = result.version
    if result.body is not None:
        body = _shown(result.body, code)
        return result if body is result.body else replace(result, body=body)
    if result.resource is not None:
        return replace(result, resource=as_seen(result.resource, code))
    if version is not None and version.body:
        body = _shown(version.body, code)
        if body is not version.body:
            return replace(result, version=msgspec.structs.replace(version, body=body))
    return result


def _shown(body: bytes, code: str) -> bytes:
    """Return canonical JSON without what is hidden; the same bytes where nothing may be."""
    if _PATIENT not in body or not _another(code).search(body):
        return body
    return codec.dumps(as_seen(codec.loads_stored(body), code))


@lru_cache(maxsize=1024)
def _another(code: str) -> re.Pattern[bytes]:
    """Return what finds every place where another facility may be named, and a few more."""
    own = re.escape(code.encode())
    numbers = re.escape(MA_BN.encode()) + b'(?!%b")' % own
    codes = re.escape(MA_CSKCB.encode()) + b'"(?!,"value":"%b")' % own
    return re.compile(numbers + b"|" + codes)


def as_seen(resource: Resource, code: str) -> Resource:
    """Return a resource, or those in a Bundle, as the facility of this code may see it."""
    kind = resource.get("resourceType")
    if kind == "Bundle":
        entries = [
            entry | {"resource": as_seen(entry["resource"], code)}
            if isinstance(entry.get("resource"), dict)
            else entry
            for entry in resource.get("entry", ())
        ]
        return resource | {"entry": entries} if entries else resource
    if "contained" in resource:
        within = [as_seen(one, code) for one in resource["contained"]]
        resource = resource | {"contained": within}
    if kind != "Patient":
        return resource
    shown = dict(resource)
    for name in _LISTS:
        if name in shown:
            kept = [one for one in shown[name] if not _is_hidden(name, one, code)]
            shown[name] = kept
            if not kept:
                del shown[name]
    return shown


def left_as_it_was(asked: Resource, before: bytes, code: str) -> Resource:
    """Return what a facility asks for, with what it could not see of Patients in it as it was.

    Args:
        asked: The update's resource.
        before: The stored version that it updates.
        code: The facility.
    """
    if not _another(code).search(before):
        return asked
    stored: Resource = codec.loads_stored(before)
    made = _restored(asked, stored, code) if stored["resourceType"] == "Patient" else asked
    there = {one["id"]: one for one in stored.get("contained", ()) if one.get("id")}
    within = asked.get("contained")
    if there and isinstance(within, list):
        parts = [_restored_within(one, there, code) for one in within]
        if parts != within:
            made = made | {"contained": parts}
    return made


def _restored_within(asked: Any, there: dict[str, Resource], code: str) -> Any:
    if not isinstance(asked, dict) or asked.get("resourceType") != "Patient":
        return asked
    identity = asked.get("id")
    stored = there.get(identity) if isinstance(identity, str) else None
    if stored is None or stored.get("resourceType") != "Patient":
        return asked
    return _restored(asked, stored, code)


def _restored(asked: Resource, stored: Resource, code: str) -> Resource:
    """Return a Patient as it is asked for, with what the facility does not see of it."""
    seen = as_seen(stored, code)
    made = dict(asked)
    for name in _LISTS:
        if name not in stored or len(seen.get(name, ())) == len(stored[name]):
            continue
        wanted = asked.get(name, [])
        if wanted == seen.get(name, []):
            made[name] = stored[name]
        elif isinstance(wanted, list):
            hidden = [one for one in stored[name] if _is_hidden(name, one, code)]
            made[name] = [*wanted, *(one for one in hidden if one not in wanted)]
    return made


def is_hidden_system(system: str | None, code: str) -> bool:
    """Return whether identifiers of a system are another facility's own numbers.

    Args:
        system: The system.
        code: The facility that looks; "" for who is none, from whom nothing is hidden.
    """
    return bool(code) and (system or "").startswith(MA_BN) and system != MA_BN + code


def _is_hidden(name: str, element: Any, code: str) -> bool:
    if not isinstance(element, dict):
        return False
    if name == "extension":
        return _names_another(element, code)
    system = identified(element)[0]
    if is_hidden_system(system, code):
        return True
    # A number of any other system, given by another facility; a person's papers are nobody's.
    return system not in PERSONS and _names_another(element.get("assigner"), code)


def _names_another(value: Any, code: str) -> bool:
    if isinstance(value, list):
        return any(_names_another(item, code) for item in value)
    if not isinstance(value, dict):
        return False
    system = value.get("system")
    if system == MA_CSKCB and value.get("value", value.get("code", code)) != code:
        return True
    if isinstance(system, str) and is_hidden_system(system, code):
        return True
    return any(_names_another(member, code) for member in value.values())
