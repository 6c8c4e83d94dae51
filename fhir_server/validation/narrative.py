"""Narrative: XHTML that a browser may show, and nothing that acts or loads.

https://hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from typing import Final

from fhir_server.model import xml
from fhir_server.model.outcome import Malformed

# FHIR: txt-1, the elements and attributes as its XPath lists them, and xml:lang and xml:space.
_TAGS: Final = frozenset({
    "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col",
    "colgroup", "dd", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "img", "li", "ol", "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table",
    "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var",
})  # fmt: skip
_ATTRIBUTES: Final = frozenset({
    "abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding",
    "cellspacing", "cellvalign", "char", "charoff", "charset", "cite", "class", "colspan",
    "compact", "coords", "dir", "frame", "headers", "height", "href", "hreflang", "hspace", "id",
    "lang", "longdesc", "name", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape",
    "span", "src", "start", "style", "summary", "tabindex", "title", "type", "valign", "value",
    "vspace", "width",
    "{http://www.w3.org/XML/1998/namespace}lang", "{http://www.w3.org/XML/1998/namespace}space",
})  # fmt: skip
_LINKS: Final = frozenset({"href", "src", "cite", "longdesc"})
# A scheme that a browser runs; spaces and control characters do not hide it from a browser.
_ACTIVE: Final = re.compile(r"(?:javascript|vbscript|data:(?!image/(?!svg)))", re.IGNORECASE).match
_INVISIBLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0]+")
# A style may not run anything, nor load from another host: relative and inline images may stay,
# which R4's own definitions have. A backslash could hide any of these from us.
_STYLE: Final = re.compile(
    r"expression\s*\(|@import|(?:java|vb)script:|behaviou?r\s*:|-moz-binding|\\"
    r"|url\s*+\(\s*+(?:['\"]\s*+)?+(?!data:\s*image/(?!svg))(?:[a-z][a-z0-9+.-]*:|//)",
    re.IGNORECASE,
).search
_PLAIN: Final = re.compile(r'<div xmlns="http://www\.w3\.org/1999/xhtml">([^<>&]+)</div>').fullmatch

Problem = tuple[str, str, str]
"""Invariant key, English and Vietnamese sentence."""

_NOT_XHTML: Final = (
    "txt-1",
    "The narrative is not a well-formed div of XHTML.",
    "Phần tường thuật không phải là thẻ div XHTML đúng cú pháp.",
)
_NOT_ALLOWED: Final = (
    "txt-1",
    "The narrative has an element or attribute that FHIR does not allow, as a script or a form.",
    "Phần tường thuật có phần tử hoặc thuộc tính FHIR không cho phép, như script hay biểu mẫu.",
)
_ACTS: Final = (
    "txt-1",
    "The narrative has a link or a style that runs or loads something.",
    "Phần tường thuật có liên kết hoặc kiểu dáng chạy mã hay tải nội dung từ bên ngoài.",
)
_EMPTY: Final = (
    "txt-2",
    "The narrative has no text and no image.",
    "Phần tường thuật không có chữ hay hình ảnh nào.",
)


def problem(text: str) -> Problem | None:
    """Return what is wrong with a narrative's div, or None."""
    plain = _PLAIN(text)
    if plain and plain[1].strip():
        return None
    try:
        root = xml.div(text)
    except Malformed:
        return _NOT_XHTML
    is_empty = True
    for node in root.iter():
        name = str(node.tag)
        if not name.startswith(_NAMESPACE) or name[len(_NAMESPACE) :] not in _TAGS:
            return _NOT_ALLOWED
        for key, value in node.attrib.items():
            if key not in _ATTRIBUTES:
                return _NOT_ALLOWED
            if key in _LINKS and _ACTIVE(_INVISIBLE.sub("", str(value))):
                return _ACTS
            if key == "style" and _STYLE(str(value)):
                return _ACTS
        if name == _IMAGE or _has_text(node.text) or (node is not root and _has_text(node.tail)):
            is_empty = False
    return _EMPTY if is_empty else None


_NAMESPACE: Final = f"{{{xml.XHTML}}}"
_IMAGE: Final = f"{_NAMESPACE}img"


def _has_text(text: str | bytes | None) -> bool:
    return text is not None and bool(text.strip())
