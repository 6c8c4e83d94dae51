"""FHIR's XML, driven by the definitions: to and from the shape that JSON has.

https://hl7.org/fhir/R4/xml.html

The parser takes no DTD, no entity and nothing from the network. What the definitions do not
know is kept in the shape, so that validation can name it. Comments stand beside it (`comments.py`);
processing instructions are dropped: they speak to a program, and FHIR gives them no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from html.entities import html5
from typing import Any, Final

from lxml import etree

from fhir_server.model import comments as beside
from fhir_server.model.comments import Comments
from fhir_server.model.definitions import RESOURCE_TYPES, Property, properties
from fhir_server.model.outcome import FhirError, Invalid, Issue, Malformed
from fhir_server.model.primitives import Lexeme

FHIR: Final = "http://hl7.org/fhir"
XHTML: Final = "http://www.w3.org/1999/xhtml"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"

MAX_DEPTH: Final = 49
"""Of elements; as JSON each is an object in an array at most, and JSON may be 100 deep."""

_F: Final = f"{{{FHIR}}}"
_DIV: Final = f"{{{XHTML}}}div"
_XSI: Final = f"{{{XSI}}}"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})").fullmatch
_INTEGERS: Final = frozenset({"integer", "positiveInt", "unsignedInt"})
_BOOLEANS: Final = {"true": True, "false": False}
_ENTITY: Final = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_XML_ENTITIES: Final = frozenset({"amp", "lt", "gt", "quot", "apos"})
# XML 1.0, 2.2: the characters that may not stand in a document, even escaped.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMMENT: Final = b"<!--"
_NO_PROPERTIES: Final[Mapping[str, Property]] = {}
_MAX_EXPONENT_DIGITS: Final = 3


def _parser(*, comments: bool, instructions: bool) -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=not comments,
        remove_pis=not instructions,
    )


def parse(data: bytes, *, comments: bool = False, instructions: bool = False) -> etree._Element:
    """Return the root of an XML document, hardened, with or without comments and instructions.

    Raises:
        Malformed: It is not well-formed, has a DOCTYPE, or is nested more than 256 deep.
    """
    try:
        root = etree.fromstring(data, _parser(comments=comments, instructions=instructions))
    except (etree.XMLSyntaxError, ValueError) as error:
        place = f" at line {error.lineno}" if isinstance(error, etree.XMLSyntaxError) else ""
        raise Malformed(
            f"The body is not well-formed XML{place}.",
            text_vi="Nội dung không phải là XML đúng cú pháp.",
        ) from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr] # the stubs call it optional
        raise Malformed(
            "The XML has a DOCTYPE, which FHIR does not allow.",
            text_vi="XML có DOCTYPE, điều FHIR không cho phép.",
        )
    return root


def from_xml(data: bytes) -> dict[str, Any]:
    """Return the resource that XML holds, in the shape of JSON.

    Raises:
        Malformed: It is not well-formed, has a DOCTYPE, or is no resource of R4.
        Invalid: It has text, attributes or namespaces where FHIR has none.
    """
    return from_commented_xml(data)[0]


def from_commented_xml(data: bytes) -> tuple[dict[str, Any], Comments]:
    """Return the resource that XML holds, in the shape of JSON, and its comments.

    Raises:
        Malformed, Invalid: As `from_xml`.
    """
    # Most have none; in UTF-16 the mark has a zero byte at each character.
    may_have = _COMMENT in data or b"\0" in data
    root = parse(data, comments=may_have)
    comments = beside.taken(root) if may_have else {}
    return _resource(root, ""), comments


def _refuse(text: str, vietnamese: str, path: str) -> Malformed:
    return Malformed(text, expression=(path,) if path else (), text_vi=vietnamese)


def _invalid(text: str, vietnamese: str, path: str) -> FhirError:
    """Return the refusal of what stands in a resource and FHIR does not know there."""
    issue = Issue("structure", text, expression=(path,), text_vi=vietnamese)
    return Invalid([issue]) if path else _refuse(text, vietnamese, path)


def _name(node: etree._Element, path: str) -> str:
    tag = str(node.tag)
    if not tag.startswith(_F):
        raise _invalid(
            "The XML has an element that is not in FHIR's namespace.",
            "XML có phần tử không thuộc không gian tên của FHIR.",
            path,
        )
    return tag[len(_F) :]


def _check_text(node: etree._Element, path: str) -> None:
    """Refuse text between elements: FHIR's values stand in attributes."""
    is_wrong = _is_text(node.text)
    for child in node:
        # lxml gives the class of entities no public name.
        is_wrong = is_wrong or _is_text(child.tail) or isinstance(child, etree._Entity)  # noqa: SLF001
    if is_wrong:
        raise _invalid(
            "The XML has text where FHIR has only elements.",
            "XML có văn bản ở nơi FHIR chỉ cho phép phần tử.",
            path,
        )


def _is_text(text: str | None) -> bool:
    return text is not None and text != "" and not text.isspace()


