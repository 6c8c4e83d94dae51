"""JSON made to break parsers, and strings made to break programs, over HTTP: JSONTestSuite's cases,
the big list of naughty strings and Firely's edge cases; but those of `json_robustness.toml`.
"""  # noqa: D205 - one sentence

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from fhir_server.store.port import Store
from tests.conformance.meaning import meaning
from tests.conftest import World
from tests.data import shared_data
from tests.sizes import TIMES

pytestmark = pytest.mark.data

COUNTS = {"n": 188, "y": 95, "i": 35}
STRINGS = 515
JSON = {"Content-Type": "application/fhir+json"}
XML = {"Content-Type": "application/fhir+xml"}
AS_XML = {"Accept": "application/fhir+xml"}
PATCH = {"Content-Type": "application/json-patch+json"}
WAYS = (
    ("POST", "Patient", JSON),
    ("PUT", "Patient/x", JSON),
    ("PATCH", "Patient/x", PATCH),
    ("POST", "", JSON),
)
"""The requests that read JSON."""

Resource = dict[str, Any]


@cache
def listed(kind: str) -> tuple[dict[str, Any], ...]:
    """Return the rows of `json_robustness.toml` of a kind."""
    text = Path(__file__).with_name("json_robustness.toml").read_text(encoding="utf-8")
    rows: tuple[dict[str, Any], ...] = tuple(tomllib.loads(text)[kind])
    assert all(row["reason"] for row in rows)
    return rows


def cases(kind: str) -> dict[str, bytes]:
    """Return the bytes of JSONTestSuite's cases: `n` no JSON, `y` JSON, `i` either."""
    folder = shared_data() / "json-robustness" / "test_parsing"
    found = {path.name: path.read_bytes() for path in sorted(folder.glob(f"{kind}_*.json"))}
    assert len(found) == COUNTS[kind]
    return found


def strings() -> list[str]:
    """Return the big list of naughty strings."""
    found = json.loads((shared_data() / "json-robustness" / "blns.json").read_bytes())
    assert len(found) == STRINGS
    return found


def refused_strings() -> frozenset[str]:
    """Return the strings that the list says no element may hold."""
    return frozenset(text for row in listed("string") for text in row["texts"])


def told(answer: httpx.Response) -> str:
    """Return what a refusal says; it is an OperationOutcome with a sentence in both languages."""
    outcome = codec.loads(answer.content)
    assert outcome["resourceType"] == "OperationOutcome"
    (issue, *_) = outcome["issue"]
    assert issue["severity"] == "error"
    assert issue["details"]["_text"]["extension"], "not in Vietnamese"
    text = issue["details"]["text"]
    assert isinstance(text, str)
    return text


async def content(world: World) -> list[Any]:
    """Return all versions that a store holds."""
    return list((await world.store.history(None, None)).versions)


async def test_what_is_no_json_is_refused(client: httpx.AsyncClient, world: World) -> None:
    """All 188 cases, as a resource, a Bundle and a patch, are 400, and nothing is written."""
    await world.put({"resourceType": "Patient", "id": "x"})
    before = await content(world)
    wrong = []
    for name, body in cases("n").items():
        for method, path, headers in WAYS:
            answer = await client.request(method, path, content=body, headers=headers)
            if answer.status_code != 400 or not told(answer):
                wrong.append((name, method, path, answer.status_code, answer.text[:200]))

    assert wrong == []
    assert await content(world) == before


async def test_what_is_json_is_read(client: httpx.AsyncClient) -> None:
    """Of all 95 cases it is said that they are no resource, or no Bundle; but of those listed."""
    other = {name: row["says"] for row in listed("read") for name in row["cases"]}
    wrong = []
    for name, body in cases("y").items():
        for path in ("Patient", ""):
            answer = await client.post(path, content=body, headers=JSON)
            text = told(answer)
            good = text == other[name] if name in other else "is not a resource" in text
            if answer.status_code != 400 or not good:
                wrong.append((name, path, answer.status_code, text))

    assert wrong == []
    assert other.keys() <= cases("y").keys()


