"""A search as R4 says it, over a dict of resources: slow, short, and nothing of the server's.

https://hl7.org/fhir/R4/search.html

Nothing is imported from the server, so that what it does wrong is not done wrong here too. Where R4
leaves a choice, the choice is the one that `fhir_server/search/README.md` tells:

* strings are compared without marks, case and surplus white space, đ as d; `:text` finds what
  begins a word;
* dates, and times without a zone, are at +07:00; `ap` widens by a tenth;
* `ge` and `le` take every range that overlaps what is asked, so that `ge2024-01-02` and
  `gt2024-01-01` ask the same; by R4's table a range that ends within it would be lost;
* a canonical without a version means the active resource of the highest version; `:below` and
  `:above` compare versions part by part;
* of several values the least counts in an ascending order, the greatest in a descending one; what
  has none comes last; equals stand newest first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cmp_to_key
from math import acos, cos, radians, sin
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.naive.table import PARAMS, PARENTS, Param

Resource = dict[str, Any]
Span = tuple[Any, Any]
"""The first and the last moment, or the least and the greatest number."""

HANOI: Final = timezone(timedelta(hours=7))
EARLIEST: Final = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
LATEST: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
LEAST: Final = Decimal("-Infinity")
MOST: Final = Decimal("Infinity")
PREFIX: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
RESULTS: Final = frozenset({"_count", "_sort", "_total", "_filter"})

Tree = tuple[Any, ...]
"""A filter: `("and", left, right)`, `("or", left, right)`, `("not", inner)`, `("chain", parameter,
type, inner)` or `("test", parameter, operator, value)`."""


@dataclass(slots=True)
class Naive:
    """What is searched.

    Attributes:
        base: The FHIR base of the server.
        now: The time, for `ap`.
        resources: The current resources by type and id, the newest last.
    """

    base: str
    now: datetime
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict)

    def put(self, resource: Resource) -> None:
        """Keep a resource, newer than all others if it is no version that was here."""
        name = (resource["resourceType"], resource["id"])
        if resource != self.resources.get(name):
            self.resources.pop(name, None)
            self.resources[name] = resource

    def search(self, kind: str, query: str, tree: Tree | None = None) -> list[str]:
        """Return the ids of all that match, in the order asked; `tree` is the `_filter` among it.

        A filter is not parsed here: whoever draws its text knows what it asks.
        """
        asked = parse_qsl(query, keep_blank_values=True)
        found = [
            resource
            for resource in reversed(self.of(kind))
            if (tree is None or self.is_filtered(resource, tree))
            and all(
                self.matches(resource, name, value) for name, value in asked if name not in RESULTS
            )
        ]
        for key in reversed([k for name, v in asked if name == "_sort" for k in v.split(",")]):
            found = self._sorted(found, kind, key)
        return [resource["id"] for resource in found]

    def of(self, kind: str) -> list[Resource]:
        """Return the resources of a type, the oldest first."""
        return [resource for name, resource in self.resources.items() if name[0] == kind]

    # --- names: modifiers, chains, _has ---------------------------------------------------

    def matches(self, resource: Resource, name: str, value: str) -> bool:
        """Return whether one parameter selects a resource."""
        kind = resource["resourceType"]
        if name.startswith("_has:"):
            _, source, link, rest = name.split(":", 3)
            wanted = (kind, resource["id"])
            return any(
                wanted in self.places(one, PARAMS[source][link]) and self.matches(one, rest, value)
                for one in self.of(source)
            )
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        param = PARAMS[kind][code]
        if dot:
            targets = (modifier,) if modifier else param.targets
            return any(
                self.matches(self.resources[to], rest, value)
                for to in self.places(resource, param)
                if to[0] in targets and to in self.resources and _is_known(to[0], rest)
            )
        if modifier == "missing":
            return (value == "true") is not any(True for _ in _values(resource, param))
        hit = any(self.is_one(resource, param, modifier, one) for one in _split(value, ",") if one)
        return not hit if modifier == "not" else hit

    def is_one(self, resource: Resource, param: Param, modifier: str, asked: str) -> bool:
        """Return whether any value of a parameter is one that is asked."""
        if param.kind == "composite":
            return self._is_composite(resource, param, asked)
        test = self._test(param, modifier, asked)
        return any(test(value, found) for value, found in _values(resource, param))

    def _is_composite(self, resource: Resource, param: Param, asked: str) -> bool:
        wanted = _split(asked, "$")
        assert len(wanted) == len(param.parts)
        return any(
            all(
                self.is_one(node, part, "", one)
                for part, one in zip(param.parts, wanted, strict=True)
            )
            for path, _ in param.elements
            for node in _walk(resource, path)
        )

    def _test(self, param: Param, modifier: str, asked: str) -> Callable[[Any, str], bool]:
        """Return the test of one value, given with its datatype."""
        match param.kind, modifier:
            case "token", "text":
                word = fold(_plain(asked))
                return lambda value, found: any(
                    f" {fold(text)}".find(f" {word}") >= 0 for text in _texts(value, found)
                )
            case "token", "of-type":
                return lambda value, _: _is_of_type(value, asked)
            case "token", _:
                return lambda value, found: _is_token(_tokens(value, found, param.system), asked)
            case "string", _:
                return lambda value, found: any(
                    _is_string(text, modifier, _plain(asked)) for text in _strings(value, found)
                )
            case "uri", _:
                return lambda value, found: any(
                    _is_uri(text, modifier, _plain(asked), found) for text in _uris(value, found)
                )
            case "reference", "identifier":
                return lambda value, _: (
                    "identifier" in value
                    and _is_token(_tokens(value["identifier"], "Identifier", ""), asked)
                )
            case "reference", _ if param.elements[0][1] == "canonical":
                return lambda value, _: self._is_canonical(value, modifier, _plain(asked))
            case "reference", "above" | "below":
                among = self._hierarchy(modifier, param, _plain(asked))
                return lambda value, _: self._place(value.get("reference", "")) in among
            case "reference", _:
                return lambda value, _: self._is_reference(value, modifier, param, _plain(asked))
            case "date", _:
                return self._is_date(asked)
            case "special", _:
                return lambda value, _: _is_near(value, asked)
            case _:
                return _is_measure(param, asked)

    # --- _filter, https://hl7.org/fhir/R4/search_filter.html --------------------------------

    def is_filtered(self, resource: Resource, tree: Tree) -> bool:
        """Return whether a filter selects a resource."""
        match tree:
            case "and", left, right:
                return self.is_filtered(resource, left) and self.is_filtered(resource, right)
            case "or", left, right:
                return self.is_filtered(resource, left) or self.is_filtered(resource, right)
            case "not", inner:
                return not self.is_filtered(resource, inner)
            case "chain", code, target, inner:
                return any(
                    to[0] == target
                    and to in self.resources
                    and self.is_filtered(self.resources[to], inner)
                    for to in self.places(resource, PARAMS[resource["resourceType"]][code])
                )
            case _, code, operator, value:
                param = PARAMS[resource["resourceType"]][code]
                return self._is_tested(resource, param, operator, value)
        raise AssertionError(tree)

    def _is_tested(self, resource: Resource, param: Param, operator: str, value: str) -> bool:
        values = list(_values(resource, param))
        if operator == "pr":
            return (value == "true") is bool(values)
        if param.kind == "string":
            wanted = fold(value)
            found = [fold(text) for one, type_ in values for text in _strings(one, type_)]
            return any(
                {
                    "eq": text == wanted,
                    "ne": text != wanted,
                    "co": wanted in text,
                    "sw": text.startswith(wanted),
                    "ew": text.endswith(wanted),
                }[operator]
                for text in found
            )
        if param.kind in {"date", "number", "quantity"}:
            prefix = "ap" if operator == "po" else operator
            if operator == "po":
                low, high = span_of(value)
                spans = [_span(one, type_) for one, type_ in values]
                return any(s is not None and _is_beside(prefix, s, (low, high)) for s in spans)
            return self.is_one(resource, param, "", prefix + value)
        modifier = "begins" if (param.kind, operator) == ("uri", "sw") else ""
        test = self._test(param, modifier, value)
        if operator == "ne" and param.kind == "token":
            # Of a concept each code is a value, and a text is none.
            tokens = [one for v, type_ in values for one in _tokens(v, type_, param.system)]
            return any(not _is_token([one], value) for one in tokens if any(one))
        if operator == "ne":
            return any(
                not test(one, type_)
                for one, type_ in values
                if param.kind != "reference" or type_ == "canonical" or "reference" in one
            )
        return any(test(one, type_) for one, type_ in values)

    # --- references -----------------------------------------------------------------------

    def places(self, resource: Resource, param: Param) -> list[tuple[str, str]]:
        """Return the resources of this server that a reference parameter refers to."""
        found = []
        for value, type_ in _values(resource, param):
            if type_ == "canonical":
                found += [one for kind in param.targets for one in self._defined(kind, value)]
                found.append(self._place(value))
            else:
                found.append(self._place(value.get("reference", "")))
        return [place for place in found if isinstance(place, tuple)]

    def _defined(self, kind: str, canonical: str) -> list[tuple[str, str]]:
        """Return the resources of a type that a canonical URL means."""
        url, _, version = canonical.partition("#")[0].partition("|")
        named = [one for one in self.of(kind) if url and one.get("url") == url]
        if version:
            named = [one for one in named if one.get("version") == version]
        else:
            named = sorted(named, key=_currency)[-1:]
        return [(kind, one["id"]) for one in named]

    def _hierarchy(self, mode: str, param: Param, asked: str) -> set[tuple[str, str] | str]:
        """Return a resource and all that is part of it (`below`), or that it is part of."""
        start = self._place(asked)
        if not isinstance(start, tuple):
            (kind,) = [one for one in param.targets if one in PARENTS]
            start = (kind, asked)
        parent = PARAMS[start[0]][PARENTS[start[0]]]
        links = [
            ((start[0], one["id"]), whole)
            for one in self.of(start[0])
            for whole in self.places(one, parent)
        ]
        found: set[tuple[str, str] | str] = {start}
        while True:
            if mode == "below":
                more = {part for part, whole in links if whole in found}
            else:
                more = {whole for part, whole in links if part in found}
            if more <= found:
                return found
            found |= more

    def _is_canonical(self, value: str, modifier: str, asked: str) -> bool:
        whole, asked = value.partition("#")[0], asked.partition("#")[0]
        if not whole:
            return False
        url, _, version = whole.partition("|")
        wanted, _, number = asked.partition("|")
        if modifier == "below" and number:
            return url == wanted and _begins(version, number)
        if modifier == "above" and number:
            return url == wanted and _begins(number, version)
        if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", asked):
            asked = f"Questionnaire/{asked}"
        return self._place(asked) in {self._place(whole), url}

    def _place(self, text: str) -> tuple[str, str] | str:
        """Return a literal reference as type and id where it is this server's, else as written."""
        path = text.removeprefix(f"{self.base}/").partition("/_history/")[0]
        found = re.fullmatch(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})", path)
        return (found[1], found[2]) if found else text

    def _is_reference(self, value: Resource, modifier: str, param: Param, asked: str) -> bool:
        literal = value.get("reference")
        if literal is None:
            return False
        place = self._place(literal)
        if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", asked):
            return (
                isinstance(place, tuple)
                and place[1] == asked
                and (not modifier or place[0] == modifier)
                and (len(param.targets) != 1 or place[0] == param.targets[0])
            )
        if "/_history/" in asked:
            return bool(literal.removeprefix(f"{self.base}/") == asked)
        return place == self._place(asked)

    # --- dates ----------------------------------------------------------------------------

    def _is_date(self, asked: str) -> Callable[[Any, str], bool]:
        prefix, text = _prefixed(asked)
        low, high = span_of(text)
        if prefix == "ap":
            wide = max(abs(self.now - low), abs(self.now - high)) / 10
            low, high = low - wide, high + wide

        def test(value: Any, found: str) -> bool:
            span = _span(value, found)
            return span is not None and _is_beside(prefix, span, (low, high))

        return test

    # --- order ----------------------------------------------------------------------------

    def _sorted(self, found: list[Resource], kind: str, key: str) -> list[Resource]:
        code = key.removeprefix("-")
        down = key.startswith("-")
        keys = {one["id"]: self._keys(one, PARAMS[kind][code]) for one in found}

        def compare(left: Resource, right: Resource) -> int:
            mine, others = keys[left["id"]], keys[right["id"]]
            if not mine or not others:
                return bool(others) - bool(mine)
            pick = max if down else min
            one, other = pick(mine), pick(others)
            return ((one > other) - (one < other)) * (-1 if down else 1)

        return sorted(found, key=cmp_to_key(compare))

    def _keys(self, resource: Resource, param: Param) -> list[Any]:
        keys: list[Any] = []
        for value, found in _values(resource, param):
            match param.kind:
                case "token":
                    keys += [code for _, code in _tokens(value, found, "") if code]
                case "string":
                    keys += map(fold, _strings(value, found))
                case "uri":
                    keys += _uris(value, found)
                case "reference" if "reference" in value:
                    place = self._place(value["reference"])
                    keys.append("/".join(place) if isinstance(place, tuple) else place)
                case "reference" if found == "canonical":
                    whole = value.partition("#")[0]
                    each = [self._place(one) for one in {whole, whole.partition("|")[0]}]
                    keys += ["/".join(one) if isinstance(one, tuple) else one for one in each]
                case "date" if span := _span(value, found):
                    keys.append(span[0])
                case "number" | "quantity" if measure := _measured(value, found):
                    keys.append(measure[0])
        return keys