def _attributes(node: etree._Element, allowed: frozenset[str], path: str) -> dict[str, str]:
    found = {}
    for key, value in node.items():
        name = str(key)
        if name.startswith(_XSI):
            continue  # xsi:schemaLocation is a hint to the parser, and no content
        if name not in allowed:
            raise _invalid(
                "The XML has an attribute that FHIR does not know.",
                "XML có thuộc tính mà FHIR không biết.",
                path,
            )
        found[name] = str(value)
    return found


def _resource(node: etree._Element, path: str) -> dict[str, Any]:
    name = _name(node, path)
    if name not in RESOURCE_TYPES:
        raise _refuse(
            "The XML is not a resource of FHIR R4.",
            "XML không phải là tài nguyên FHIR R4.",
            path,
        )
    _attributes(node, frozenset(), path or name)
    found: dict[str, Any] = {"resourceType": name}
    _children(node, found, properties(name), path or name)
    return found


def _children(
    node: etree._Element, found: dict[str, Any], known: Mapping[str, Property], path: str
) -> None:
    """Put the child elements of a node into an object, names in the order they came."""
    if node.text is None and len(node) == 0:
        return  # most elements: a value, and nothing in them
    if path.count(".") > MAX_DEPTH:
        raise _refuse("The XML is nested too deeply.", "XML lồng nhau quá sâu.", "")
    _check_text(node, path)
    groups: dict[str, list[etree._Element]] = {}
    for child in node:
        if child.tag == _DIV:
            groups.setdefault("div", []).append(child)
            continue
        groups.setdefault(_name(child, path), []).append(child)
    for name, nodes in groups.items():
        if nodes[0].tag == _DIV:
            texts = [_div_text(child) for child in nodes]
            found[name] = texts[0] if len(texts) == 1 else texts
            continue
        property_ = known.get(name)
        is_many = property_.element.is_many if property_ else len(nodes) > 1
        place = f"{path}.{name}"
        if property_ is None or property_.is_primitive:
            _put_primitives(found, name, property_, nodes, is_many=is_many, path=place)
            continue
        values = [_complex(child, property_, place) for child in nodes]
        # One too many is kept as a list, so that validation can say so.
        found[name] = values if is_many or len(values) > 1 else values[0]


def _complex(node: etree._Element, property_: Property, path: str) -> dict[str, Any]:
    if property_.type == "Resource":
        _attributes(node, frozenset(), path)
        _check_text(node, path)
        if len(node) != 1:
            raise _invalid(
                "The XML has a place for one resource that does not hold one.",
                "XML có chỗ dành cho một tài nguyên nhưng không chứa đúng một tài nguyên.",
                path,
            )
        return _resource(node[0], path)
    allowed = _URL_AND_ID if property_.type == "Extension" else _ID
    found: dict[str, Any] = dict(_attributes(node, allowed, path))
    _children(node, found, properties(property_.type), path)
    return found


_ID: Final = frozenset({"id"})
_URL_AND_ID: Final = frozenset({"id", "url"})
_VALUE_AND_ID: Final = frozenset({"id", "value"})
_EXTENSION: Final = properties("Element")


def _put_primitives(
    found: dict[str, Any],
    name: str,
    property_: Property | None,
    nodes: list[etree._Element],
    *,
    is_many: bool,
    path: str,
) -> None:
    values: list[Any] = []
    others: list[dict[str, Any] | None] = []
    for node in nodes:
        attributes = _attributes(node, _VALUE_AND_ID, path)
        text = attributes.pop("value", None)
        other: dict[str, Any] = dict(attributes)
        _children(node, other, _EXTENSION, path)
        values.append(None if text is None else _value(text, property_))
        others.append(other or None)
    has_values = any(value is not None for value in values)
    has_others = any(other is not None for other in others)
    if property_ is None and has_others and not has_values:
        found[name] = others if len(others) > 1 else others[0]  # an unknown backbone
        return
    if has_values or not has_others:
        found[name] = values if is_many or len(values) > 1 else values[0]
    if has_others:
        found[f"_{name}"] = others if is_many or len(others) > 1 else others[0]


def _value(text: str, property_: Property | None) -> Any:
    """Return the JSON value of a `value` attribute; what is no such value stays text."""
    type_ = property_.type if property_ else "string"
    if type_ == "boolean":
        return _BOOLEANS.get(text, text)
    if type_ in _INTEGERS:
        return int(text) if _INTEGER(text) else text
    if type_ == "decimal":
        return _decimal(text)
    return text


def _decimal(text: str) -> Any:
    if not _NUMBER(text):
        return text
    if _INTEGER(text) and text != "-0":
        return int(text)
    exponent = text.lower().partition("e")[2].lstrip("+-")
    if len(exponent) > _MAX_EXPONENT_DIGITS:
        return text
    number = Decimal(text)
    return number if str(number) == text else Lexeme(text)


def _div_text(node: etree._Element) -> str:
    copy = deepcopy(node)
    copy.tail = None
    etree.cleanup_namespaces(copy)
    return etree.tostring(copy, encoding="unicode")


