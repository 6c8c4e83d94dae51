"""Whether the elements of a resource in XML stand in the order in which FHIR defines them.

https://hl7.org/fhir/R4/xml.html: in XML their order matters, and R4's schemas fix it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_server.model.definitions import properties
from fhir_server.model.outcome import Issue
from fhir_server.model.xml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxml import etree

    from fhir_server.model.definitions import Property

_F: Final = "{http://hl7.org/fhir}"
_EXTENSION: Final = properties("Element")


def misplaced(data: bytes) -> list[Issue]:
    """Return a finding for each element whose children are out of FHIR's order.

    Args:
        data: A resource in XML that could be read.
    """
    return list(_in_resource(parse(data), ""))


def _in_resource(node: etree._Element, path: str) -> Iterator[Issue]:
    name = str(node.tag).removeprefix(_F)
    yield from _in_object(node, properties(name), path or name)


def _in_object(node: etree._Element, known: Mapping[str, Property], path: str) -> Iterator[Issue]:
    order = {name: index for index, name in enumerate(known)}
    last = -1
    is_told = False
    for child in node:
        name = str(child.tag).rpartition("}")[2]
        found = known.get(name)
        if found is None:
            continue  # what FHIR does not know is refused by validation
        if order[name] < last and not is_told:
            is_told = True
            yield Issue(
                "structure",
                f"In XML {name} stands before what comes ahead of it here.",
                expression=(f"{path}.{name}",),
                text_vi=f"Trong XML, {name} phải đứng trước các phần tử đang ở trước nó.",
            )
        last = max(last, order[name])
        place = f"{path}.{name}"
        if found.type == "Resource":
            for inner in child:
                yield from _in_resource(inner, place)
        elif found.type != "xhtml":
            inner_known = _EXTENSION if found.is_primitive else properties(found.type)
            yield from _in_object(child, inner_known, place)