# --- walking ------------------------------------------------------------------------------


def _walk(node: Any, path: str) -> Iterator[Any]:
    """Give what is at a path, repetitions one by one."""
    if not path:
        yield node
        return
    step, _, rest = path.partition(".")
    name, _, only = step.partition("[")
    held = node.get(name, []) if isinstance(node, dict) else []
    for one in held if isinstance(held, list) else [held]:
        if not only or one.get("system") == only.rstrip("]").partition("=")[2]:
            yield from _walk(one, rest)


def _values(resource: Resource, param: Param) -> Iterator[tuple[Any, str]]:
    """Give the values of a parameter, each with its datatype."""
    for path, found in param.elements:
        for value in _walk(resource, path):
            if param.kind == "composite":
                parts = [list(_values(value, part)) for part in param.parts]
                if all(parts):
                    yield value, found
            elif not (param.only and _names_another(value, param.only)):
                yield value, found


def _currency(one: Resource) -> tuple[Any, ...]:
    """Return what orders the versions of a definition, the one that is meant without one last."""
    pieces = re.findall(r"[0-9]+|[A-Za-z]+", one.get("version", ""))
    # 1.0-a is before 1.0, and that before 1.0.1.
    order: list[tuple[int, int, str]] = []
    for piece in pieces:
        order.append((2, int(piece), "") if piece.isdecimal() else (0, 0, piece))
    if pieces:
        order.append((1, 0, ""))
    return one["status"] == "active", order, one["meta"]["lastUpdated"], one["id"]


