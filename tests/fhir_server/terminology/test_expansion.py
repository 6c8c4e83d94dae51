"""Expansions of value sets: each filter, inactive codes, intersections, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.terminology.code_system import CodeSystem
from fhir_server.terminology.expansion import Members, expand, expand_resource
from fhir_server.terminology.library import Library, Needed, TooMany, Unexpandable
from fhir_server.terminology.subsumption import subsumed

X = "http://x/cs"
SYSTEM: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "url": X,
    "status": "active",
    "content": "complete",
    "property": [
        {"code": "colour", "type": "string"},
        {"code": "edible", "type": "boolean"},
        {"code": "kind", "type": "Coding"},
    ],
    "concept": [
        {
            "code": "fruit",
            "display": "Fruit",
            "concept": [
                {
                    "code": "apple",
                    "display": "Apple",
                    "property": [
                        {"code": "colour", "valueString": "red"},
                        {"code": "edible", "valueBoolean": True},
                        {"code": "kind", "valueCoding": {"code": "pome"}},
                    ],
                },
                {
                    "code": "cherry",
                    "display": "Cherry",
                    "property": [
                        {"code": "colour", "valueString": "red"},
                        {"code": "inactive", "valueBoolean": True},
                    ],
                },
            ],
        },
        {"code": "stone", "property": [{"code": "status", "valueCode": "retired"}]},
    ],
}
EVERY = {"fruit", "apple", "cherry", "stone"}


def library(**value_sets: dict[str, Any] | None) -> Library:
    """Return what is known: the code system, that there is no other, and these value sets."""
    return Library(dict(value_sets), {X: CodeSystem.of(SYSTEM), "http://nope": None})


def of(*include: dict[str, Any], **compose: Any) -> dict[str, Any]:
    """Return a ValueSet that includes these."""
    return {"resourceType": "ValueSet", "compose": {"include": list(include), **compose}}


def rule(name: str, operator: str, value: str) -> dict[str, Any]:
    """Return an include of what one filter chooses."""
    return {"system": X, "filter": [{"property": name, "op": operator, "value": value}]}


@pytest.mark.parametrize(
    ("name", "operator", "value", "codes"),
    [
        ("concept", "is-a", "fruit", "fruit apple cherry"),
        ("code", "is-a", "fruit", "fruit apple cherry"),
        ("concept", "descendent-of", "fruit", "apple cherry"),
        ("concept", "is-not-a", "fruit", "stone"),
        ("concept", "generalizes", "apple", "apple fruit"),
        ("concept", "=", "apple", "apple"),
        ("concept", "=", "nope", ""),
        ("concept", "is-a", "nope", ""),
        ("concept", "in", "apple, stone,nope", "apple stone"),
        ("concept", "not-in", "apple,stone", "fruit cherry"),
        ("colour", "=", "red", "apple cherry"),
        ("colour", "in", "red,green", "apple cherry"),
        ("colour", "not-in", "red", "fruit stone"),
        ("colour", "exists", "true", "apple cherry"),
        ("colour", "exists", "false", "fruit stone"),
        ("edible", "=", "true", "apple"),
        ("kind", "=", "pome", "apple"),
        ("display", "=", "Cherry", "cherry"),
    ],
)
def test_a_filter_chooses(name: str, operator: str, value: str, codes: str) -> None:
    """Each filter chooses these codes of the system, in an include and in an exclude."""
    chosen = rule(name, operator, value)

    assert expand_resource(of(chosen), library(), 10).codes[X] == set(codes.split())
    rest = expand_resource(of({"system": X}, exclude=[chosen]), library(), 10)
    assert rest == Members({X: EVERY - set(codes.split())})


def test_inactive_codes_are_left_out_where_the_set_says_so() -> None:
    """`inactive` false leaves out concepts that are inactive or retired, and only those."""
    listed = {"system": X, "concept": [{"code": "cherry"}, {"code": "apple"}]}

    assert expand_resource(of({"system": X}, inactive=False), library(), 10).codes == {
        X: {"fruit", "apple"}
    }
    assert expand_resource(of(listed, inactive=False), library(), 10).codes == {X: {"apple"}}
    assert expand_resource(of(listed, inactive=True), library(), 10).codes == {
        X: {"apple", "cherry"}
    }


def test_an_include_of_several_is_what_is_in_all() -> None:
    """A system and value sets in one include are intersected; whole systems stay whole."""
    one = of({"system": X}, {"system": "http://y", "concept": [{"code": "a"}, {"code": "b"}]})
    two = of({"system": "http://y"}, {"system": X, "concept": [{"code": "apple"}]})
    known = library(one=one, two=two)

    assert expand_resource(of({"valueSet": ["one", "two"]}), known, 10) == Members({
        X: {"apple"},
        "http://y": {"a", "b"},
    })
    assert expand_resource(of({"system": X, "valueSet": ["one"]}), known, 10) == Members(
        systems={X}
    )
    assert expand_resource(of({"system": X, "valueSet": ["two"]}), known, 10) == Members({
        X: {"apple"}
    })


def test_what_is_needed_is_asked_for_by_name() -> None:
    """A resource that was not looked for yet is named, with its version."""
    with pytest.raises(Needed) as need:
        expand("http://a|1", Library(), 10)
    assert (need.value.kind, need.value.url) == ("ValueSet", "http://a|1")

    wanted = of(rule("concept", "is-a", "b") | {"system": "http://a", "version": "2"})
    with pytest.raises(Needed) as need:
        expand_resource(wanted, Library(), 10)
    assert (need.value.kind, need.value.url) == ("CodeSystem", "http://a|2")


def test_a_stored_expansion_stands_in_for_what_is_not_here() -> None:
    """It is taken with all in it but groups; a definition that can be told goes before it."""
    expansion = {
        "contains": [
            {"system": X, "code": "group", "abstract": True, "contains": [
                {"system": X, "code": "a"}, {"display": "b"},
            ]},
        ]
    }  # fmt: skip
    unknown = of(rule("concept", "is-a", "b") | {"system": "http://nope"}) | {
        "expansion": expansion
    }

    assert expand_resource(unknown, library(), 10) == Members({X: {"a"}})
    assert expand_resource(of({"system": X}) | {"expansion": expansion}, library(), 10) == Members(
        systems={X}
    )


def test_more_codes_than_were_asked_for_are_not_told() -> None:
    """The bound holds for a set, and for what it includes."""
    many = of({"system": X, "concept": [{"code": str(one)} for one in range(11)]})

    for wanted in (many, of({"valueSet": ["many"]})):
        with pytest.raises(TooMany):
            expand_resource(wanted, library(many=many), 10)
    assert len(expand_resource(many, library(), 11)) == 11


def test_r4s_sets_are_known_where_the_library_has_no_other() -> None:
    """A set of R4's required bindings is known, unless another resource or version is meant."""
    url = "http://hl7.org/fhir/ValueSet/administrative-gender"
    other = of({"system": X, "concept": [{"code": "apple"}]})

    assert expand(url, library(**{url: None}), 10).codes == {
        "http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}
    }
    assert expand(url, library(**{url: other}), 10).codes == {X: {"apple"}}
    with pytest.raises(Unexpandable):
        expand(f"{url}|5.0.0", library(**{f"{url}|5.0.0": None}), 10)


def test_subsumption_stops_where_concepts_turn_in_a_circle() -> None:
    """Concepts that say they are above one another are all above and below each other."""
    circle = {
        **SYSTEM,
        "concept": [
            {"code": "a", "property": [{"code": "parent", "valueCode": "b"}]},
            {"code": "b", "property": [{"code": "parent", "valueCode": "a"}]},
            {"code": "c", "property": [{"code": "parent", "valueCode": "gone"}]},
        ],
    }
    known = Library({}, {X: CodeSystem.of(circle)})

    assert subsumed(known, X, "a", "below") == subsumed(known, X, "a", "above") == {"a", "b"}
    assert subsumed(known, X, "c", "above") == {"c"}
