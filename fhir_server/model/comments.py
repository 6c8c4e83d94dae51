"""Comments of XML: taken out of a document, and put back where they stood.

https://hl7.org/fhir/R4/xml.html; the JSON of R4 has no comments, so they are a thing beside the
resource. Those inside a narrative's `div` are part of its text, and are left there.

They are a tree in the shape of the document, with a name for each element that has any in it or
before it: `{"Patient[0]": {"<": ["before it"], "name[1]": {">": ["at its end"]}}}`. The tree itself
is the document, whose one child is the root; so it is the same for a resource that stands in
another, where the element that holds it (`resource`, `contained`) is the document.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

Comments = dict[str, Any]
"""The tree: a name and number to the tree of that child, BEFORE and AT_END to lists of texts."""

BEFORE: Final = "<"
AT_END: Final = ">"

_DIV: Final = "{http://www.w3.org/1999/xhtml}div"


def taken(root: etree._Element) -> Comments:
    """Take the comments out of a document, but for those in a `div`, and return them."""
    found = _in(root)
    before = [_text(one) for one in root.itersiblings(etree.Comment, preceding=True)]
    if before:
        found = {BEFORE: before[::-1], **found}
    comments = {_key(root, 0): found} if found else {}
    after = [_text(one) for one in root.itersiblings(etree.Comment)]
    return {**comments, AT_END: after} if after else comments


def _in(node: etree._Element) -> Comments:
    """Take out the comments in an element, and return its tree."""
    tree: Comments = {}
    waiting: list[str] = []
    counts: dict[str, int] = {}
    last: etree._Element | None = None
    for child in list(node):
        if isinstance(child, etree._Comment):  # noqa: SLF001 - its class has no public name
            waiting.append(_text(child))
            _remove(child, node, last)
            continue
        last, name = child, str(child.tag)
        number = counts.get(name, 0)
        counts[name] = number + 1
        found = _in(child) if len(child) and name != _DIV else {}
        if waiting:
            found = {BEFORE: waiting, **found}
            waiting = []
        if found:
            tree[_key(child, number)] = found
    if waiting:
        tree[AT_END] = waiting
    return tree


def _remove(comment: etree._Element, parent: etree._Element, last: etree._Element | None) -> None:
    """Take a comment out; white space behind it is no content, any other text is left there."""
    tail = comment.tail
    parent.remove(comment)
    if tail is None or tail.isspace():
        return
    if last is None:
        parent.text = tail
    else:
        last.tail = tail


def put(root: etree._Element, comments: Comments) -> None:
    """Put comments into a document where they stood; one whose element is not there is left out."""
    tree = comments.get(_key(root, 0))
    if tree is not None:
        _put(root, tree)
        for text in tree.get(BEFORE, ()):
            root.addprevious(etree.Comment(text))
    for text in reversed(comments.get(AT_END, ())):
        root.addnext(etree.Comment(text))


def _put(node: etree._Element, tree: Comments) -> None:
    counts: dict[str, int] = {}
    for child in list(node):
        name = str(child.tag)
        number = counts.get(name, 0)
        counts[name] = number + 1
        found = tree.get(_key(child, number))
        if found is None:
            continue
        for text in found.get(BEFORE, ()):
            child.addprevious(etree.Comment(text))
        if name != _DIV:
            _put(child, found)
    for text in tree.get(AT_END, ()):
        node.append(etree.Comment(text))


def without(comments: Comments, root: str, child: str) -> Comments:
    """Return those of a document without those of one child of its root."""
    kept = {name: found for name, found in comments.get(root, {}).items() if name != child}
    return {name: found for name, found in (comments | {root: kept}).items() if found}


def left(comments: Comments, before: etree._Element, after: etree._Element) -> Comments:
    """Return those whose element says in a second document, at its place, what it said in a first.

    A place is names and numbers from the root. In an element that says something else they stay at
    what it still says; but in one of a list only where it alone has changed, and the list is as
    long as it was: else it may be another element that stands there now.

    Args:
        comments: Those of the first document.
        before: Its root.
        after: The root of the second; both as `xml.to_xml` makes them.
    """
    key = _key(before, 0)
    is_same, kept = _left(comments.get(key, {}), before, after)
    if is_same:
        return comments
    return {key: kept} if kept else {}


def _left(tree: Comments, before: etree._Element, after: etree._Element) -> tuple[bool, Comments]:
    """Return whether two elements say the same, and which comments of the first stay."""
    if tree.keys() <= {BEFORE, AT_END}:
        is_same = _content(before) == _content(after)
        return is_same, tree if is_same else {}
    kept: Comments = {}
    is_same = before.tag == after.tag and sorted(before.items()) == sorted(after.items())
    olds, news = _by_key(before), _by_key(after)
    for name in olds | news:
        old, new = olds.get(name, []), news.get(name, [])
        changed: list[tuple[str, Comments]] = []
        for number, (one, other) in enumerate(zip(old, new, strict=False)):
            key = f"{name}[{number}]"
            found = tree.get(key, {})
            stays, within = _left(found, one, other)
            if not stays:
                changed.append((key, within))
            elif found:
                kept[key] = found
        if len(old) == len(new) and len(changed) <= 1:
            kept |= {key: within for key, within in changed if within}
        is_same = is_same and len(old) == len(new) and not changed
    return is_same, tree if is_same else kept


def _by_key(node: etree._Element) -> dict[str, list[etree._Element]]:
    found: dict[str, list[etree._Element]] = {}
    for child in node:
        found.setdefault(etree.QName(child).localname, []).append(child)
    return found


def _content(node: etree._Element) -> bytes:
    return etree.tostring(node, with_tail=False)


def inside(comments: Comments | None, *path: str) -> Comments | None:
    """Return those of the resource that an element of the document holds; None of no XML.

    Args:
        comments: Those of the document.
        path: From the root to the element: `"Bundle[0]", "entry[3]", "resource[0]"`.
    """
    if comments is None:
        return None
    tree = comments
    for name in path:
        tree = tree.get(name, {})
    return {name: found for name, found in tree.items() if name != BEFORE}


def _key(node: etree._Element, number: int) -> str:
    return f"{etree.QName(node).localname}[{number}]"


def _text(comment: etree._Element) -> str:
    return str(comment.text or "")
