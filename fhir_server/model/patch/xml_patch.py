"""XML Patch: RFC 5261 over the XML form of a resource, in the document of RFC 7351.

Comments are nodes of the document as all others: they stay where they stand, go with what they are
in, and may be selected, added and removed. What XML says besides (processing instructions,
declarations of namespaces) is no part of a resource: patched, it is gone again.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard

from lxml import etree

from fhir_server.model import xml
from fhir_server.model.outcome import Invalid, Issue, Malformed
from fhir_server.model.patch import xml_selector
from fhir_server.model.patch.refusal import (
    Allowance,
    Budget,
    Unfit,
    malformed,
    require_few,
    too_long,
)
from fhir_server.model.patch.values import equal
from fhir_server.model.patch.xml_selector import Attribute, Found, Prefixes, Selector, Text

if TYPE_CHECKING:
    from fhir_server.model.comments import Comments

MOST_VISITED: Final = 1_000_000
"""Nodes that the selectors of one patch may look at, and that its changes may move: measured, half
a second."""

MOST_CHARACTERS: Final = 500_000
"""Of all selectors of one patch: to read them takes up to 0.4 s."""

ROOTS: Final = frozenset({"diff", "patch"})
"""Names of the root: RFC 5261's own examples, and RFC 7351."""

_SPACES: Final = frozenset({None, "urn:ietf:rfc:7351", xml.FHIR})
_POSITIONS: Final = frozenset({"", "before", "after", "prepend"})
_WHITE: Final = frozenset({"", "before", "after", "both"})

_Piece = str | etree._Element  # noqa: SLF001 - lxml gives the class no public name
Position = Literal["", "before", "after", "prepend"]
White = Literal["", "before", "after", "both"]


@dataclass(frozen=True, slots=True)
class Change:
    """One operation.

    Attributes:
        position: Where the content goes; "" is behind what the element has.
        attribute: The attribute that is added, as lxml names it; "" where content is.
        white: The white space that is removed with the node.
        content: The operation's element, for its text and children.
    """

    kind: Literal["add", "replace", "remove"]
    selector: Selector
    content: etree._Element
    position: Position = ""
    attribute: str = ""
    is_declaration: bool = False
    white: White = ""


@dataclass(frozen=True, slots=True)
class XmlPatch:
    """Changes, to be made in their order, all or none."""

    changes: tuple[Change, ...]
    cost: float = 0.0

    def run(self, root: etree._Element) -> etree._Element:
        """Return the root of the document with the changes made in it.

        Raises:
            Invalid: A change cannot be made.
        """
        return self._run(root, Allowance())[0]

    def apply(self, resource: dict[str, Any], allowance: Allowance | None = None) -> dict[str, Any]:
        """Return the resource with the changes made in its XML form.

        Raises:
            Invalid, Malformed: As `apply_commented`.
        """
        return self.apply_commented(resource, {}, allowance)[0]

    def apply_commented(
        self, resource: dict[str, Any], comments: Comments, allowance: Allowance | None = None
    ) -> tuple[dict[str, Any], Comments]:
        """Return the resource and its comments with the changes made in the XML form of both.

        Elements that the changes leave empty, or with comments alone, are taken away.

        Raises:
            Invalid: A change cannot be made, or what comes out is no XML of FHIR's.
            Malformed: It is no resource, or nested too deeply.
        """
        before = xml.to_xml(resource)
        if not equal(_with_narratives_of(resource, xml.from_xml(before)), resource):
            raise Invalid([
                Issue(
                    "processing",
                    "The resource has what its XML form cannot say: patch it as JSON.",
                    text_vi="Tài nguyên có nội dung mà XML không thể hiện được: hãy vá bằng JSON.",
                )
            ])
        if comments:
            before = xml.to_xml(resource, comments=comments)
        root, emptied = self._run(_read(before), allowance or Allowance())
        _clear(emptied)
        # Of the tree, not of the root: a comment may stand before it and behind it.
        after = etree.tostring(root.getroottree(), encoding="UTF-8")
        made, left = xml.from_commented_xml(after)
        return _with_narratives_of(resource, made), left

    def _run(
        self, root: etree._Element, allowance: Allowance
    ) -> tuple[etree._Element, list[etree._Element]]:
        emptied: list[etree._Element] = []
        with allowance.budget(MOST_VISITED) as budget:
            for number, change in enumerate(self.changes, start=1):
                try:
                    root = _make(change, root, emptied, budget)
                except Unfit as unfit:
                    raise unfit.at(number) from None
        return root, emptied


# Reading


def parse(data: bytes) -> XmlPatch:
    """Return the patch that XML is.

    Raises:
        Malformed: It is none.
        Invalid: It has too many operations.
    """
    root = _read(data)
    name = etree.QName(root)
    if name.localname not in ROOTS or name.namespace not in _SPACES:
        raise malformed(
            "The root of an XML Patch is diff or patch.",
            "Phần tử gốc của XML Patch là diff hoặc patch.",
        )
    operations = list(root.iterchildren("*"))
    if not operations:
        raise malformed("The XML Patch has no operation.", "XML Patch không có thao tác nào.")
    require_few(len(operations))
    length = sum(len(one.get("sel", "")) for one in operations)
    if length > MOST_CHARACTERS:
        raise too_long()
    changes = tuple(_change(one, n) for n, one in enumerate(operations, start=1))
    return XmlPatch(changes, length / MOST_CHARACTERS)


