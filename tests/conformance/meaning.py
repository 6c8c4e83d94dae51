"""What is equal in meaning: JSON values and XML trees to compare."""

from __future__ import annotations

from typing import Any

from lxml import etree

from fhir_server.model import codec, xml


def read(kind: str, body: bytes) -> dict[str, Any]:
    """Return the resource of an example in `json` or `xml`."""
    return codec.parse_resource(body) if kind == "json" else codec.from_xml(body)


def canonical_div(text: str) -> str:
    """Return a narrative as canonical XML, so that `&quot;` and `"` are the same."""
    return etree.tostring(xml.div(text), method="c14n", exclusive=True).decode()


def meaning(value: Any) -> Any:
    """Return a value to compare: narratives canonical, decimals as written, order of names free."""
    if isinstance(value, dict):
        return {
            key: canonical_div(part) if key == "div" else meaning(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [meaning(part) for part in value]
    return value if isinstance(value, (str, bool)) or value is None else str(value)


def tree(node: etree._Element, *, inside: bool = False) -> Any:
    """Return XML to compare: no comments, hints or white space but those of narratives."""
    is_html = node.tag.startswith(f"{{{xml.XHTML}}}")
    attributes = sorted(item for item in node.attrib.items() if xml.XSI not in item[0])
    text = (node.text or "") if is_html else (node.text or "").strip()
    tail = (node.tail or "") if inside else ""
    return node.tag, attributes, text, [tree(child, inside=is_html) for child in node], tail
