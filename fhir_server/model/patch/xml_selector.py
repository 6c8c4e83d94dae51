"""The selectors of XML Patch: the part of XPath that RFC 5261 takes, and what FHIR needs of it.

RFC 5261, sections 4.1 and 8: steps to child elements, each with conditions, and at the end perhaps
an attribute, a text, a comment or a processing instruction. As FHIR's values stand in attributes, a
condition may be on a path, too: `f:name[f:use/@value='official']`; and `//` is taken. Functions,
other axes and operators are not: no selector can cost much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lxml import etree

from fhir_server.model.outcome import Malformed
from fhir_server.model.patch.refusal import Budget, malformed
from fhir_server.model.xml import FHIR, XHTML

IMPLIED: Final[Mapping[str, str]] = {
    "f": FHIR,
    "h": XHTML,
    "xml": "http://www.w3.org/XML/1998/namespace",
}
"""Prefixes that a patch may use without declaring them, as HL7's own test cases do."""

_NAME: Final = r"[^\W\d][\w.\-]*"
_TOKEN: Final = re.compile(
    rf"""\s*(?:
      (?P<quoted>'[^']*'|"[^"]*")
    | (?P<number>[1-9][0-9]{{0,8}})
    | (?P<test>(?:text|comment)\(\s*\)|processing-instruction\(\s*(?:'[^']*'|"[^"]*")?\s*\))
    | (?P<namespace>namespace::{_NAME})
    | (?P<name>@?(?:{_NAME}:)?(?:{_NAME}|\*))
    | (?P<sign>//|/|\[|\]|=|\.)
    )""",
    re.VERBOSE,
)
_MAX_DEPTH: Final = 4
"""Of conditions in one another."""

_CHARACTERS: Final = 64
"""Characters that are compared for the price of one node."""

_STRING: Final = etree.XPath("string()")

Kind = Literal["element", "attribute", "text", "comment", "processing-instruction", "namespace"]
Prefixes = Mapping[str | None, str]


@dataclass(frozen=True, slots=True)
class Condition:
    """What stands between `[` and `]`.

    Attributes:
        position: The number of the node among those that its step found; 0: it is a comparison.
        path: The steps to what is compared; () for `.`, the node itself.
        value: What it must say; None: it is enough that it is there.
    """

    position: int = 0
    path: tuple[Step, ...] = ()
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: `local` or `{namespace}local`, `*` for any; of a processing instruction its target.
        is_deep: It stands behind `//`.
    """

    kind: Kind
    name: str = "*"
    conditions: tuple[Condition, ...] = ()
    is_deep: bool = False


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that a selector found."""

    owner: etree._Element
    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a selector found: the owner's first (0), or the one behind its n-th child."""

    owner: etree._Element
    behind: int