def _read(data: bytes) -> etree._Element:
    return xml.parse(data, comments=True, instructions=True)


def _change(element: etree._Element, number: int) -> Change:
    kind = etree.QName(element)
    if kind.namespace != etree.QName(element.getparent()).namespace or kind.localname not in {
        "add", "replace", "remove",
    }:  # fmt: skip
        raise malformed(
            "it must be add, replace or remove.", "phải là add, replace hoặc remove.", number
        )
    prefixes: Prefixes = dict(element.nsmap)
    selector = xml_selector.parse(element.get("sel", ""), prefixes, number)
    type_, position = element.get("type", ""), element.get("pos", "")
    white = element.get("ws", "")
    is_known = position in _POSITIONS and white in _WHITE and not (type_ and position)
    is_add = kind.localname == "add"
    if (
        not is_known
        or (not is_add and (type_ or position))
        or (white and kind.localname != "remove")
    ):
        raise malformed(
            "it has an attribute that it cannot have.", "có thuộc tính không được phép.", number
        )
    is_declaration = type_.startswith("namespace::")
    return Change(
        kind=kind.localname,  # type: ignore[arg-type] # one of the three
        selector=selector,
        content=element,
        position=position,  # type: ignore[arg-type] # looked up above
        attribute="" if is_declaration else _attribute(type_, prefixes, number),
        is_declaration=is_declaration,
        white=white,  # type: ignore[arg-type] # looked up above
    )


def _attribute(type_: str, prefixes: Prefixes, number: int) -> str:
    if not type_:
        return ""
    name = type_.removeprefix("@").strip()
    try:
        # lxml refuses what is no name.
        found = etree.QName(xml_selector.qualified(name, prefixes, number, is_attribute=True)).text
    except ValueError:
        found = None
    if found is None or not type_.startswith("@") or name.endswith("*"):
        raise malformed(
            "its type must be an attribute such as @value.",
            "type phải là một thuộc tính, chẳng hạn @value.",
            number,
        )
    return str(found)


# Doing


def _make(
    change: Change, root: etree._Element, emptied: list[etree._Element], budget: Budget
) -> etree._Element:
    """Make one change; return the root, which may be another now."""
    if change.selector.is_of_namespace:
        raise Unfit(
            "a declaration of a namespace is no content of a resource.",
            "khai báo không gian tên không phải là nội dung của tài nguyên.",
        )
    found = change.selector.find(root, budget)
    if len(found) != 1:
        raise _not_one(found)
    (node,) = found
    match change.kind:
        case "add":
            _add(change, node, root, budget)
        case "replace":
            return _replace(change, node, root, budget)
        case _:
            _remove(change, node, root, emptied, budget)
    return root


def _not_one(found: list[Found]) -> Unfit:
    if found:
        return Unfit("its sel selects more than one node.", "sel chọn nhiều hơn một nút.")
    return Unfit(
        "its sel selects nothing in the resource.", "sel không chọn được gì trong tài nguyên."
    )


def _unsuited() -> Unfit:
    return Unfit(
        "it cannot be done with the kind of node that its sel selects.",
        "không thực hiện được với loại nút mà sel chọn.",
    )


def _add(change: Change, node: Found, root: etree._Element, budget: Budget) -> None:
    if change.position in {"before", "after"}:
        owner, at = _place(node, root)
        at += change.position == "after"
        pieces = _pieces(owner, budget)
        _fill(owner, [*pieces[:at], *_content(change), *pieces[at:]])
        return
    if not _is_element(node):
        raise _unsuited()
    if change.is_declaration:
        return
    if change.attribute:
        if change.attribute in node.attrib:
            raise Unfit("the attribute is there already.", "thuộc tính đã có sẵn.")
        node.set(change.attribute, _text_of(change))
        return
    pieces, added = _pieces(node, budget), _content(change)
    _fill(node, [*added, *pieces] if change.position == "prepend" else [*pieces, *added])


def _replace(change: Change, node: Found, root: etree._Element, budget: Budget) -> etree._Element:
    if isinstance(node, Attribute):
        node.owner.set(node.name, _text_of(change))
        return root
    new: list[_Piece] = list(_content(change))
    if isinstance(node, Text):
        new = [_text_of(change)]
    else:
        new = [one for one in new if not isinstance(one, str) or not one.isspace()]
        if len(new) != 1 or isinstance(new[0], str) or _kind(new[0]) != _kind(node):
            raise Unfit(
                "it must hold one node, of the kind that its sel selects.",
                "phải chứa đúng một nút, cùng loại với nút mà sel chọn.",
            )
        if node is root:
            return _in_place_of(root, new[0])
    owner, at = _place(node, root)
    pieces = _pieces(owner, budget)
    _fill(owner, [*pieces[:at], *new, *pieces[at + 1 :]])
    return root


