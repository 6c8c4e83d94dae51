"""JSON Patch and merge patch: RFC 6902, RFC 6901 and RFC 7396 where HL7's cases say nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model import codec
from fhir_server.model.outcome import FhirError, Invalid, Malformed
from fhir_server.model.patch import json_patch, merge_patch
from fhir_server.model.patch.json_patch import MOST_COPIED
from fhir_server.model.patch.refusal import MOST_OPERATIONS


def op(kind: str, path: str, **more: Any) -> dict[str, Any]:
    """Return an operation; `of` is its member `from`."""
    if "of" in more:
        more["from"] = more.pop("of")
    return {"op": kind, "path": path, **more}


def patched(document: Any, *operations: dict[str, Any]) -> Any:
    """Return a document patched."""
    return json_patch.parse(list(operations)).apply(document)


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({"a": [1, 2]}, op("add", "/a/2", value=3), {"a": [1, 2, 3]}),
        ({"a": [1, 2]}, op("add", "/a/-", value=3), {"a": [1, 2, 3]}),
        ({"a": [1]}, op("add", "/a/0", value=0), {"a": [0, 1]}),
        ({"a": 1}, op("add", "/a", value=2), {"a": 2}),
        ({"a": 1}, op("add", "", value={"b": 2}), {"b": 2}),
        ({"a/b": {"m~n": 1}}, op("replace", "/a~1b/m~0n", value=2), {"a/b": {"m~n": 2}}),
        ({"~1": 1}, op("test", "/~01", value=1), {"~1": 1}),
        ({"": {"": 1}}, op("test", "//", value=1), {"": {"": 1}}),
        ({"a": {"b": 1}}, op("copy", "/c", of="/a"), {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, op("move", "/a", of="/a"), {"a": 1}),
        ({"a": {"b": {"c": 1}}}, op("move", "/a", of="/a/b"), {"a": {"c": 1}}),
        ({"a": [1, 2, 3]}, op("move", "/a/-", of="/a/0"), {"a": [2, 3, 1]}),
        ({"__proto__": 1}, op("replace", "/__proto__", value=2), {"__proto__": 2}),
        ({"a": Decimal("1.10")}, op("test", "/a", value=Decimal("1.1")), {"a": Decimal("1.10")}),
        ({"a": 1}, op("test", "/a", value=Decimal("1.0")), {"a": 1}),
        ({"a": [1, None]}, op("test", "", value={"a": [1, None]}), {"a": [1, None]}),
        ({"a": [{}], "b": 1}, op("remove", "/b"), {"a": [{}]}),
    ],
)  # fmt: skip
def test_what_an_operation_makes(document: Any, operation: dict[str, Any], expected: Any) -> None:
    """Pointers, escapes, the end of an array, the whole, equal numbers."""
    assert patched(document, operation) == expected


@pytest.mark.parametrize(
    "operation",
    [
        op("add", "/a/4", value=1),
        op("add", "/a/01", value=1),
        op("add", "/a/-1", value=1),
        op("add", "/a/1e0", value=1),
        op("add", "/a/9999999999999999999", value=1),
        op("add", "/b/c", value=1),
        op("add", "/s/0", value=1),
        op("remove", "/a/-"),
        op("remove", "/a/3"),
        op("remove", "/b"),
        op("remove", ""),
        op("replace", "/b", value=1),
        op("replace", "/a/-", value=1),
        op("copy", "/c", of="/b"),
        op("move", "/c", of="/b"),
        op("move", "/b", of="/b"),
        op("move", "/a/3", of="/a/0"),
        op("test", "/a/0", value="1"),
        op("test", "/a", value=[1, 2]),
        op("test", "/t", value=1),
        op("test", "/n", value=False),
        op("test", "/n/x", value=None),
    ],
)
def test_what_cannot_be_applied(operation: dict[str, Any]) -> None:
    """422, naming the operation and nothing of the resource."""
    document = {"a": [1, 2, 3], "s": "secret", "t": True, "n": None}

    with pytest.raises(Invalid) as refusal:
        patched(document, op("test", "/a/0", value=1), operation)

    (issue,) = refusal.value.issues
    assert refusal.value.status == 422
    assert issue.text.startswith("Operation 2 of the patch: ")
    assert issue.text_vi is not None
    assert "secret" not in issue.text


@pytest.mark.parametrize(
    "patch",
    [
        {},
        "add",
        [1],
        [{"path": "/a"}],
        [op("Add", "/a", value=1)],
        [op("merge", "/a", value=1)],
        [{"op": ["add"], "path": "/a", "value": 1}],
        [{"op": "remove"}],
        [op("remove", "a")],
        [{"op": "remove", "path": 1}],
        [op("remove", "/a~2")],
        [op("remove", "/a~")],
        [op("add", "/a")],
        [op("replace", "/a")],
        [op("test", "/a")],
        [op("move", "/a")],
        [op("copy", "/a", of="b")],
        [op("move", "/a/b", of="/a")],
        [op("move", "/a", of="")],
    ],
)
def test_what_is_no_json_patch(patch: Any) -> None:
    """400, whatever the resource is."""
    with pytest.raises(Malformed):
        json_patch.parse(patch)


def test_a_value_of_the_patch_is_never_shared() -> None:
    """A patch may be applied again, to another version: it is not changed by being applied."""
    patch = json_patch.parse([
        op("add", "/a", value={"b": []}),
        op("add", "/a/b/-", value=1),
        op("copy", "/c", of="/a"),
        op("add", "/c/b/-", value=2),
    ])

    for _ in range(2):
        assert patch.apply({}) == {"a": {"b": [1]}, "c": {"b": [1, 2]}}


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/telecom/0", {"name": [{"family": "A", "given": ["B"]}]}),
        ("/name/0/given/0", {"name": [{"family": "A"}], "telecom": [{"value": "1"}]}),
        ("/name/0", {"telecom": [{"value": "1"}]}),
        ("/telecom/0/value", {"name": [{"family": "A", "given": ["B"]}]}),
    ],
)
def test_what_is_left_empty_is_gone(path: str, left: Any) -> None:
    """FHIR has no empty arrays and objects: taking the last away takes the list away."""
    document = {"name": [{"family": "A", "given": ["B"]}], "telecom": [{"value": "1"}]}

    assert patched(document, op("remove", path)) == left


def test_what_the_patch_brings_empty_stays() -> None:
    """It is for validation to refuse, and nothing is forgiven silently."""
    assert patched({}, op("add", "/name", value=[])) == {"name": []}


def test_an_emptied_list_may_be_filled_again() -> None:
    """It is there until the patch ends."""
    refill = op("add", "/a/-", value=2)

    assert patched({"a": [1]}, op("remove", "/a/0"), refill) == {"a": [2]}


@pytest.mark.parametrize(
    ("beside", "at", "left"),
    [
        ([{"id": "x"}, {"id": "y"}], 0, {"given": ["A", "B"], "_given": [None, {"id": "y"}]}),
        ([{"id": "x"}, {"id": "y"}], 1, {"given": ["A", "B"], "_given": [{"id": "x"}, None]}),
        ([None, {"id": "y"}], 1, {"given": ["A", "B"]}),
    ],
)
def test_what_stands_beside_a_primitive_stays_beside_it(
    beside: list[Any], at: int, left: Any
) -> None:
    """An emptied `_given[0]` is null, so that the extensions of the second stay the second's."""
    document = {"given": ["A", "B"], "_given": beside}

    assert patched(document, op("remove", f"/_given/{at}/id")) == left


