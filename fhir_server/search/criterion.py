"""One search parameter's values as they are asked: prefixes, modifiers, precision, escapes.

https://hl7.org/fhir/R4/search.html

No error repeats a value: it may be a patient's name or number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final, Literal

from fhir_server.model import primitives
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.identifiers import MA_LK, meanings, plain
from fhir_server.model.outcome import InvalidValue, UnsupportedParameter
from fhir_server.search.canonical import beginnings, is_canonical, named_by
from fhir_server.search.earth import asked_near
from fhir_server.search.expected import EXPECTED
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    And,
    CompositeIs,
    DateIs,
    Expression,
    Ids,
    InHierarchy,
    InValueSet,
    LastUpdated,
    Listed,
    Missing,
    Not,
    NumberIs,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    StringIs,
    Subsumed,
    TokenIs,
    TokenText,
    UriIs,
)
from fhir_server.search.fold import exact, fold
from fhir_server.search.parameters import Parameter, parent_of
from fhir_server.search.place import located, versioned
from fhir_server.search.values import MAX_TIME, MIN_TIME, identifier_of, of_type, version_of
from fhir_server.search.wording import WORDED, Unreadable, asked_words

LIST: Final = Parameter("_list", "special", "", "")
"""`_list`, which every type has, https://hl7.org/fhir/R4/search.html#list."""

