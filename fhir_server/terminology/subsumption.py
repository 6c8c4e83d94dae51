"""Which codes one code subsumes, and which subsume it.

https://hl7.org/fhir/R4/codesystem.html#subsumption
"""

from __future__ import annotations

from typing import Literal

from fhir_server.terminology.library import Library, Unexpandable, unknown


def subsumed(library: Library, system: str, code: str, mode: Literal["below", "above"]) -> set[str]:
    """Return a code and those below it, or above it.

    Raises:
        Needed: The CodeSystem is to be looked for first; then this is asked again.
        Unexpandable: It is not here, or does not know the code, or has no such hierarchy.
    """
    found = library.code_system(system)
    if found is None:
        raise unknown("code system", "hệ mã")
    if code not in found.concepts:
        raise Unexpandable(
            "The code system does not have the code that is named.",
            "Hệ mã không có mã được nêu.",
        )
    if not found.subsumes:
        raise Unexpandable(
            "The code system does not say that what is below a concept is subsumed by it.",
            "Hệ mã này không nêu rằng mã dưới thuộc về mã trên.",
        )
    library.spend(len(found.concepts))
    return (found.below(code) if mode == "below" else found.above(code)) & found.concepts.keys()