def _begins(version: str, beginning: str) -> bool:
    """Return whether a version is another one or of it: 1.2.3 is of 1.2, and 1.20 is not."""
    return bool(beginning) and re.match(rf"{re.escape(beginning)}([.+-]|$)", version) is not None


def _names_another(reference: Resource, only: str) -> bool:
    """Return whether a reference names another type than this, literally or by its `type`."""
    if "reference" in reference:
        path = reference["reference"].partition("/_history/")[0]
        return bool(path.rpartition("/")[0].rpartition("/")[2] != only)
    return bool(reference.get("type", only) != only)


def _is_known(kind: str, name: str) -> bool:
    return name.startswith("_has:") or re.split(r"[:.]", name)[0] in PARAMS.get(kind, {})


# --- how a value is written ---------------------------------------------------------------


def _split(text: str, separator: str) -> list[str]:
    r"""Split where the separator is not escaped: `a\,b,c` has two parts."""
    parts = [""]
    for piece in re.findall(r"\\.|.", text, re.DOTALL):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _plain(text: str) -> str:
    return re.sub(r"\\([,$|\\])", r"\1", text)


def _prefixed(text: str) -> tuple[str, str]:
    found = PREFIX.fullmatch(text)
    assert found is not None
    return found[1] or "eq", found[2]