def test_copies_cannot_fill_the_memory() -> None:
    """The whole copied into itself forty times is refused, and soon."""
    doubling = [op("copy", f"/a{n}", of="") for n in range(40)]

    with pytest.raises(Invalid) as refusal:
        patched({"a": "x" * 1000}, *doubling)

    assert refusal.value.issues[0].code == "too-costly"
    assert MOST_COPIED < 2**40


@pytest.mark.parametrize(
    "change",
    [[op("add", "/a/0", value="y")], [op("remove", "/a/0")], [op("move", "/a/-", of="/a/0")]],
)
def test_a_long_array_is_not_moved_too_often(change: list[dict[str, Any]]) -> None:
    """As many operations as may be, each at the front of a million items, are refused."""
    with pytest.raises(Invalid) as refusal:
        patched({"a": ["x"] * 1_000_000}, *change * MOST_OPERATIONS)

    assert refusal.value.issues[0].code == "too-costly"


def test_a_patch_has_so_many_operations() -> None:
    """One more than MOST_OPERATIONS is refused before anything is done."""
    many = [op("test", "/a", value=1)] * MOST_OPERATIONS

    assert patched({"a": 1}, *many) == {"a": 1}
    with pytest.raises(Invalid, match="at most"):
        json_patch.parse([*many, many[0]])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "~/", "1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "~", "/", "0", "-", ""]), inner, max_size=4)
    ),
    max_leaves=12,
)