def to_xml(
    resource: dict[str, Any], *, pretty: bool = False, comments: Comments | None = None
) -> bytes:
    """Return a resource as XML in UTF-8, elements in the order of the definitions.

    Args:
        resource: The resource.
        pretty: Whether it is indented.
        comments: What stands between the elements.

    Raises:
        Malformed: The resource has what the definitions do not know.
    """
    root = _document(resource)
    if comments:
        beside.put(root, comments)
    # Of the tree, not of the root: a comment may stand before it and behind it.
    tree = root.getroottree()
    return etree.tostring(tree, encoding="UTF-8", xml_declaration=True, pretty_print=pretty)


def comments_left(comments: Comments, before: dict[str, Any], after: dict[str, Any]) -> Comments:
    """Return the comments of a resource that stay where another is made of it (`comments.left`).

    None do where one of both has no XML form.
    """
    try:
        return beside.left(comments, _document(before), _document(after))
    except Malformed:
        return {}


def _document(resource: dict[str, Any]) -> etree._Element:
    root = etree.Element(f"{_F}{_type(resource, '')}", nsmap={None: FHIR})  # type: ignore[dict-item] # None is the default namespace
    try:
        _write_resource(root, resource, _type(resource, ""))
    except RecursionError:
        raise _refuse(
            "The resource is nested too deeply.", "Tài nguyên lồng nhau quá sâu.", ""
        ) from None
    return root


def _type(resource: dict[str, Any], path: str) -> str:
    name = resource.get("resourceType")
    if not isinstance(name, str) or name not in RESOURCE_TYPES:
        raise _refuse(
            "The resource has no type of FHIR R4.", "Loại tài nguyên không có trong R4.", path
        )
    return name


def _write_resource(node: etree._Element, resource: dict[str, Any], path: str) -> None:
    known = properties(str(resource["resourceType"]))
    _write_object(node, resource, known, path, skip=("resourceType",))


def _write_object(
    node: etree._Element,
    value: Mapping[str, Any],
    known: Mapping[str, Property],
    path: str,
    *,
    skip: tuple[str, ...] = (),
) -> None:
    unknown = [k for k in value if k not in known and k[1:] not in known and k not in skip]
    if unknown:
        raise _refuse(
            "The resource has an element that FHIR R4 does not know.",
            "Tài nguyên có phần tử mà FHIR R4 không biết.",
            path,
        )
    if len(value) > len(known) // 4:
        names = [name for name in known if name in value or f"_{name}" in value]
    else:
        order = _order(known)
        names = sorted({_plain(k, known) for k in value if k not in skip}, key=order.__getitem__)
    for name in names:
        _write_property(node, value, known[name], f"{path}.{name}")


def _plain(key: str, known: Mapping[str, Property]) -> str:
    return key if key in known else key[1:]


def _order(known: Mapping[str, Property]) -> dict[str, int]:
    return {name: index for index, name in enumerate(known)}


def _write_property(
    node: etree._Element, holder: Mapping[str, Any], property_: Property, path: str
) -> None:
    name = property_.name
    value = holder.get(name)
    if property_.element.is_attribute:
        if value is not None:
            node.set(name, _text(value))
        return
    if property_.type == "xhtml":
        if isinstance(value, str):
            node.append(div(value, path, comments=True))
        return
    if property_.is_primitive:
        other = holder.get(f"_{name}")
        values = value if isinstance(value, list) else [value]
        others = other if isinstance(other, list) else [other]
        for index in range(max(len(values), len(others))):
            one = values[index] if index < len(values) else None
            beside = others[index] if index < len(others) else None
            _write_primitive(node, name, one, beside, path)
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            child = etree.SubElement(node, f"{_F}{name}")
            if property_.type == "Resource":
                inner = etree.SubElement(child, f"{_F}{_type(one, path)}")
                _write_resource(inner, one, path)
            else:
                _write_object(child, one, properties(property_.type), path)


def _write_primitive(node: etree._Element, name: str, value: Any, beside: Any, path: str) -> None:
    if value is None and not beside:
        return
    child = etree.SubElement(node, f"{_F}{name}")
    if value is not None:
        child.set("value", _text(value))
    if isinstance(beside, dict):
        _write_object(child, beside, _EXTENSION, path)


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return _NOT_XML.sub("\ufffd", str(value))


def canonical_div(text: str) -> str:
    """Return a narrative's `div` in the one form of all its spellings; refused as by `div`."""
    return _div_text(div(text, comments=True))


def div(text: str, path: str = "", *, comments: bool = False) -> etree._Element:
    """Return a narrative's `div` as an element, HTML's named characters resolved.

    Raises:
        Malformed: It is not well-formed, or no `div` of XHTML.
    """

    def resolve(match: re.Match[str]) -> str:
        name = match[1]
        if name in _XML_ENTITIES:
            return match[0]
        return html5.get(f"{name};", match[0])

    bare = _NOT_XML.sub("\ufffd", _ENTITY.sub(resolve, text))
    root = parse(bare.encode(), comments=comments)
    if root.tag != _DIV:
        raise _refuse(
            "The narrative is not a div of XHTML.",
            "Phần tường thuật không phải là thẻ div của XHTML.",
            path,
        )
    return root
