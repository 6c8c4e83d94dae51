"""JSON: every digit kept, and whatever cannot be read refused with one sentence."""

# ruff: noqa: E501 - a row of a table reads best in one line
from __future__ import annotations

import contextlib
import copy
import pickle
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model import codec, definitions
from fhir_server.model.outcome import Invalid, Malformed
from fhir_server.model.primitives import Lexeme

SENTENCE = re.compile(r"The [^\n]+[.]").fullmatch

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(alphabet=st.characters(codec="utf-8"))
    | st.decimals(allow_nan=False, allow_infinity=False, places=4),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)
digits = st.text("0123456789", min_size=1, max_size=25)
numbers = st.builds(
    lambda sign, whole, part, exponent: f"{sign}{whole.lstrip('0') or '0'}.{part}{exponent}",
    st.sampled_from(["", "-"]), digits, digits, st.sampled_from(["", "e3", "E-7", "e+12", "E0"]),
)  # fmt: skip


@given(values)
def test_what_is_written_is_read_back(value: object) -> None:
    """loads(dumps(v)) is v, decimals to the last digit."""
    written = codec.dumps(value)
    assert codec.loads(written) == codec.loads_stored(written) == value


@given(numbers)
def test_every_number_keeps_its_text(text: str) -> None:
    """A number with a point comes back as it was written, and as the number it is."""
    value = codec.loads(text.encode())

    assert codec.dumps(value) == text.encode()
    assert isinstance(value, Decimal)
    assert value == Decimal(text)


@pytest.mark.parametrize(
    "text", ["1.10", "0.010", "-0.0", "1e3", "0.0000001", "5", "123456789012345678.123"]
)
def test_digits_are_kept(text: str) -> None:
    """1.10 stays 1.10, an exponent stays an exponent, nothing becomes a float."""
    assert (
        codec.dumps(codec.loads(b'{"value":%b}' % text.encode())) == b'{"value":%b}' % text.encode()
    )


def test_a_lexeme_is_a_decimal_that_copies_with_its_text() -> None:
    """Copies and pickles of a number keep its text."""
    number = codec.loads(b"1e3")

    assert isinstance(number, Lexeme)
    assert number == 1000
    for again in (
        copy.copy(number),
        copy.deepcopy([number])[0],
        pickle.loads(pickle.dumps(number)),  # noqa: S301 - our own bytes,
    ):
        assert codec.dumps(again) == b"1e3"