def fold(text: str) -> str:
    """Return a text without marks, case and surplus white space, đ as d."""
    letters = unicodedata.normalize("NFD", text)
    bare = "".join(one for one in letters if not unicodedata.combining(one))
    return " ".join(bare.lower().replace("đ", "d").split())


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


# --- token, string, uri -------------------------------------------------------------------


def _tokens(value: Any, found: str, system: str) -> list[tuple[str, str]]:
    """Return system and code of each token that a value is."""
    match found:
        case "CodeableConcept":
            return [one for c in value.get("coding", ()) for one in _tokens(c, "Coding", "")]
        case "Coding":
            return [(value.get("system", ""), value.get("code", ""))]
        case "Identifier":
            return [(value.get("system", ""), _composed(value.get("value", "")))]
        case "ContactPoint":
            return [("", _composed(value.get("value", "")))]
        case "boolean":
            return [("", "true" if value else "false")]
        case _:
            return [(system, _composed(value))]


def _is_token(tokens: Iterable[tuple[str, str]], asked: str) -> bool:
    system, *rest = [_composed(_plain(one)) for one in _split(asked, "|")]
    if not rest:
        return any(code == system for _, code in tokens if code)
    wanted = rest[0]
    return any(
        found == system and (code == wanted or not wanted)
        for found, code in tokens
        if found or code
    )


