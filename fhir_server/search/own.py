"""A store's own search parameters: what a SearchParameter resource may say, and how they are asked.

https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fhir_server.model import definitions
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import BusinessRule, Duplicate, FhirError, InvalidValue
from fhir_server.search import path
from fhir_server.search.criterion import Asked, shown, split
from fhir_server.search.leaves import leaf
from fhir_server.search.parameters import (
    Found,
    Known,
    Own,
    Parameter,
    Part,
    ends_of,
    own_parameter,
    parameters,
)
from fhir_server.search.path import Field, UnknownForm

if TYPE_CHECKING:
    from fhir_server.search.reading import Reading

MOST: Final = 200
"""Parameters of its own that a store may have."""
MOST_COMPONENTS: Final = 5
LONGEST: Final = 4_000
"""Characters of an expression."""

_EVERY: Final = ("Resource", "DomainResource")
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII).fullmatch
_PREFIX: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)(?=[\d+-])").match
_PREFIXED: Final = frozenset({"date", "number", "quantity"})


# --- how they are asked --------------------------------------------------------------------


def check_own(reading: Reading, own: Own, asked: Asked, value: str) -> None:
    """Make sure that a parameter is asked as its definition lets it be.

    Raises:
        InvalidValue: It is not.
    """
    name = shown(asked.name)
    values = split(value, ",")
    if not own.multiple_or and len(values) > 1:
        raise InvalidValue(
            f"The search parameter {name} takes one value, not several with commas between them.",
            text_vi=f"Tham số tìm kiếm {name} chỉ nhận một giá trị, không nhận nhiều giá trị "
            "cách nhau bằng dấu phẩy.",
        )
    if not own.multiple_and and reading.own.get(own.code, 0) > 1:
        raise InvalidValue(
            f"The search parameter {name} may be given once.",
            text_vi=f"Tham số tìm kiếm {name} chỉ được nêu một lần.",
        )
    if asked.modifier and own.modifiers and asked.modifier not in own.modifiers:
        raise InvalidValue(
            f"The search parameter {name} has a modifier that its definition does not list.",
            text_vi=f"Tham số tìm kiếm {name} có bổ từ mà định nghĩa của nó không nêu.",
        )
    if own.comparators and own.type in _PREFIXED and asked.modifier != "missing":
        prefixes = {found[1] if (found := _PREFIX(one)) else "eq" for one in values}
        if not prefixes <= {"eq", *own.comparators}:
            raise InvalidValue(
                f"The search parameter {name} has a prefix that its definition does not list.",
                text_vi=f"Tham số tìm kiếm {name} có tiền tố so sánh mà định nghĩa của nó "
                "không nêu.",
            )


# --- what a SearchParameter says -----------------------------------------------------------


def own_of(resource: dict[str, Any], known: Known) -> Own | None:
    """Return the parameter that a (valid) SearchParameter makes; None where it makes none.

    It makes none while it is no longer or not yet active, and where it is one of R4's or ours,
    which are there anyway.

    Args:
        resource: The SearchParameter.
        known: The parameters that there are but for that of this resource.

    Raises:
        BusinessRule: It is active, but cannot be indexed; the text says what of it.
        Duplicate: There is one of its code, or of its URL.
    """
    if resource.get("status") != "active" or _is_standard(resource):
        return None
    kind, code, url = resource["type"], resource["code"], resource["url"]
    if kind == "special" or resource.get("xpathUsage", "normal") != "normal":
        raise _unfit("type", "a special, phonetic or nearby parameter has a meaning of its own")
    if not _CODE(code):
        raise _unfit("code", "a code has letters, digits and hyphens, at most 64, a letter first")
    base = tuple(dict.fromkeys(resource["base"]))
    for one in base:
        if one not in RESOURCE_TYPES and one not in _EVERY:
            raise _unfit("base", f"{one} is no resource type of R4")
    made = Own(
        name=code,
        type=kind,
        url=url,
        base=base,
        expression=resource.get("expression", ""),
        made=0,
        source=resource.get("id", ""),
        target=tuple(resource.get("target", ())),
        components=_components(resource, known),
        multiple_or=resource.get("multipleOr", True),
        multiple_and=resource.get("multipleAnd", True),
        comparators=tuple(resource.get("comparator", ())),
        modifiers=tuple(resource.get("modifier", ())),
    )
    _check_new(made, known)
    _check_expression(made)
    return made


def _unfit(element: str, reason: str) -> BusinessRule:
    return BusinessRule(
        f"This server cannot index the search parameter by its {element}: {reason}. "
        "With the status draft it is kept without being indexed.",
        expression=(f"SearchParameter.{element}",),
        text_vi=f"Máy chủ này không thể lập chỉ mục theo tham số tìm kiếm này vì phần {element} "
        "của nó. Với trạng thái draft, nó được lưu mà không lập chỉ mục.",
    )


def kinds_of(base: Iterable[str]) -> frozenset[str]:
    """Return the resource types that have a parameter of this base."""
    named = set(base)
    if named.isdisjoint(_EVERY):
        return frozenset(named)
    return frozenset(
        kind for kind in RESOURCE_TYPES if not named.isdisjoint(definitions.ancestors(kind))
    )


def _is_standard(resource: dict[str, Any]) -> bool:
    kinds = kinds_of(resource["base"]) & RESOURCE_TYPES
    for kind in kinds:
        there = parameters(kind).get(resource["code"])
        if there is None or there.url != resource["url"]:
            return False
    return bool(kinds)


def _check_new(made: Own, known: Known) -> None:
    kinds = kinds_of(made.base)
    for kind in sorted(kinds | (set(made.base) & {"Resource"})):
        if made.name in known.of(kind) or made.name in definitions.search_parameters(kind):
            raise Duplicate(
                f"{kind} has a search parameter of the code {made.name} already.",
                expression=("SearchParameter.code",),
                text_vi=f"{kind} đã có tham số tìm kiếm mang mã {made.name}.",
            )
    if any(one.url == made.url for one in known.own):
        raise Duplicate(
            "Another active SearchParameter has the same url.",
            expression=("SearchParameter.url",),
            text_vi="Một SearchParameter khác đang hoạt động có cùng url.",
        )
    if len(known.own) >= MOST:
        raise BusinessRule(
            f"A server may have {MOST} search parameters of its own; retire or delete another.",
            text_vi=f"Máy chủ chỉ được có {MOST} tham số tìm kiếm riêng; hãy ngừng hoặc xóa bớt.",
        )


def _components(resource: dict[str, Any], known: Known) -> tuple[Part, ...]:
    parts = resource.get("component", [])
    if resource["type"] != "composite":
        return ()
    if not 2 <= len(parts) <= MOST_COMPONENTS:  # noqa: PLR2004 - one is no composite
        raise _unfit("component", f"a composite has 2 to {MOST_COMPONENTS} components")
    return tuple(_part(part, known) for part in parts)


def _part(part: dict[str, Any], known: Known) -> Part:
    url, expression = part["definition"].partition("|")[0], part["expression"]
    fact = definitions.parameters_by_url().get(url)
    own = next((one for one in known.own if one.url == url), None)
    if fact is not None:
        found = Part(fact.code, fact.type, url, expression, fact.target)
    elif own is not None:
        found = Part(own.name, own.type, url, expression, own.target)
    else:
        raise _unfit("component", f"there is no search parameter {shown_url(url)}")
    if found.type in {"composite", "special"}:
        raise _unfit("component", f"a {found.type} parameter cannot be a component")
    return found


def shown_url(url: str) -> str:
    """Return a URL as an error may repeat it."""
    return url if re.fullmatch(r"[\x21-\x7e]{1,200}", url) else "of this definition"


# --- whether its expression finds anything -------------------------------------------------


def _check_expression(made: Own) -> None:
    """Make sure that every alternative begins at a type, and ends at what the type can index."""
    _parsed(made.expression, "expression")
    for part in made.components:
        _parsed(part.expression, "component")
    begun: set[path.Path] = set()
    for kind in made.base:
        parameter = own_parameter(made, kind)
        if not parameter.paths:
            raise _unfit("expression", f"no alternative of it begins at {kind}")
        begun.update(parameter.paths)
        for item in parameter.paths:
            _check_path(parameter, kind, item)
        for component in parameter.components:
            _check_component(component, parameter, kind)
    roots = {item.root for item in begun}
    for item in path.parse(made.expression):
        if item.root not in roots:
            raise _unfit("expression", f"{item.root or 'a path'} is not of the base")


def _parsed(expression: str, element: str) -> None:
    if len(expression) > LONGEST:
        raise _unfit(element, f"an expression has at most {LONGEST} characters")
    if not expression.strip():
        raise _unfit(element, "there must be a FHIRPath expression")
    try:
        path.parse(expression)
    except UnknownForm as unknown:
        raise _unfit(
            element,
            f"it is not understood from '{unknown.part[:100]}' on (paths, where(x = 'y'), "
            "extension('url'), as(Type), [0] and where(resolve() is Type) are)",
        ) from None


def _check_path(parameter: Parameter, holder: str, item: path.Path) -> None:
    named = [step.name for step in item.steps if isinstance(step, Field)]
    if "contained" in named:
        raise _unfit("expression", "contained resources are not indexed")
    ends = tuple(ends_of(holder, item.steps))
    if not ends:
        raise _unfit("expression", f"it leads nowhere: {holder} has no {'.'.join(named)}")
    if parameter.type != "composite" and not any(_is_indexed(parameter, end) for end in ends):
        kinds = ", ".join(sorted({end.type for end in ends})[:5])
        raise _unfit("type", f"a {parameter.type} parameter finds nothing in a {kinds}")


def _is_indexed(parameter: Parameter, end: Found) -> bool:
    return leaf(parameter.code, parameter.type, end.type, targets=parameter.targets) is not None


def _check_component(component: Parameter, of: Parameter, kind: str) -> None:
    for item in component.paths:
        holders = [kind] if item.root == path.RESOURCE else sorted(of.value_types)
        for holder in holders:
            try:
                _check_path(component, holder, item)
            except FhirError:
                raise _unfit(
                    "component", f"'{component.expression[:100]}' finds nothing in {holder}"
                ) from None


# --- which one it is -----------------------------------------------------------------------


def is_same(one: Own, other: Own) -> bool:
    """Return whether two definitions index and ask the same, so that nothing is to be made anew."""
    plain = (msgspec.structs.replace(each, made=0, ready=False) for each in (one, other))
    return next(plain) == next(plain)