def pointers(value: Any, at: str = "") -> list[str]:
    """Return the pointers to all that is in a value."""
    found = [at]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else [])
    )
    for name, member in items:
        escaped = str(name).replace("~", "~0").replace("/", "~1")
        found += pointers(member, f"{at}/{escaped}")
    return found


@given(JSON, JSON, st.data())
def test_replaced_is_found_and_replaced_back(
    document: Any, value: Any, data: st.DataObject
) -> None:
    """At every place of every document: replace, test, and replace back gives what was there."""
    pointer = data.draw(st.sampled_from(pointers(document)))
    before = codec.dumps(document)
    was = codec.loads(before)
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        was = was[int(name)] if isinstance(was, list) else was[name]

    after = patched(
        codec.loads(before),
        op("test", pointer, value=was),
        op("replace", pointer, value=value),
        op("test", pointer, value=value),
        op("replace", pointer, value=was),
    )

    assert codec.dumps(after) == before


@pytest.mark.parametrize(
    ("document", "change", "expected"),
    [
        # The examples of RFC 7396, appendix A, that are objects, and leave nothing empty.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({"a": "b"}, {"a": {"bb": {"ccc": None}}, "d": 1}, {"d": 1}),
        # FHIR's: null in an array is a place, and stays.
        ({"_a": [{"id": "x"}]}, {"_a": [None, {"id": "y"}]}, {"_a": [None, {"id": "y"}]}),
        ({"a": {"b": 1}, "c": 1}, {"a": {"b": None}}, {"c": 1}),
        ({"a": 1}, {"a": {}}, {"a": {}}),
    ],
)  # fmt: skip
def test_merge_patch(document: Any, change: Any, expected: Any) -> None:
    """Members are merged, arrays replaced, null takes away; what it leaves empty is gone."""
    assert merge_patch.parse(change).apply(document) == expected


@pytest.mark.parametrize("value", [[], "a", 1, None])
def test_what_is_no_merge_patch(value: Any) -> None:
    """What is no object would replace the resource by what is none."""
    with pytest.raises(Malformed):
        merge_patch.parse(value)


@given(
    JSON.filter(lambda value: isinstance(value, dict)), JSON.filter(lambda v: isinstance(v, dict))
)
def test_a_merge_patch_is_idempotent_and_never_shared(document: Any, change: Any) -> None:
    """Applied to what it made it changes nothing; and the patch is as it was."""
    was = codec.dumps(change)
    patch = merge_patch.parse(change)

    once = patch.apply(document)
    twice = patch.apply(codec.loads(codec.dumps(once)))

    assert once == twice
    assert codec.dumps(change) == was


def test_the_refusals_are_fhirs() -> None:
    """Both kinds are FhirErrors, with a Vietnamese sentence."""
    for patch in ([op("remove", "/b")], [{}]):
        with pytest.raises(FhirError) as refusal:
            patched({}, *patch)
        assert "Thao tác 1" in (refusal.value.issues[0].text_vi or "")