async def test_what_may_be_read_or_not_is_as_listed(client: httpx.AsyncClient) -> None:
    """Each of the 35 cases is answered as its row says."""
    expected = {name: row for row in listed("either") for name in row["cases"]}
    wrong = []
    for name, body in cases("i").items():
        answer = await client.post("Patient", content=body, headers=JSON)
        row, text = expected[name], told(answer)
        good = text == row["says"] if "says" in row else text.startswith(row["says_prefix"])
        if answer.status_code != row["status"] or not good:
            wrong.append((name, answer.status_code, text))

    assert wrong == []
    assert expected.keys() == cases("i").keys()


DECIMAL = (
    b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
    b'"valueQuantity":{"value":%b}}'
)
"""An Observation without its value's number."""


def single(value: type) -> Iterator[tuple[str, str]]:
    """Give name and JSON text of each string, or number, that a `y` case has alone in an array."""
    for name, body in cases("y").items():
        read = json.loads(body)
        if isinstance(read, list) and len(read) == 1 and type(read[0]) is value:
            yield name, body.decode().strip()[1:-1].strip()


@pytest.mark.parametrize("value", [int, float])
async def test_every_number_keeps_its_text(client: httpx.AsyncClient, value: type) -> None:
    """A number that JSON allows is a decimal of FHIR, read back as it was written, in XML too."""
    numbers = dict(single(value))
    for text in numbers.values():
        body = DECIMAL % text.encode()
        made = await client.post("Observation", content=body, headers=JSON)
        assert made.status_code == 201, (text, made.text)
        path = made.headers["Location"]
        assert f'"valueQuantity":{{"value":{text}}}' in (await client.get(path)).text
        xml = await client.get(path, headers=AS_XML)
        assert f'<valueQuantity><value value="{text}"/></valueQuantity>' in xml.text
        part = await client.get(f"Observation?_id={made.json()['id']}&_elements=value")
        assert f'"valueQuantity":{{"value":{text}}}' in part.text

    assert len(numbers) >= 8


async def test_every_string_keeps_its_characters(client: httpx.AsyncClient) -> None:
    """A string of the cases, escaped or not, is read back as it is; but those listed are 422."""
    texts = dict(single(str))
    seen = set()
    for raw in texts.values():
        text = json.loads(raw)
        body = f'{{"resourceType":"Patient","name":[{{"text":{raw}}}]}}'
        made = await client.post("Patient", content=body.encode(), headers=JSON)
        if text in refused_strings():
            seen.add(text)
            assert made.status_code == 422, (raw, made.text)
            assert told(made)
            continue
        assert made.status_code == 201, (raw, made.text)
        path = made.headers["Location"]
        assert (await client.get(path)).json()["name"] == [{"text": text}]
        xml = await client.get(path, headers=AS_XML)
        assert codec.from_xml(xml.content)["name"] == [{"text": text}]

    assert len(texts) > 40
    assert seen | set(strings()) >= refused_strings()


# --- the big list of naughty strings


def naughty(number: int, text: str) -> Resource:
    """Return a Patient that holds a string wherever a person may write, as text and as a key."""
    return {
        "resourceType": "Patient",
        "id": f"blns-{number}",
        "extension": [{"url": "http://example.org/naughty", "valueMarkdown": text}],
        "identifier": [{"system": "http://example.org/naughty", "value": text}],
        "name": [{"text": text, "family": text, "given": [text, "x"]}],
        "address": [{"line": [text], "city": text}],
    }


def put(resource: Resource) -> dict[str, Any]:
    """Return a Bundle's entry that stores a resource under its id."""
    url = f"Patient/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def escaped(text: str) -> str:
    r"""Return a search value that means these characters, also those that separate values.

    R4 search.html#escaping: `\,`, `\$`, `\|` and `\\`.
    """
    for sign in "\\,|$":
        text = text.replace(sign, f"\\{sign}")
    return text