def _in_place_of(root: etree._Element, new: etree._Element) -> etree._Element:
    """Return a copy of a new root that has before and behind it what the old one has."""
    made = deepcopy(new)
    made.tail = None
    for one in reversed(list(root.itersiblings(preceding=True))):
        made.addprevious(one)
    for one in reversed(list(root.itersiblings())):
        made.addnext(one)
    return made


def _remove(
    change: Change,
    node: Found,
    root: etree._Element,
    emptied: list[etree._Element],
    budget: Budget,
) -> None:
    if isinstance(node, Attribute):
        if change.white:
            raise _unsuited()
        del node.owner.attrib[node.name]
        emptied.append(node.owner)
        return
    if change.white and isinstance(node, Text):
        raise _unsuited()
    owner, at = _place(node, root)
    pieces = _pieces(owner, budget)
    first, last = at, at + 1
    if change.white in {"before", "both"}:
        first -= 1
    if change.white in {"after", "both"}:
        last += 1
    white = [*pieces[max(first, 0) : at], *pieces[at + 1 : last]]
    is_there = first >= 0 and last <= len(pieces)
    if not is_there or not all(isinstance(one, str) and one.isspace() for one in white):
        raise Unfit(
            "the white space that it removes is not there.",
            "không có khoảng trắng mà thao tác muốn xóa.",
        )
    _fill(owner, [*pieces[:first], *pieces[last:]])
    emptied.append(owner)


def _is_element(node: object) -> TypeGuard[etree._Element]:
    return isinstance(node, etree._Element) and isinstance(node.tag, str)  # noqa: SLF001


def _kind(node: etree._Element) -> object:
    """Return what a node is: a comment, an instruction, or an element whatever its name."""
    return "element" if isinstance(node.tag, str) else node.tag


def _place(node: Found, root: etree._Element) -> tuple[etree._Element, int]:
    """Return the element that holds a node, and which of its pieces the node is."""
    if isinstance(node, Attribute) or node is root:
        raise _unsuited()
    if isinstance(node, Text):
        return node.owner, _number(node.owner, node.behind)
    owner = node.getparent()
    if owner is None:
        raise _unsuited()
    return owner, _number(owner, owner.index(node) + 1) - 1


def _number(owner: etree._Element, behind: int) -> int:
    """Return how many pieces stand before the text behind the n-th child."""
    before = sum(bool(child.tail) for child in list(owner)[: max(behind - 1, 0)])
    return behind + before + (bool(owner.text) if behind else 0)


def _pieces(owner: etree._Element, budget: Budget) -> list[_Piece]:
    """Return the texts and children of an element, in their order."""
    budget.spend(1 + len(owner))
    return _split(owner)


def _split(owner: etree._Element) -> list[_Piece]:
    found: list[_Piece] = [owner.text] if owner.text else []
    for child in owner:
        found.append(child)
        if child.tail:
            found.append(child.tail)
    return found


def _fill(owner: etree._Element, pieces: list[_Piece]) -> None:
    """Make these the texts and children of an element."""
    for child in list(owner):
        owner.remove(child)
    owner.text = None
    last: etree._Element | None = None
    for piece in pieces:
        if not isinstance(piece, str):
            piece.tail = None
            owner.append(piece)
            last = piece
        elif last is None:
            owner.text = (owner.text or "") + piece
        else:
            last.tail = (last.tail or "") + piece


def _content(change: Change) -> list[_Piece]:
    return _split(deepcopy(change.content))


def _text_of(change: Change) -> str:
    """Return the text of an operation that may hold nothing else."""
    if len(change.content):
        raise Unfit("it may hold a text only.", "chỉ được chứa văn bản.")
    return change.content.text or ""


# The resource


def _clear(emptied: list[etree._Element]) -> None:
    """Take away FHIR's elements that are empty because of what was removed from them."""
    for one in emptied:
        element: etree._Element | None = one
        while element is not None and _is_nothing(element):
            owner = element.getparent()
            if owner is None:
                break
            owner.remove(element)
            element = owner


def _is_nothing(element: etree._Element) -> bool:
    if element.attrib or etree.QName(element).namespace != xml.FHIR:
        return False
    texts = [element.text, *(child.tail for child in element)]
    return (
        not any(_is_content(child) for child in element)
        and not "".join(text or "" for text in texts).strip()
    )


def _is_content(node: etree._Element) -> bool:
    return not isinstance(node, etree._Comment)  # noqa: SLF001 - its class has no public name


def _with_narratives_of(before: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Return what came from XML, with each narrative that is not changed spelled as it was."""
    spelled: dict[str, str] = {}
    for holder in _narratives(before):
        try:
            spelled[xml.canonical_div(holder["div"])] = holder["div"]
        except Malformed:
            continue
    for holder in _narratives(made):
        holder["div"] = spelled.get(holder["div"], holder["div"])
    return made


def _narratives(value: Any) -> list[dict[str, Any]]:
    """Return every object that has a `div`."""
    found: list[dict[str, Any]] = []
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            todo += one
        elif isinstance(one, dict):
            if isinstance(one.get("div"), str):
                found.append(one)
            todo += one.values()
    return found
