"""The functions that R4 adds to FHIRPath.

https://hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fhir_server.model import definitions, reference
from fhir_server.model.fhirpath import item as items
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.invocation import Function, Invocation
from fhir_server.model.fhirpath.item import Item, Node, lineage, plain

STRUCTURE: Final = "http://hl7.org/fhir/StructureDefinition/"


def extension(call: Invocation) -> list[Item]:
    """`extension(url) : collection`."""
    url = call.text_argument()
    if url is None:
        return []
    return [
        inner
        for one in call.focus
        if isinstance(one, Node)
        for inner in items.child(one, "extension")
        if isinstance(inner.value, dict) and inner.value.get("url") == url
    ]


def has_value(call: Invocation) -> list[Item]:
    """`hasValue() : Boolean`: one primitive that has a value, not only extensions."""
    if len(call.focus) != 1:
        return [False]
    (one,) = call.focus
    return [not isinstance(one, Node) or (one.is_primitive and one.value is not None)]


def get_value(call: Invocation) -> list[Item]:
    """`getValue()`: the value of one primitive, of FHIRPath's own type."""
    if has_value(call) == [False]:
        return []
    value = plain(call.focus[0])
    return [] if value is None else [value]


def resolve(call: Invocation) -> list[Item]:
    """`resolve() : collection`: what references name; those that name nothing known give nothing.

    A contained resource and an entry of the Bundle at hand are found there, all else by the
    environment's `resolve`.
    """
    found: list[Item] = []
    for one in call.focus:
        url = _url(one)
        if url is None:
            continue
        inside = next(_inside(call, one, url), None)
        ask = call.evaluation.environment.resolve
        if inside is not None:
            found.append(inside)
        elif ask is not None and not url.startswith("#"):
            resource = ask(url)
            if resource is not None:
                found.append(items.root(resource, None))
    return found


def _url(one: Item) -> str | None:
    holder = _object(one)
    value = plain(one) if holder is None else holder.get("reference")
    return value if isinstance(value, str) and value else None


def _object(one: Item) -> dict[str, Any] | None:
    return one.value if isinstance(one, Node) and isinstance(one.value, dict) else None


def _inside(call: Invocation, one: Item, url: str) -> Iterator[Node]:
    place = call.evaluation.place
    if url.startswith("#"):
        container = _container(place.outermost, one) or place.root
        call.evaluation.work.spend()
        if url == "#":
            yield container
        for inner in items.child(container, "contained"):
            call.evaluation.work.spend()
            if inner.value.get("id") == url[1:]:
                yield inner
    elif place.outermost.type == "Bundle":
        yield from _entries(call, place.outermost, url)


def _container(outermost: Node, one: Item) -> Node | None:
    """Return the resource that holds an item and is contained in none."""
    if not isinstance(one, Node) or one.keys is None:
        return None
    keys = one.keys
    if "contained" in keys:
        keys = keys[: keys.index("contained")]
    path = items.at(outermost.value, keys)
    return next((node for node in reversed(path) if _is_resource(node)), None)


def _is_resource(node: Node) -> bool:
    return definitions.kind(node.type) == "resource"


def _entries(call: Invocation, bundle: Node, url: str) -> Iterator[Node]:
    """Give the resources of a Bundle's entries that a reference names.

    https://hl7.org/fhir/R4/bundle.html#references: by fullUrl; a relative one by its end, too.
    """
    name = reference.parse(url).name
    plain_url = url.split("/_history/", maxsplit=1)[0]
    for entry in items.child(bundle, "entry"):
        call.evaluation.work.spend()
        full = entry.value.get("fullUrl")
        is_it = full == plain_url
        if not is_it and name is not None:
            is_it = isinstance(full, str) and full.endswith(f"/{name}")
            is_it = is_it or (full is None and _name(entry.value.get("resource")) == name)
        if is_it:
            yield from items.child(entry, "resource")


def _name(resource: Any) -> str | None:
    if not isinstance(resource, dict):
        return None
    return f"{resource.get('resourceType')}/{resource.get('id')}"