def _texts(value: Any, found: str) -> list[str]:
    match found:
        case "CodeableConcept":
            shown = [one["display"] for one in value.get("coding", ()) if "display" in one]
            return shown + ([value["text"]] if "text" in value else [])
        case "Coding":
            return [value["display"]] if "display" in value else []
        case "Identifier":
            return [value["type"]["text"]] if "text" in value.get("type", {}) else []
        case _:
            return []


def _is_of_type(identifier: Resource, asked: str) -> bool:
    system, code, number = [_plain(one) for one in _split(asked, "|")]
    return identifier.get("value") == number and any(
        one.get("system", "") == system and one.get("code") == code
        for one in identifier.get("type", {}).get("coding", ())
    )


def _strings(value: Any, found: str) -> list[str]:
    if found == "HumanName":
        names = ["text", "family", "given", "prefix", "suffix"]
    elif found == "Address":
        names = ["text", "line", "city", "district", "state", "postalCode", "country"]
    else:
        return [value]
    return [text for name in names for text in _walk(value, name)]


def _is_string(text: str, modifier: str, asked: str) -> bool:
    if modifier == "exact":
        return _composed(text) == _composed(asked)
    if modifier == "contains":
        return fold(asked) in fold(text)
    return fold(text).startswith(fold(asked))


def _uris(value: str, found: str) -> list[str]:
    """Return a URI, and of a canonical with a version also the one without."""
    return [value, value.partition("|")[0]] if found == "canonical" else [value]


def _is_uri(text: str, modifier: str, asked: str, found: str) -> bool:
    url, _, version = asked.partition("|")
    if modifier in {"above", "below"} and version and found == "canonical":
        named, _, number = text.partition("|")
        one, other = (number, version) if modifier == "below" else (version, number)
        return named == url and _begins(one, other)
    if modifier in {"below", "begins"}:
        return text.startswith(asked)
    return asked.startswith(text) if modifier == "above" else text == asked


# --- ranges -------------------------------------------------------------------------------


def span_of(text: str) -> Span:
    """Return the first and the last microsecond that a date or time covers."""
    found = re.fullmatch(
        r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
        r"(Z|[+-]\d\d:\d\d)?)?)?)?",
        text.replace(" ", "+"),
    )
    assert found is not None, text
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    low = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
        int(second or 0), int((fraction or "0")[:6].ljust(6, "0")), tzinfo=_zone(zone),
    )  # fmt: skip
    if month is None:
        after = low.replace(year=low.year + 1)
    elif day is None:
        after = (low + timedelta(days=31)).replace(day=1)
    elif hour is None:
        after = low + timedelta(days=1)
    elif second is None:
        after = low + timedelta(minutes=1)
    else:
        after = low + timedelta(seconds=1) / 10 ** len((fraction or "")[:6])
    return low, after - timedelta(microseconds=1)


def _zone(text: str | None) -> timezone:
    if text is None:
        return HANOI
    if text == "Z":
        return UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-away if text[0] == "-" else away)