_SPECIAL: Final = "http://terminology.hl7.org/CodeSystem/special-values"
"""The system that true and false have, though no element says it, search.html#token."""
_PREFIXES: Final = frozenset(prefix.value for prefix in Prefix)
_MAX_DIGITS: Final = 60
_EXACT: Final = Context(prec=4 * _MAX_DIGITS)
_NUMBER: Final = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
_ZONE_LOST: Final = re.compile(r"(T[\d:.]+) (\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A parameter as it is asked.

    Attributes:
        name: As the client wrote it, for errors.
        modifier: Behind the colon, or "".
        base_url: The FHIR base; absolute references below it are our own resources.
        now: Microseconds since 1970, for `ap`; None where a stored criterion has no now.
    """

    parameter: Parameter
    name: str
    modifier: str = ""
    base_url: str = ""
    now: int | None = None

    def refused(self, expected: str, *given: int) -> InvalidValue:
        """Return the refusal of a value that cannot be parsed; `expected` is one of EXPECTED."""
        name = shown(self.name)
        english, vietnamese = expected.format(*given), EXPECTED[expected].format(*given)
        return InvalidValue(
            f"A value of the search parameter {name} is not {english}.",
            text_vi=f"Một giá trị của tham số tìm kiếm {name} không phải là {vietnamese}.",
        )


def shown(name: str) -> str:
    """Return a parameter's name as an error may repeat it."""
    return f"'{name}'" if re.fullmatch(r"[\w.:*-]{1,100}", name, re.ASCII) else "given"


def split(text: str, separator: str, limit: int = -1) -> list[str]:
    r"""Return the parts of a text between unescaped separators; escapes stay.

    `split("a\\,b,c", ",")` has two parts.
    """
    if "\\" not in text:
        return text.split(separator, limit)
    parts: list[str] = []
    start = 0
    for match in re.finditer(rf"\\.|{re.escape(separator)}", text, re.DOTALL):
        if match[0] == separator and len(parts) != limit:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return parts


def unescaped(text: str) -> str:
    r"""Return a text with `\,` `\$` `\|` and `\\` as the characters they stand for."""
    return re.sub(r"\\([,$|\\])", r"\1", text) if "\\" in text else text


def criterion(asked: Asked, value: str) -> Expression:
    """Return what one parameter asks: any of its values, between commas.

    Raises:
        InvalidValue: A value cannot be parsed, or the modifier is not one of the type's.
        UnsupportedParameter: A functional list is asked for.
    """
    kind = asked.parameter.type
    if asked.modifier == "missing" and asked.parameter.code not in {LIST.code, *WORDED}:
        return _missing(asked, value)
    alternatives = [one_of(asked, part) for part in split(value, ",") if part]
    found = alternatives[0] if len(alternatives) == 1 else Or(tuple(alternatives))
    return Not(found) if asked.modifier in {"not", "not-in"} and kind == "token" else found


def one_of(asked: Asked, value: str) -> Expression:
    """Return what one value of a parameter asks."""
    code = asked.parameter.code
    if code == "_id":
        return _id(asked, value)
    if code == "_lastUpdated":
        return _last_updated(asked, value)
    if code in WORDED:
        return _words(asked, value)
    if code == LIST.code:
        return _listed(asked, value)
    return _BY_TYPE[asked.parameter.type](asked, value)


def _modifier_is_among(asked: Asked, *known: str) -> None:
    if asked.modifier and asked.modifier not in known:
        raise InvalidValue(
            f"The search parameter {shown(asked.name)} has a modifier that parameters of type "
            f"{asked.parameter.type} do not have.",
            text_vi=f"Tham số tìm kiếm {shown(asked.name)} có bổ từ mà tham số loại "
            f"{asked.parameter.type} không có.",
        )


def _missing(asked: Asked, value: str) -> Expression:
    if value not in {"true", "false"}:
        raise asked.refused("true or false")
    missing = value == "true"
    code = asked.parameter.code
    if code in {"_id", "_lastUpdated"}:
        return NOTHING if missing else EVERYTHING
    if asked.parameter.type != "reference":
        return Missing(code, missing)
    # A reference may be logical: an identifier alone.
    both = (Missing(code, missing), Missing(identifier_of(code), missing))
    return And(both) if missing else Or(both)


def _id(asked: Asked, value: str) -> Expression:
    _modifier_is_among(asked, "not")
    if not primitives.is_id(value):
        raise asked.refused("a resource id")
    return Ids(frozenset({value}))


def _listed(asked: Asked, value: str) -> Listed:
    _modifier_is_among(asked)
    if value.startswith("$"):
        raise UnsupportedParameter(
            "Functional lists such as $current-problems are not supported; name a List by its id.",
            text_vi="Danh sách chức năng như $current-problems chưa được hỗ trợ; "
            "hãy nêu id của một List.",
        )
    kind, resource_id, _ = located(value, asked.base_url)
    if kind != "List":
        resource_id = value
    if not primitives.is_id(resource_id):
        raise asked.refused("the id of a List, or List/id")
    return Listed(resource_id)


# --- token, string, uri ------------------------------------------------------------------


def _token(asked: Asked, value: str) -> Expression:
    _modifier_is_among(asked, "not", "text", "of-type", "in", "not-in", "above", "below")
    match asked.modifier:
        case "text":
            return TokenText(asked.parameter.code, _folded(asked, value))
        case "of-type":
            return _of_type(asked, value)
        case "in" | "not-in":
            return _in_value_set(asked, value)
        case "above" | "below":
            return _subsumed(asked, asked.modifier, value)
        case _:
            return token(asked, asked.parameter.code, value)


def token(asked: Asked, code: str, value: str) -> TokenIs | Or:
    """Return what a token's value asks: `system|code`, `|code`, `code` or `system|`."""
    head, *rest = split(value, "|", 1)
    if not rest:
        return TokenIs(code, None, _plain(asked, unescaped(head)))
    tail = rest[0]
    wanted = unescaped(tail)
    system = unescaped(head)
    if system == _SPECIAL and asked.parameter.value_types == {"boolean"}:
        system = ""
    systems = meanings(system, wanted)
    # Contract, section 7: the value of S/ma-lk has a bar of its own.
    if systems[0] != MA_LK and len(split(tail, "|")) > 1:
        raise asked.refused("system|code; a bar within a code is written \\|")
    codes = [exact(plain(system, wanted)) for system in systems]
    if not all(codes) and (tail or not head):
        raise asked.refused("system|code")
    found = tuple(
        TokenIs(code, system, one or None) for system, one in zip(systems, codes, strict=True)
    )
    return found[0] if len(found) == 1 else Or(found)


def _in_value_set(asked: Asked, value: str) -> InValueSet:
    text = unescaped(value)
    url, _, _ = text.partition("|")
    kind, resource_id, _ = located(url, asked.base_url)
    if kind == "ValueSet" and url == text:
        text = f"{kind}/{resource_id}"
    elif kind or ":" not in url or any(char.isspace() for char in text):
        raise asked.refused("the URL of a ValueSet, or ValueSet/id")
    bare = asked.parameter.value_types == {"code"}
    return InValueSet(asked.parameter.code, text, bare)


def _subsumed(asked: Asked, mode: Literal["above", "below"], value: str) -> Subsumed | Or:
    found = token(asked, asked.parameter.code, value)
    tokens = found.operands if isinstance(found, Or) else (found,)
    leaves = [
        Subsumed(one.param, one.system, one.code, mode)
        for one in tokens
        if isinstance(one, TokenIs) and one.system and one.code
    ]
    if not leaves:
        raise asked.refused("system|code, both given")
    return leaves[0] if len(leaves) == 1 else Or(tuple(leaves))


def _plain(asked: Asked, code: str) -> str:
    if asked.parameter.value_types == {"boolean"} and code not in {"true", "false"}:
        raise asked.refused("true or false")
    return exact(code)


def _of_type(asked: Asked, value: str) -> TokenIs:
    parts = [unescaped(part) for part in split(value, "|", 2)]
    if len(parts) != 3 or not (parts[1] and parts[2]):  # noqa: PLR2004 - system, code, value
        raise asked.refused("system|code|value")
    system, code, number = parts
    return TokenIs(of_type(asked.parameter.code), system or None, f"{code}|{number}")


def _folded(asked: Asked, value: str) -> str:
    folded = fold(unescaped(value))
    if not folded:
        # An empty beginning would match every text.
        raise asked.refused("a text with letters or digits")
    return folded


def _string(asked: Asked, value: str) -> StringIs:
    _modifier_is_among(asked, "exact", "contains")
    code = asked.parameter.code
    if asked.modifier == "exact":
        return StringIs(code, exact(unescaped(value)), "exact")
    folded = _folded(asked, value)
    return StringIs(code, folded, "contains" if asked.modifier == "contains" else "starts")


def _uri(asked: Asked, value: str) -> UriIs | Or:
    _modifier_is_among(asked, "above", "below")
    uri = unescaped(value)
    if any(char.isspace() for char in uri):
        raise asked.refused("a URI")
    url, version = named_by(uri)
    if asked.modifier and version and asked.parameter.value_types == {"canonical"}:
        return Or(tuple(_versioned_uris(asked.parameter.code, asked.modifier, url, version)))
    if asked.modifier == "above":
        return UriIs(asked.parameter.code, uri, "above")
    return UriIs(asked.parameter.code, uri, "below" if asked.modifier == "below" else "exact")


def _versioned_uris(code: str, modifier: str, url: str, version: str) -> Iterator[UriIs]:
    """Give what asks for a version of a canonical and those that it is one of, or of it."""
    if modifier == "above":
        for one in beginnings(version):
            yield UriIs(code, f"{url}|{one}")
        return
    yield UriIs(code, f"{url}|{version}")
    for mark in ".-+":
        yield UriIs(code, f"{url}|{version}{mark}", "below")


def _words(asked: Asked, value: str) -> Expression:
    _modifier_is_among(asked)
    try:
        return asked_words(asked.parameter.code, unescaped(value))
    except Unreadable:
        raise asked.refused(
            'words and "phrases", which AND, OR, NOT and brackets may join; a comma within is \\,'
        ) from None


# --- reference ---------------------------------------------------------------------------


def _reference(asked: Asked, value: str) -> Expression:
    code = asked.parameter.code
    if asked.modifier == "identifier":
        return token(asked, identifier_of(code), value)
    if asked.modifier == "above":
        return _in_hierarchy(asked, "above", unescaped(value))
    if asked.modifier == "below":
        return _in_hierarchy(asked, "below", unescaped(value))
    if asked.modifier and asked.modifier not in RESOURCE_TYPES:
        _modifier_is_among(asked)
    text = unescaped(value)
    is_url = is_canonical(asked.parameter)
    if is_url:
        text = text.partition("#")[0]
    if primitives.is_id(text):
        only = asked.parameter.targets
        kind = asked.modifier or (next(iter(only)) if len(only) == 1 else None)
        return RefersTo(code, kind, text)
    kind, resource_id, url = located(text, asked.base_url)
    if kind:
        if asked.modifier not in {"", kind}:
            raise asked.refused("a reference to the type that its modifier names")
        if "/_history/" in text:
            return RefersTo(code, None, "", versioned(text, kind, resource_id))
        return RefersTo(code, kind, resource_id)
    # Of a canonical a query is part: `http://snomed.info/sct?fhir_vs`.
    url = text if is_url else url
    if ":" not in url or any(char.isspace() for char in url):
        raise asked.refused("an id, Type/id or an absolute URL")
    return RefersTo(code, None, "", url)


def _in_hierarchy(asked: Asked, mode: Literal["above", "below"], text: str) -> Expression:
    kind, resource_id, _ = located(text, asked.base_url)
    if primitives.is_id(text):
        kinds = [one for one in sorted(asked.parameter.targets) if parent_of(one)]
        if len(kinds) != 1:
            raise asked.refused("Type/id of a resource that may be part of others of its type")
        kind, resource_id = kinds[0], text
    if kind:
        if "/_history/" in text or parent_of(kind) is None:
            raise asked.refused("Type/id of a resource that may be part of others of its type")
        return InHierarchy(asked.parameter.code, kind, resource_id, mode)
    if not is_canonical(asked.parameter):
        raise asked.refused("Type/id of a resource that may be part of others of its type")
    if ":" not in text or any(char.isspace() for char in text):
        raise asked.refused("an absolute URL, or url|version")
    return _of_version(asked.parameter.code, mode, *named_by(text))


def _of_version(code: str, mode: Literal["above", "below"], url: str, version: str) -> Expression:
    if not version:
        return RefersTo(code, None, "", url)
    if mode == "below":
        return RefersTo(version_of(code), None, "", f"{url}|{version}")
    above = [RefersTo(code, None, "", f"{url}|{one}") for one in beginnings(version)]
    return above[0] if len(above) == 1 else Or(tuple(above))


# --- dates -------------------------------------------------------------------------------


def _prefixed(asked: Asked, value: str) -> tuple[Prefix, str]:
    if not value[:2].isalpha():
        return Prefix.EQ, value
    if value[:2] not in _PREFIXES:
        raise asked.refused("begun with one of the prefixes eq ne gt lt ge le sa eb ap")
    return Prefix(value[:2]), value[2:]


def _moment(asked: Asked, value: str) -> tuple[Prefix, int, int]:
    _modifier_is_among(asked)
    prefix, text = _prefixed(asked, value)
    try:
        # A `+` that was not escaped in the URL arrives as a space.
        low, high = primitives.date_range(_ZONE_LOST.sub(r"\1+\2", text))
    except ValueError:
        raise asked.refused("a date or time") from None
    if prefix is Prefix.AP:
        if asked.now is None:
            raise InvalidValue(
                "The prefix ap cannot be used here: it depends on the time.",
                text_vi="Không dùng được tiền tố ap ở đây: nó phụ thuộc vào thời gian.",
            )
        # R4, search.html#prefix, a tenth of the time between now and the value.
        wide = max(abs(asked.now - low), abs(asked.now - high)) // 10
        low, high = max(low - wide, MIN_TIME), min(high + wide, MAX_TIME)
    return prefix, low, high


def _date(asked: Asked, value: str) -> DateIs:
    return DateIs(asked.parameter.code, *_moment(asked, value))


def _last_updated(asked: Asked, value: str) -> LastUpdated:
    return LastUpdated(*_moment(asked, value))


# --- numbers and quantities --------------------------------------------------------------


def _measure(asked: Asked, value: str) -> tuple[Prefix, Decimal, Decimal, Decimal]:
    """Return a number with its prefix and the range that its precision stands for."""
    _modifier_is_among(asked)
    prefix, text = _prefixed(asked, value)
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _MAX_DIGITS:
        raise asked.refused("a number")
    number = Decimal(text)
    exponent = -len(match[3] or "") + int(match[4] or 0)
    # By R4, search.html#number, 1e2 stands for 95 up to 105: a digit more than is written.
    if match[4] and not match[3] and len(match[2]) == 1:
        exponent -= 1
    half = Decimal(5).scaleb(exponent - 1, _EXACT)
    if prefix is Prefix.AP:
        half = max(half, _EXACT.multiply(abs(number), Decimal("0.1")))
    return prefix, number, _EXACT.subtract(number, half), _EXACT.add(number, half)


def _number(asked: Asked, value: str) -> NumberIs:
    return NumberIs(asked.parameter.code, *_measure(asked, value))


def _quantity(asked: Asked, value: str) -> QuantityIs:
    parts = [unescaped(part) for part in split(value, "|")]
    if len(parts) not in {1, 3}:
        raise asked.refused("number or number|system|code")
    measure = _measure(asked, parts[0])
    system, code = parts[1:] if len(parts) > 1 else ("", "")
    return QuantityIs(asked.parameter.code, *measure, system or None, code or None)


def _near(asked: Asked, value: str) -> Expression:
    _modifier_is_among(asked)
    try:
        return asked_near(asked.parameter.code, [unescaped(part) for part in split(value, "|")])
    except ValueError:
        raise asked.refused(
            "latitude|longitude|distance|unit, in degrees and a UCUM unit of length (km if none)"
        ) from None


# --- composite ---------------------------------------------------------------------------


def _composite(asked: Asked, value: str) -> CompositeIs:
    _modifier_is_among(asked)
    components = asked.parameter.components
    parts = split(value, "$")
    if len(parts) != len(components) or not all(parts):
        raise asked.refused("{} values joined by $", len(components))
    found = tuple(
        one_of(Asked(component, asked.name, base_url=asked.base_url, now=asked.now), part)
        for component, part in zip(components, parts, strict=True)
    )
    return CompositeIs(asked.parameter.code, found)


_BY_TYPE: Final[Mapping[str, Callable[[Asked, str], Expression]]] = {
    "token": _token,
    "string": _string,
    "uri": _uri,
    "reference": _reference,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "composite": _composite,
    "special": _near,
}