def member_of(call: Invocation) -> list[Item]:
    """`memberOf(valueset) : Boolean`; nothing where the value set is not known."""
    url = call.text_argument()
    if url is None or len(call.focus) != 1:
        return []
    value = _coded(call.focus[0])
    ask = call.evaluation.environment.member_of
    answer = ask(value, url) if ask is not None else None
    if answer is None:
        answer = _is_member(value, url.partition("|")[0])
    return [] if answer is None else [answer]


def _coded(one: Item) -> Any:
    if isinstance(one, Node):
        return one.value
    if isinstance(one, str):
        return one
    raise FhirPathError("“memberOf” takes a code, a Coding or a CodeableConcept.")


def _is_member(value: Any, url: str) -> bool | None:
    members = definitions.value_set(url)
    if members is None:
        return None
    if isinstance(value, str):
        return any(value in codes for codes in members.values())
    if not isinstance(value, dict):
        return None
    codings = value["coding"] if isinstance(value.get("coding"), list) else [value]
    return any(
        isinstance(coding, dict) and coding.get("code") in members.get(coding.get("system", ""), ())
        for coding in codings
    )


def conforms_to(call: Invocation) -> list[Item]:
    """`conformsTo(structure) : Boolean`: an own type of R4's by what it is, a profile if known."""
    url = call.text_argument()
    if url is None or not call.focus:
        return []
    if len(call.focus) > 1:
        raise FhirPathError("“conformsTo” takes one item.")
    (one,) = call.focus
    ask = call.evaluation.environment.conforms
    answer = ask(one.value, url) if ask is not None and isinstance(one, Node) else None
    name = url.partition("|")[0].removeprefix(STRUCTURE)
    if answer is None and definitions.is_type(name) and name != url and isinstance(one, Node):
        answer = name in lineage(one.type)
    if answer is None:
        raise FhirPathError("“conformsTo” names a profile that is not known.")
    return [answer]


def _subsumes(*, is_turned: bool) -> Function:
    def run(call: Invocation) -> list[Item]:
        others = call.argument()
        if len(call.focus) != 1 or len(others) != 1:
            return []
        one, other = _object(call.focus[0]), _object(others[0])
        if one is None or other is None:
            raise FhirPathError(f"“{call.name}” takes Codings.")
        if is_turned:
            one, other = other, one
        ask = call.evaluation.environment.subsumes
        answer = ask(one, other) if ask is not None else None
        if answer is None and all(one.get(key) == other.get(key) for key in ("system", "code")):
            answer = "code" in one or None
        return [] if answer is None else [answer]

    return run


def html_checks(call: Invocation) -> list[Item]:
    """`htmlChecks() : Boolean`: each narrative is XHTML as FHIR allows it."""
    check = call.evaluation.environment.html
    if check is None:
        raise FhirPathError("“htmlChecks” has no checker in this evaluation.", kind="not-supported")
    texts = [plain(one) for one in call.focus]
    return [all(isinstance(text, str) and check(text) for text in texts)]


def check_modifiers(call: Invocation) -> list[Item]:
    """`checkModifiers(modifier, ..)`: the input, if it has no modifier extension but these."""
    known = {call.text_argument(at) for at in range(len(call.arguments))}
    todo = [one for one in call.focus if isinstance(one, Node)]
    for one in todo:
        for inner in items.child(one, "modifierExtension"):
            call.evaluation.work.spend()
            if isinstance(inner.value, dict) and inner.value.get("url") not in known:
                raise FhirPathError("An element has a modifier extension that is not known.")
    return call.focus


def _not_supported(call: Invocation) -> list[Item]:
    raise FhirPathError(
        f"“{call.name}” needs the profile at hand, which this evaluation has not.",
        kind="not-supported",
    )


FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "extension": (1, 1, extension),
    "hasValue": (0, 0, has_value),
    "getValue": (0, 0, get_value),
    "resolve": (0, 0, resolve),
    "memberOf": (1, 1, member_of),
    "conformsTo": (1, 1, conforms_to),
    "subsumes": (1, 1, _subsumes(is_turned=False)),
    "subsumedBy": (1, 1, _subsumes(is_turned=True)),
    "htmlChecks": (0, 0, html_checks),
    "checkModifiers": (0, 16, check_modifiers),
    "elementDefinition": (0, 0, _not_supported),
    "slice": (2, 2, _not_supported),
}
"""The fewest and the most arguments, and the function."""