Found = etree._Element | Attribute | Text  # noqa: SLF001 - lxml gives the class no public name


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector, read."""

    steps: tuple[Step, ...]

    @property
    def is_of_namespace(self) -> bool:
        """Whether it selects the declaration of a namespace, which is no content."""
        return self.steps[-1].kind == "namespace"

    def find(self, root: etree._Element, budget: Budget) -> list[Found]:
        """Return what it selects in a document.

        Raises:
            Unfit: It takes too much work.
        """
        return _walk(None, root, self.steps, budget)


def parse(text: str, prefixes: Prefixes, number: int) -> Selector:
    """Return the selector that a text is.

    Args:
        text: The attribute `sel`.
        prefixes: Namespaces by prefix; that of None is of elements without a prefix, as
            RFC 5261, section 4.2.2, has it and XPath 1.0 has not.
        number: Of the operation, for the refusal.

    Raises:
        Malformed: It is none, or more of XPath than is taken.
    """
    return _Parser(text, prefixes, number).selector()


def qualified(text: str, prefixes: Prefixes, number: int, *, is_attribute: bool) -> str:
    """Return a name as lxml has it, `{namespace}local`.

    Raises:
        Malformed: Nobody declared its prefix.
    """
    prefix, _, local = text.rpartition(":")
    if not prefix:
        space = "" if is_attribute or local == "*" else prefixes.get(None, "")
    else:
        space = prefixes.get(prefix) or IMPLIED.get(prefix, "")
        if not space:
            raise malformed(
                "it uses a prefix that is not declared.",
                "dùng một tiền tố chưa được khai báo.",
                number,
            )
    return f"{{{space}}}{local}" if space else local


class _Parser:
    def __init__(self, text: str, prefixes: Prefixes, number: int) -> None:
        self.prefixes, self.number = prefixes, number
        self.tokens = list(self.read(text.strip()))
        self.at = 0

    def read(self, text: str) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self.refusal()
            yield match.lastgroup, match[match.lastgroup]
            at = match.end()
        yield "end", ""

    def refusal(self) -> Malformed:
        return malformed(
            "its sel is none of the selectors that are taken: steps such as"
            " f:Patient/f:name[1]/f:given/@value.",
            "sel không thuộc các bộ chọn được chấp nhận, chẳng hạn"
            " f:Patient/f:name[1]/f:given/@value.",
            self.number,
        )

    def take(self, sign: str) -> bool:
        """Go on if this sign comes next."""
        if self.tokens[self.at] != ("sign", sign):
            return False
        self.at += 1
        return True

    def selector(self) -> Selector:
        is_deep = self.take("//")
        if not is_deep:
            self.take("/")
        steps = self.path(0, is_deep=is_deep)
        if self.tokens[self.at][0] != "end":
            raise self.refusal()
        return Selector(steps)

    def path(self, depth: int, *, is_deep: bool = False) -> tuple[Step, ...]:
        steps = [self.step(depth, is_deep=is_deep)]
        while (is_deep := self.take("//")) or self.take("/"):
            if steps[-1].kind != "element":
                raise self.refusal()
            steps.append(self.step(depth, is_deep=is_deep))
        return tuple(steps)

    def step(self, depth: int, *, is_deep: bool) -> Step:
        group, text = self.tokens[self.at]
        if group not in {"name", "test", "namespace"}:
            raise self.refusal()
        self.at += 1
        if group == "namespace":
            return Step("namespace", is_deep=is_deep)
        kind, name = self.test(text) if group == "test" else self.named(text)
        return Step(kind, name, self.conditions(depth), is_deep)

    def test(self, text: str) -> tuple[Kind, str]:
        kind, _, rest = text.partition("(")
        if kind == "processing-instruction":
            return "processing-instruction", rest.rstrip(")").strip().strip("'\"") or "*"
        return ("text" if kind == "text" else "comment"), "*"

    def named(self, text: str) -> tuple[Kind, str]:
        is_attribute = text.startswith("@")
        name = qualified(
            text.removeprefix("@"), self.prefixes, self.number, is_attribute=is_attribute
        )
        return ("attribute" if is_attribute else "element"), name

    def conditions(self, depth: int) -> tuple[Condition, ...]:
        found = []
        while self.take("["):
            found.append(self.condition(depth + 1))
            if not self.take("]"):
                raise self.refusal()
        return tuple(found)

    def condition(self, depth: int) -> Condition:
        group, text = self.tokens[self.at]
        if group == "number":
            self.at += 1
            return Condition(position=int(text))
        if depth > _MAX_DEPTH:
            raise self.refusal()
        path = () if self.take(".") else self.path(depth)
        if path and not self.take("="):
            return Condition(path=path)
        if not path and not self.take("="):
            raise self.refusal()
        group, text = self.tokens[self.at]
        if group != "quoted":
            raise self.refusal()
        self.at += 1
        return Condition(path=path, value=text[1:-1])


# Finding

_Context = etree._Element | None  # noqa: SLF001 - as above
"""An element, or None for the document that holds the root."""


def _walk(
    start: _Context, root: etree._Element, steps: tuple[Step, ...], budget: Budget
) -> list[Found]:
    contexts: list[_Context] = [start]
    found: list[Found] = []
    for number, step in enumerate(steps):
        if number:
            contexts = [one for one in found if isinstance(one, etree._Element)]  # noqa: SLF001
        if step.is_deep:
            contexts = list(dict.fromkeys(_with_all_within(contexts, root, budget)))
        found = []
        for context in contexts:
            nodes = list(_nodes(context, root, step, budget))
            for condition in step.conditions:
                nodes = _filtered(nodes, condition, root, budget)
            found += nodes
    return found


def _with_all_within(
    contexts: Iterable[_Context], root: etree._Element, budget: Budget
) -> Iterator[_Context]:
    for context in contexts:
        if context is None:
            yield None
        for one in (root if context is None else context).iter("*"):
            budget.spend(1)
            yield one


def _nodes(context: _Context, root: etree._Element, step: Step, budget: Budget) -> Iterator[Found]:
    """Give the nodes of a step's kind and name that an element, or the document, has."""
    if context is None:
        budget.spend(1)
        if step.kind == "element" and _is_named(str(root.tag), step.name):
            yield root
        return
    budget.spend(1 + len(context))
    match step.kind:
        case "element":
            yield from context.iterchildren(step.name)
        case "attribute":
            names = [str(one) for one in context.attrib]
            yield from (Attribute(context, one) for one in names if _is_named(one, step.name))
        case "text":
            texts = [context.text, *(child.tail for child in context)]
            yield from (Text(context, at) for at, text in enumerate(texts) if text)
        case "comment":
            yield from context.iterchildren(etree.Comment)
        case "processing-instruction":
            for one in context.iterchildren(etree.PI):
                if _is_named(str(getattr(one, "target", "")), step.name):
                    yield one
        case _:
            return


def _is_named(name: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return name.startswith(wanted[:-1])
    return name == wanted


def _filtered(
    nodes: list[Found], condition: Condition, root: etree._Element, budget: Budget
) -> list[Found]:
    if condition.position:
        return nodes[condition.position - 1 : condition.position]
    return [node for node in nodes if _holds(node, condition, root, budget)]


def _holds(node: Found, condition: Condition, root: etree._Element, budget: Budget) -> bool:
    found = [node]
    if condition.path:
        if not isinstance(node, etree._Element):  # noqa: SLF001 - as above
            return False
        found = _walk(node, root, condition.path, budget)
    if condition.value is None:
        return bool(found)
    return any(said(one, budget) == condition.value for one in found)


def said(found: Found, budget: Budget) -> str:
    """Return the string value of a node, as XPath has it.

    Raises:
        Unfit: What it holds, looked at for each that holds it, is too much.
    """
    match found:
        case Attribute(owner, name):
            text = str(owner.get(name))
        case Text(owner, behind):
            text = str((owner[behind - 1].tail if behind else owner.text) or "")
        case etree._Comment() | etree._ProcessingInstruction():  # noqa: SLF001 - as above
            text = str(found.text or "")
        case _:
            for _ in found.iter():
                budget.spend(1)
            text = str(_STRING(found))
    budget.spend(len(text) // _CHARACTERS)
    return text
