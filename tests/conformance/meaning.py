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


def content(resource: dict[str, Any]) -> Any:
    """Return what is equal of what was written and what is read: all but what a server assigns."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ASSIGNED}
    rest = {k: v for k, v in resource.items() if k not in {"meta", "id"}}
    return meaning(rest | {"meta": meta} if meta else rest)


ASSIGNED = frozenset({"versionId", "lastUpdated"})


def linked(value: Any, names: dict[str, str]) -> Any:
    """Return a resource with its `urn:uuid:` and conditional references resolved."""
    if isinstance(value, list):
        return [linked(part, names) for part in value]
    if isinstance(value, dict):
        return {
            key: names.get(part, part) if key == "reference" else linked(part, names)
            for key, part in value.items()
        }
    return value


def tree(node: etree._Element, *, inside: bool = False) -> Any:
    """Return XML to compare: no hints or white space but those of narratives."""
    if isinstance(node, etree._Comment):
        return node.text, (node.tail or "") if inside else ""
    is_html = node.tag.startswith(f"{{{xml.XHTML}}}")
    attributes = sorted(item for item in node.attrib.items() if xml.XSI not in item[0])
    text = (node.text or "") if is_html else (node.text or "").strip()
    tail = (node.tail or "") if inside else ""
    return node.tag, attributes, text, [tree(child, inside=is_html) for child in node], tail


def document(body: bytes) -> list[Any]:
    """Return an XML document to compare: its root, and the comments before it and behind it."""
    parser = etree.XMLParser(remove_pis=True, resolve_entities=False)
    root = etree.fromstring(body, parser)
    before = [tree(one) for one in root.itersiblings(preceding=True)]
    return [*reversed(before), tree(root), *(tree(one) for one in root.itersiblings())]