@pytest.mark.parametrize(
    ("body", "about"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[1,", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b"NaN", "not JSON"),
        (b'{"a":Infinity}', "not JSON"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b'"\\udc00\\ud800"', "surrogate"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'"\x00"', "not JSON"),
        (b'"\xff"', "UTF-8"),
        (b'{"\xed\xa0\x80":1}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\x00}\x00", "byte order mark"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":1,"\\u0061":2}', "twice"),
        (b'{"a":"\\u003a","b":1,"b":2}', "twice"),
        (b'{"a" :1,"a"\n:2}', "twice"),
        (b'[{"a":{"b":[],"b":{}}}]', "twice"),
        (b"1e99999999999999999999999", "number"),
        (b"1e1001", "number"),
        (b"0.1e-2000", "number"),
        (b"9" * 5000, "number"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b"[" * 101 + b"]" * 101, "nested"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else value,
)
def test_what_is_no_json_is_refused_with_a_sentence(body: bytes, about: str) -> None:
    """Whatever the bytes are, the refusal is Malformed, says what was wrong, and quotes nothing."""
    with pytest.raises(Malformed) as refusal:
        codec.loads(body)

    issue = refusal.value.issues[0]
    assert about in issue.text
    assert SENTENCE(issue.text)
    assert issue.text_vi


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"b:c","d" : "e"}',
        b'{"a":"\\u003a"}',
        b'{"a":"\\":\\\\","b":"{[[[:"}',
        b"[" * 100 + b"]" * 100,
        b'[{"a":1},{"a":2}]',
        b'{"a":"%b"}' % (b'[{\\"' * 200),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_only_looks_wrong_is_read(body: bytes) -> None:
    """Colons, escapes and brackets inside strings are no names and no nesting."""
    assert codec.loads(codec.dumps(codec.loads(body))) == codec.loads(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes raise anything but Malformed, with a sentence."""
    with contextlib.suppress(Malformed):
        codec.dumps(codec.loads(body))


@pytest.mark.data
def test_the_json_test_suite_is_kept(data: Path) -> None:
    """JSONTestSuite: what must be read is read, what must not is refused, the rest is either."""
    taken: dict[str, list[str]] = {"y": [], "n": [], "i": []}
    refused: dict[str, list[str]] = {"y": [], "n": [], "i": []}
    for path in sorted((data / "json-robustness" / "test_parsing").glob("*.json")):
        try:
            codec.dumps(codec.loads(path.read_bytes()))
            taken[path.name[0]].append(path.name)
        except Malformed:
            refused[path.name[0]].append(path.name)

    assert taken["n"] == []
    # FHIR: the names in an object are unique; RFC 8259 only says they should be.
    assert refused["y"] == [
        "y_object_duplicated_key.json",
        "y_object_duplicated_key_and_value.json",
    ]
    assert len(taken["y"]) > 90
    assert len(refused["n"]) > 180


@pytest.mark.data
def test_naughty_strings_come_back(data: Path) -> None:
    """Every naughty string is text like any other, in JSON and in XML."""
    texts = codec.loads((data / "json-robustness" / "blns.json").read_bytes())
    for text in filter(None, texts):
        patient = {"resourceType": "Patient", "name": [{"text": text}]}
        assert codec.parse_resource(codec.dumps(patient)) == patient
        written = codec.from_xml(codec.to_xml(patient))["name"][0]["text"]
        assert written == "".join(
            c if c >= " " or c in "\t\n\r" else "\ufffd" for c in text
        ).replace("\ufffe", "\ufffd")


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b'"x"', b"{}", b'{"resourceType":"Person2"}', b'{"resourceType":["Patient"]}',
     b'{"resourceType":"Resource"}', b'{"resourceType":"DomainResource"}', b'{"resourceType":"HumanName"}'],
)  # fmt: skip
def test_what_is_no_resource_is_malformed(body: bytes) -> None:
    """Only an object with the name of a resource type of R4 is a resource."""
    with pytest.raises(Malformed, match="not a resource"):
        codec.parse_resource(body)


def test_pretty_is_the_same_content_in_lines() -> None:
    """`_pretty` indents and changes nothing."""
    value = {"a": [Decimal("1.10"), Lexeme("1e3")], "b": {}}

    pretty = codec.dumps(value, pretty=True)

    assert pretty.decode() == '{\n  "a": [\n    1.10,\n    1e3\n  ],\n  "b": {}\n}'
    assert codec.loads(pretty) == codec.loads(codec.dumps(value))


def test_stored_bytes_are_written_as_they_are() -> None:
    """Raw bytes go into a Bundle unparsed."""
    assert codec.dumps({"resource": msgspec.Raw(b'{"x": 1.0}')}) == b'{"resource":{"x": 1.0}}'


def test_what_has_no_form_in_json_is_our_own_mistake() -> None:
    """An object of Python's is a TypeError, not a refusal to the client."""
    with pytest.raises(TypeError, match="no form in JSON"):
        codec.dumps(object())


def test_content_too_deep_to_write_is_refused() -> None:
    """A value that our own code nested too deeply is a refusal, not a crash."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Malformed, match="nested"):
        codec.dumps(deep)
    while deep:  # taken apart by hand: freeing it at once would recurse
        deep = deep[0]  # type: ignore[assignment]


@pytest.mark.parametrize("text", ["-0", "[-0,0]", '{"a": -0, "b":1.10}', '{"a":"-0,-0"}', "-0.0"])
def test_a_negative_zero_is_written_as_it_came(text: str) -> None:
    """FHIR keeps what a decimal said; -0 is no less."""
    assert codec.dumps(codec.loads(text.encode())) == text.replace(" ", "").encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"resourceType":"Observation","valueQuantity":{"value":-0}}',
        '{"resourceType":"MolecularSequence","quality":[{"roc":{"precision":[-0,-0.0,-0]}}]}',
    ],
)
def test_a_negative_zero_is_stored_and_read_as_it_came(text: str) -> None:
    """What a store kept is read again with its -0, in the only array that can hold one too."""
    assert codec.dumps(codec.loads_stored(text.encode())) == text.encode()


def test_no_other_decimal_repeats() -> None:
    """MolecularSequence has the only decimals in arrays: where `loads_stored` looks for them."""
    seen: set[str] = set()
    todo = list(definitions.RESOURCE_TYPES)
    found = set()
    while todo:
        type_ = todo.pop()
        if type_ not in seen:
            seen.add(type_)
            inner = definitions.properties(type_).values()
            found |= {type_ for one in inner if one.type == "decimal" and one.element.is_many}
            todo += [one.type for one in inner if not one.is_primitive and one.type != "Resource"]

    assert found == {"MolecularSequence.quality.roc"}


def test_a_number_beyond_all_measure_makes_an_invalid_resource() -> None:
    """What is a resource but for a number is 422, what is any other JSON is malformed."""
    with pytest.raises(Invalid) as refusal:
        codec.parse_resource(
            b'{"resourceType":"Observation","valueInteger":' + b"9" * 10_000 + b"}"
        )

    assert "number" in refusal.value.issues[0].text