async def pages(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Resource]:
    """Return all Patients by their ids, page by page, read as JSON or XML."""
    found = {}
    url: str | None = "Patient?_count=200"
    while url is not None:
        answer = await client.get(url, headers=headers)
        assert answer.status_code == 200, answer.text[:300]
        body = answer.content
        bundle = codec.from_xml(body) if headers else codec.parse_resource(body)
        found |= {entry["resource"]["id"]: entry["resource"] for entry in bundle["entry"]}
        url = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), None)
    return found


async def test_naughty_strings_are_kept_and_found(
    each_store: Store, world: World, new_client: Callable[..., httpx.AsyncClient]
) -> None:
    """508 of 515 come back character by character, JSON and XML, and are found as they are.

    They are sent as JSON and, each second one, as XML.
    """
    world.store = each_store
    sent = {
        f"blns-{number}": naughty(number, text)
        for number, text in enumerate(strings())
        if text not in refused_strings()
    }
    assert len(sent) == 508
    halves = [[one for one in sent.values() if int(one["id"][5:]) % 2 == half] for half in (0, 1)]
    bundles: list[Resource] = [
        {"resourceType": "Bundle", "type": "transaction", "entry": [put(one) for one in half]}
        for half in halves
    ]
    async with new_client() as client:
        as_json = await client.post("", content=codec.dumps(bundles[0]), headers=JSON)
        as_xml = await client.post("", content=codec.to_xml(bundles[1]), headers=XML)
        assert (as_json.status_code, as_xml.status_code) == (200, 200), as_json.text[:500]

        for headers in ({}, AS_XML):
            found = await pages(client, headers)
            for one in found.values():
                del one["meta"]
            assert found == sent

        for one in list(sent.values())[:: max(1, 25 // TIMES)]:
            text = one["name"][0]["text"]
            if text.strip():  # a parameter without a value asks for nothing
                query = {"family:exact": escaped(text), "_elements": "id"}
                answer = (await client.get("Patient", params=query)).json()
                assert one["id"] in [entry["resource"]["id"] for entry in answer["entry"]], text
                query = {"identifier": f"|{escaped(text)}"}
                answer = (await client.get("Patient", params=query)).json()
                assert answer["total"] == 0, text  # it has a system


async def test_naughty_strings_that_no_element_may_hold_are_refused(
    client: httpx.AsyncClient, world: World
) -> None:
    """7 of 515 are 422 with a sentence, and nothing is written."""
    number = 0
    for text in filter(refused_strings().__contains__, strings()):
        number += 1
        body = codec.dumps(naughty(number, text))
        answer = await client.put(f"Patient/blns-{number}", content=body, headers=JSON)
        assert answer.status_code == 422, (text, answer.text)
        assert told(answer)

    assert number == 7
    assert await content(world) == []


async def test_naughty_strings_anywhere_in_a_request_are_answered(
    client: httpx.AsyncClient,
) -> None:
    """As a search value, an id, a type, a parameter's name, a reference, a header: never 5xx."""
    await client.post("Patient", content=codec.dumps(naughty(0, "x")), headers=JSON)
    wrong = []
    for text in strings()[:: max(1, 8 // TIMES)]:
        quoted = httpx.QueryParams({"a": text})
        value = str(quoted)[2:]
        asks = [
            ("GET", f"Patient?name={value}"),
            ("GET", f"Patient?name:exact={value}&identifier={value}&birthdate={value}"),
            ("GET", f"Patient?_sort={value}&_include={value}"),
            ("GET", f"Patient?{value}=x"),
            ("GET", f"Patient?_filter={value}"),
            ("GET", f"Patient?_cursor={value}"),
            ("GET", f"Patient/{value.replace('+', '%20')}"),
            ("GET", f"{value.replace('+', '%20')}/x"),
            ("DELETE", f"Patient?identifier={value}"),
            ("GET", f"Observation?subject={value}&value-quantity={value}&code={value}"),
        ]
        answers = [(ask, await client.request(*ask)) for ask in asks]
        header = text.encode()
        if text.strip() and not {0, 10, 13} & set(header):
            fields = {b"If-None-Exist": header, b"Prefer": header, b"If-Match": header, **RAW}
            body = codec.dumps({"resourceType": "Patient"})
            made = await client.post("Patient", content=body, headers=fields)
            answers.append((("POST", f"If-None-Exist: {text}"), made))
        wrong += [(ask, one.status_code) for ask, one in answers if one.status_code >= 500]

    assert wrong == []


RAW = {name.encode(): value.encode() for name, value in JSON.items()}


# --- Firely's edge cases, and what no suite has


async def test_the_edge_cases_are_kept(client: httpx.AsyncClient, data: Path) -> None:
    """FHIR's rare forms in JSON come back equal, in JSON and XML.

    As it lies there it is 422: it is of DSTU2, whose Binary has `content` where R4's has `data`.
    """
    body = (data / "json-robustness" / "json-edge-cases.json").read_bytes()
    as_it_lies = await client.post("Patient", content=body, headers=JSON)
    assert as_it_lies.status_code == 422
    assert told(as_it_lies) == "Patient.contained[0] has no element content."

    body = body.replace(b'"content":', b'"data":')
    made = await client.post("Patient", content=body, headers=JSON)
    assert made.status_code == 201, made.text
    path = made.headers["Location"]
    sent = codec.parse_resource(body)
    for read in (
        codec.parse_resource((await client.get(path)).content),
        codec.from_xml((await client.get(path, headers=AS_XML)).content),
    ):
        del read["meta"], read["id"]
        assert meaning(read) == meaning(sent)


def nested(levels: int) -> bytes:
    """Return a Patient with extensions in one another."""
    inner = b'{"url":"http://example.org/x","valueString":"x"}'
    around = levels - 1
    inner = b'{"url":"http://example.org/x","extension":[' * around + inner + b"]}" * around
    return b'{"resourceType":"Patient","id":"deep","extension":[%b]}' % inner


async def test_what_is_as_deep_as_can_be_is_kept_and_sent(client: httpx.AsyncClient) -> None:
    """49 extensions in one another are stored, sent as JSON and XML, alone and in Bundles."""
    body = nested(49)
    made = await client.put("Patient/deep", content=body, headers=JSON)
    assert made.status_code == 201, made.text
    sent = codec.parse_resource(body)
    for path in (
        "Patient/deep",
        "Patient/deep?_pretty=true",
        "Patient?_id=deep",
        "Patient/deep/_history",
    ):
        as_json = (await client.get(path)).json()
        one = as_json["entry"][0]["resource"] if "entry" in as_json else as_json
        assert one["extension"] == sent["extension"]
        as_xml = await client.get(path, headers=AS_XML)
        assert as_xml.text.count("<extension ") == 49
    xml = (await client.get("Patient/deep", headers=AS_XML)).content
    assert codec.from_xml(xml)["extension"] == sent["extension"]
    again = await client.put("Patient/deep", content=xml, headers=XML)
    assert again.status_code == 200, again.text


KINDS = {"json": "application/fhir+json", "xml": "application/fhir+xml"}
BAD: dict[str, tuple[bytes, str, int]] = {
    "nested 50 deep": (nested(50), "json", 400),
    "nested 10,000 deep": (nested(10_000), "json", 400),
    "nested as XML": (
        b'<Patient xmlns="http://hl7.org/fhir">%b%b</Patient>'
        % (b'<extension url="http://x">' * 10_000, b"</extension>" * 10_000),
        "xml",
        400,
    ),
    "a name twice": (b'{"resourceType":"Patient","active":true,"active":false}', "json", 400),
    "a name twice, one escaped": (
        b'{"resourceType":"Patient","active":true,"\\u0061ctive":false}', "json", 400,
    ),
    "a name twice, inside": (
        b'{"resourceType":"Patient","name":[{"text":"x","text":"x"}]}', "json", 400,
    ),
    "resourceType twice": (b'{"resourceType":"Patient","resourceType":"Group"}', "json", 400),
    "NaN": (DECIMAL % b"NaN", "json", 400),
    "Infinity": (DECIMAL % b"Infinity", "json", 400),
    "a decimal beyond measure": (DECIMAL % b"1e400000", "json", 422),
    "an integer of 10,000 digits": (DECIMAL % (b"9" * 10_000), "json", 422),
    "a decimal in a string": (DECIMAL % b'"1.0"', "json", 422),
    "UTF-16 with its mark": ('\ufeff{"resourceType":"Patient"}'.encode("utf-16-le"), "json", 400),
    "UTF-16": ('{"resourceType":"Patient"}'.encode("utf-16-be"), "json", 400),
    "Latin-1": ('{"resourceType":"Patient","name":[{"text":"é"}]}'.encode("latin-1"), "json", 400),
    "half a pair": (b'{"resourceType":"Patient","name":[{"text":"\\ud83d"}]}', "json", 400),
    "half a pair in UTF-8": (
        b'{"resourceType":"Patient","name":[{"text":"\xed\xa0\xbd"}]}', "json", 400,
    ),
    "another charset": (b'{"resourceType":"Patient"}', "json; charset=utf-16", 415),
    "Latin-1 said": (b'{"resourceType":"Patient"}', "json; charset=iso-8859-1", 415),
    "no charset that is": (b'{"resourceType":"Patient"}', "json; charset=\\u0000", 415),
    "JSON said to be XML": (b'{"resourceType":"Patient"}', "xml", 400),
    "XML said to be JSON": (b'<Patient xmlns="http://hl7.org/fhir"/>', "json", 400),
    "another type": (b'{"resourceType":"Patient"}', "text/csv", 415),
    "no type": (b'{"resourceType":"Patient"}', "", 415),
    "two marks": (b'\xef\xbb\xbf\xef\xbb\xbf{"resourceType":"Patient"}', "json", 400),
    "two resources": (b'{"resourceType":"Patient"}{"resourceType":"Patient"}', "json", 400),
    "a comment": (b'{"resourceType":"Patient"/* x */}', "json", 400),
    "a null": (b'{"resourceType":"Patient","active":null}', "json", 422),
    "a list of nulls": (b'{"resourceType":"Patient","name":[null]}', "json", 422),
    "an empty object": (b'{"resourceType":"Patient","name":[{}]}', "json", 422),
    "an empty list": (b'{"resourceType":"Patient","name":[]}', "json", 422),
    "an empty name": (b'{"resourceType":"Patient","":"x"}', "json", 422),
    "a name of Python's": (b'{"resourceType":"Patient","__class__":"x"}', "json", 422),
    "a lone underscore": (b'{"resourceType":"Patient","_":{"id":"x"}}', "json", 422),
    "a boolean as a number": (b'{"resourceType":"Patient","active":1}', "json", 422),
    "a type as a list": (b'{"resourceType":["Patient"]}', "json", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_what_no_suite_has_is_refused(
    client: httpx.AsyncClient, world: World, name: str
) -> None:
    """Depth, names twice, numbers without end, other encodings: refused, nothing is written."""
    body, kind, status = BAD[name]
    short, _, charset = kind.partition(";")
    kind = f"{KINDS.get(short, short)};{charset}"
    headers = {"Content-Type": kind} if short else {}

    answer = await client.post(
        "Observation" if b"Observation" in body else "Patient", content=body, headers=headers
    )

    assert answer.status_code == status, answer.text[:500]
    assert told(answer)
    assert await content(world) == []