def _span(value: Any, found: str) -> Span | None:
    if found == "Timing":
        events = [span_of(one) for one in value.get("event", ())]
        bounds = _span(value.get("repeat", {}).get("boundsPeriod", {}), "Period")
        spans = events + ([bounds] if bounds else [])
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None
    if found != "Period":
        return span_of(value)
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return None
    return (span_of(start)[0] if start else EARLIEST, span_of(end)[1] if end else LATEST)


def _is_beside(prefix: str, value: Span, asked: Span) -> bool:
    """R4, search.html#prefix, of a range in the resource and a range that is asked."""
    (start, end), (low, high) = value, asked
    return {
        "eq": low <= start and end <= high,
        "ne": not (low <= start and end <= high),
        "gt": end > high,
        "lt": start < low,
        "ge": end >= low,
        "le": start <= high,
        "sa": start > high,
        "eb": end < low,
        "ap": start <= high and end >= low,
    }[prefix]


def _measured(value: Any, found: str) -> Span | None:
    """Return the least and the greatest number that a value may be."""
    if found == "decimal":
        return Decimal(str(value)), Decimal(str(value))
    if found == "Range":
        low, high = value.get("low", {}).get("value"), value.get("high", {}).get("value")
        if low is None and high is None:
            return None
        return (LEAST if low is None else low, MOST if high is None else high)
    if "value" not in value:
        return None
    comparator = value.get("comparator", "")
    number = value["value"]
    return (LEAST if "<" in comparator else number, MOST if ">" in comparator else number)


def precision_of(text: str) -> Span:
    """Return what a number stands for by its digits: `100` is 99.5 up to 100.5, `1e2` 95 to 105."""
    digits, _, power = text.lower().partition("e")
    places = len(digits.partition(".")[2])
    step = Decimal(10) ** (int(power or 0) - places)
    if power and not places and len(digits.lstrip("+-")) == 1:
        step /= 10
    return Decimal(text) - step / 2, Decimal(text) + step / 2


def _is_measure(param: Param, asked: str) -> Callable[[Any, str], bool]:
    first, *unit = [_plain(one) for one in _split(asked, "|")]
    prefix, text = _prefixed(first)
    number = Decimal(text)
    low, high = precision_of(text)
    if prefix == "ap":
        tenth = abs(number) / 10
        low, high = min(low, number - tenth), max(high, number + tenth)

    def test(value: Any, found: str) -> bool:
        span = _measured(value, found)
        worth = _worth(value, found, *unit) if unit else Decimal(1)
        if span is None or worth is None:
            return False
        span = span[0] * worth, span[1] * worth
        if prefix in {"eq", "ne"}:
            return (low <= span[0] and span[1] < high) is (prefix == "eq")
        if prefix == "ap":
            return bool(span[0] < high and span[1] >= low)
        return _is_beside(prefix, span, (number, number))

    assert param.kind in {"number", "quantity"}
    return test


def _is_near(position: Resource, asked: str) -> bool:
    """Return whether a place is within a distance, 10 km if none is named, on a sphere."""
    north, east, *far = asked.split("|")
    metres = float(far[0]) * (1 if far[1] == "m" else 1000) if far else 10_000
    here, there = radians(float(north)), radians(float(position["latitude"]))
    apart = radians(float(east) - float(position["longitude"]))
    cosine = sin(here) * sin(there) + cos(here) * cos(there) * cos(apart)
    return acos(max(-1.0, min(1.0, cosine))) * 6_371_000 <= metres


UCUM: Final = "http://unitsofmeasure.org"
HOURS: Final = {"h": Decimal(1), "a": Decimal(8766)}
"""What those drawn units of UCUM are worth that measure the same; all others measure their own."""


def _worth(value: Resource, found: str, system: str, code: str) -> Decimal | None:
    """Return how many of the unit asked one of the value's is; None where it is none of it."""
    if found == "Range":
        value = value["low"] if "value" in value.get("low", {}) else value["high"]
    own = value.get("code", "")
    if not system:
        return Decimal(1) if not code or code in {own, value.get("unit")} else None
    if value.get("system") != system:
        return None
    if not code or own == code:
        return Decimal(1)
    if system == UCUM and code in HOURS and own in HOURS:
        return HOURS[own] / HOURS[code]
    return None
