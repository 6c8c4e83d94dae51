"""The FHIR base over HTTP: statuses, headers, formats, bodies."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.interactions.context import Context
from fhir_server.model import codec
from fhir_server.rest.routes import fhir_app
from tests.conftest import BASE, World, citizen
from tests.outcome import assert_outcome

Client = httpx.AsyncClient
ClientOf = Callable[..., httpx.AsyncClient]

PATIENT = {"resourceType": "Patient", "id": "a", "active": True}
JSON = {"Content-Type": "application/fhir+json"}


async def put(client: Client, **more: Any) -> httpx.Response:
    """Put a Patient under the id a."""
    return await client.put("Patient/a", json=PATIENT | more)


async def test_a_create_answers_where_and_what(client: Client) -> None:
    """201 with Location, ETag, Last-Modified, and the resource as stored."""
    response = await client.post("Patient", json={"resourceType": "Patient"})

    assert response.status_code == 201
    assert response.headers["Location"] == f"{BASE}/Patient/id-1/_history/1"
    assert response.headers["ETag"] == 'W/"1"'
    assert response.headers["Last-Modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert codec.loads(response.content)["id"] == "id-1"


async def test_a_read_sends_the_stored_bytes(client: Client) -> None:
    """Every digit comes back as it was sent."""
    body = b'{"resourceType":"Basic","id":"b","code":{"text":"x"},"extension":[{"url":"http://e.org/x","valueDecimal":1.10}]}'
    await client.put("Basic/b", content=body, headers=JSON)

    response = await client.get("Basic/b")

    assert response.status_code == 200
    assert b'"valueDecimal":1.10' in response.content


async def test_head_is_get_without_its_body(client: Client) -> None:
    """HEAD has the headers of GET and no body."""
    await put(client)

    get, head = await client.get("Patient/a"), await client.head("Patient/a")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers == get.headers


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "application/fhir+json", "json"),
        ("", "application/json", "json"),
        ("", "text/json", "json"),
        ("", "*/*", "json"),
        ("", "application/fhir+xml", "xml"),
        ("", "application/xml;q=0.9, text/html", "xml"),
        ("", "application/fhir+xml;q=0.1, application/fhir+json;q=0.9", "json"),
        ("", "application/json, text/plain, */*", "json"),
        ("", "application/fhir+json;q=0, */*", "xml"),
        ("", "application/fhir+json;fhirVersion=5.0, */*;q=0.1", "json"),
        ("", "application/fhir+xml;q=0.5, application/*", "json"),
        ("?_format=xml", "application/fhir+json", "xml"),
        ("?_format=application/fhir%2Bxml", "text/html", "xml"),
        ("?_format=application/fhir+xml", "text/html", "xml"),
        ("?_format=json", "application/fhir+xml", "json"),
        ("?_format=application/fhir%2Bxml;%20fhirVersion=4.0", "text/html", "xml"),
        ("", 'application/fhir+xml; fhirVersion="4.0"', "xml"),
    ],
)
async def test_the_format_that_is_asked_is_answered(
    client: Client, query: str, accept: str, expected: str
) -> None:
    """`_format` wins over Accept, and Accept's qualities count."""
    await put(client)

    response = await client.get(f"Patient/a{query}", headers={"Accept": accept})

    assert response.status_code == 200
    assert response.headers["Content-Type"] == f"application/fhir+{expected}; charset=utf-8"
    assert response.content.startswith(b"{" if expected == "json" else b"<?xml")


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("", "text/turtle"),
        ("?_format=ttl", "*/*"),
        ("", "application/fhir+json;q=0"),
        ("", "application/fhir+json;q=0, application/fhir+xml;q=0, */*"),
        ("", "application/fhir+json; fhirVersion=5.0"),
        ("?_format=application/fhir%2Bjson;%20fhirVersion=3.0", "*/*"),
        ("?_format=json;fhirVersion=3.0", "application/fhir+json"),
    ],
)
async def test_another_format_is_not_acceptable(client: Client, query: str, accept: str) -> None:
    """A format that is not ours is 406, in JSON."""
    response = await client.get(f"Patient/a{query}", headers={"Accept": accept})

    assert_outcome(response, 406, "not-supported")


async def test_xml_is_read_and_written(client: Client) -> None:
    """A resource in XML is stored, and an error is written in XML too."""
    xml = b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>'
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}

    made = await client.post("Patient", content=xml, headers=headers)
    wrong = await client.get("Patient/never", headers=headers)

    assert made.status_code == 201
    assert b'<active value="true"/>' in made.content
    assert wrong.status_code == 404
    assert b"<OperationOutcome" in wrong.content


async def test_pretty_is_indented(client: Client) -> None:
    """`_pretty=true` writes lines; another value is 400."""
    await put(client)

    pretty = await client.get("Patient/a?_pretty=true")

    assert b'\n  "id": "a"' in pretty.content
    assert_outcome(await client.get("Patient/a?_pretty=maybe"), 400, "value")


@pytest.mark.parametrize(
    ("prefer", "start"),
    [
        ("return=minimal", b""),
        ("return=representation", b'{"resourceType":"Patient"'),
        ("return=OperationOutcome; handling=strict", b'{"resourceType":"OperationOutcome"'),
    ],
)
async def test_prefer_says_what_a_write_returns(client: Client, prefer: str, start: bytes) -> None:
    """`Prefer: return=` chooses the body; the headers are there each time."""
    response = await client.put("Patient/a", json=PATIENT, headers={"Prefer": prefer})

    assert response.status_code == 201
    assert response.headers["ETag"] == 'W/"1"'
    assert response.content.startswith(start)
    assert (response.content == b"") == (start == b"")


WRONG_BODIES = {
    "no JSON": (b"{", JSON, 400, "structure"),
    "NaN": (b'{"resourceType":"Basic","code":NaN}', JSON, 400, "structure"),
    "an array": (b"[]", JSON, 400, "structure"),
    "no type": (b"{}", JSON, 400, "structure"),
    "deep": (b"[" * 100_000, JSON, 400, "structure"),
    "nothing": (b"", JSON, 400, "required"),
    "no media type": (b"{}", {}, 415, "not-supported"),
    "another media type": (b"{}", {"Content-Type": "text/csv"}, 415, "not-supported"),
    "another charset": (
        b"{}", {"Content-Type": "application/json; charset=latin1"}, 415, "not-supported",
    ),
    "another version of FHIR": (
        b"{}", {"Content-Type": "application/fhir+json; fhirVersion=3.0"}, 415, "not-supported",
    ),
    "another coding": (b"{}", JSON | {"Content-Encoding": "br"}, 415, "not-supported"),
    "broken gzip": (b"{}", JSON | {"Content-Encoding": "gzip"}, 400, "structure"),
    "half a gzip": (
        gzip.compress(b'{"resourceType":"Patient"}')[:-9],
        JSON | {"Content-Encoding": "gzip"}, 400, "structure",
    ),
    "too long": (b" " * 1_000_001, JSON, 413, "too-long"),
    "too long unzipped": (
        gzip.compress(b" " * 5_000_000), JSON | {"Content-Encoding": "gzip"}, 413, "too-long",
    ),
    "another type": (b'{"resourceType":"Group"}', JSON, 400, "structure"),
    "invalid": (b'{"resourceType":"Patient","x":1}', JSON, 422, "structure"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), WRONG_BODIES.values(), ids=WRONG_BODIES
)
async def test_a_wrong_body_is_refused(
    client: Client, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Each kind of wrong body has its status, and an AuditEvent is left."""
    response = await client.post("Patient", content=body, headers=headers)

    assert_outcome(response, status, code)
    events = codec.loads((await client.get("AuditEvent")).content)["entry"]
    assert events[0]["resource"]["outcome"] == "4"


async def test_a_gzip_body_is_read(client: Client) -> None:
    """A body under Content-Encoding gzip is stored as if it was sent plain."""
    body = gzip.compress(codec.dumps({"resourceType": "Patient"}))

    response = await client.post(
        "Patient", content=body, headers=JSON | {"Content-Encoding": "gzip"}
    )

    assert response.status_code == 201


async def test_a_chunked_body_has_the_same_limit(client: Client) -> None:
    """A body of unknown length that grows past the limit is 413."""

    async def chunks() -> Any:  # noqa: RUF029 - a stream
        for _ in range(20):
            yield b" " * 100_000

    response = await client.post("Patient", content=chunks(), headers=JSON)

    assert_outcome(response, 413, "too-long")


async def test_long_answers_are_gzipped_where_asked(client: Client) -> None:
    """Accept-Encoding gzip compresses what is long, and only then."""
    plain = await client.get("metadata", headers={"Accept-Encoding": "identity"})
    zipped = await client.get("metadata", headers={"Accept-Encoding": "gzip"})
    anything = await client.get("metadata", headers={"Accept-Encoding": "br, *;q=0.5"})
    for refusal in ("gzip;q=0", "*, gzip;q=0", "*;q=0", ""):
        refused = await client.get("metadata", headers={"Accept-Encoding": refusal})
        assert "Content-Encoding" not in refused.headers

    assert "Content-Encoding" not in plain.headers
    assert anything.headers["Content-Encoding"] == "gzip"
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert plain.content == zipped.content


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("TRACE", "Patient", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("POST", "Patient/a", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("PATCH", "", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "Patient/_search", "OPTIONS, POST"),
        ("PATCH", "Patient/a/_history/1", "GET, HEAD, OPTIONS"),
        ("DELETE", "Patient/a/_history", "GET, HEAD, OPTIONS"),
        ("POST", "metadata", "GET, HEAD, OPTIONS"),
        ("GET", "_search", "OPTIONS, POST"),
        ("PUT", "Patient/_search", "OPTIONS, POST"),
    ],
)
async def test_an_unknown_method_is_told_the_known(
    client: Client, method: str, path: str, allow: str
) -> None:
    """405 with every method of the path in Allow."""
    response = await client.request(method, path)

    assert_outcome(response, 405, "not-supported")
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize("path", ["Nope", "Patient/a_b", "Patient/a/b/c"])
async def test_a_browser_may_ask_where_nothing_is(new_client: ClientOf, path: str) -> None:
    """A preflight is answered, so that a page can read the 404; a bare OPTIONS is that 404."""
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    async with new_client(None) as nobody:
        preflight = await nobody.options(path, headers=asked)
        bare = await nobody.options(path)

    assert preflight.status_code == 204
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Allow" not in preflight.headers
    assert_outcome(bare, 404, "not-found")


@pytest.mark.parametrize("path", ["Nothing", "Nothing/1", "Patient/a/b/c", "Patient/a_b", "$X"])
async def test_an_unknown_path_is_not_found(client: Client, path: str) -> None:
    """What is no path of FHIR is 404."""
    assert_outcome(await client.get(path), 404, "not-found", "There is nothing at this path.")


async def test_an_unknown_operation_is_not_found(client: Client) -> None:
    """An operation that is not known is 404 at each level."""
    for path in ("$no", "Patient/$no", "Patient/a/$no"):
        for method in ("GET", "POST"):
            assert_outcome(await client.request(method, path), 404, "not-supported")


@pytest.mark.parametrize("path", ["Patient/a", "Patient", "Nothing", "", "Patient/a/$x"])
async def test_without_a_token_nothing_answers(new_client: ClientOf, path: str) -> None:
    """401 with WWW-Authenticate, whatever the path, and no AuditEvent."""
    async with new_client(None) as nobody, new_client("auditor") as auditor:
        response = await nobody.get(path)

        assert_outcome(response, 401, "login")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert "entry" not in codec.loads((await auditor.get("AuditEvent")).content)


async def test_metadata_answers_anybody(new_client: ClientOf) -> None:
    """The CapabilityStatement needs no token."""
    async with new_client(None) as nobody:
        response = await nobody.get("metadata")

    assert response.status_code == 200
    assert codec.loads(response.content)["fhirVersion"] == "4.0.1"


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_metadata_that_the_client_has_is_not_sent(new_client: ClientOf, form: str) -> None:
    """Its ETag is weak, of the format, and is found in If-None-Match; any other gets the whole."""
    path = f"metadata?_format={form}"
    async with new_client(None) as nobody:
        first = await nobody.get(path)
        tag = first.headers["ETag"]
        other = await nobody.get("metadata", headers={"If-None-Match": 'W/"1"'})
        known = [
            await nobody.get(path, headers={"If-None-Match": value})
            for value in (tag, tag.removeprefix("W/"), f'"1", {tag}', "*")
        ]
        head = await nobody.head(path)

    assert re.fullmatch('W/"[0-9a-f]{16}"', tag)
    assert [(one.status_code, one.content, one.headers["ETag"]) for one in known] == [
        (304, b"", tag)
    ] * 4
    assert (other.status_code, head.status_code, head.headers["ETag"]) == (200, 200, tag)
    assert (other.headers["ETag"] == tag) is (form == "json")


async def test_any_origin_may_ask(new_client: ClientOf) -> None:
    """CORS: any origin, the headers a client needs, no cookies."""
    async with new_client(None) as nobody:
        preflight = await nobody.options(
            "Patient/a",
            headers={"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"},
        )
        refused = await nobody.get("Patient/a", headers={"Origin": "https://app.example"})

    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    exposed = refused.headers["Access-Control-Expose-Headers"]
    assert {"ETag", "Location", "X-Request-Id"} <= set(exposed.split(", "))
    assert "Access-Control-Allow-Credentials" not in refused.headers


@pytest.mark.parametrize("path", ["Patient/a", "Patient/a/_history/1"])
@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": 'W/"1"'},
        {"If-None-Match": '"1"'},
        {"If-None-Match": 'W/"7", W/"1"'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"},
    ],
)
async def test_what_the_client_has_is_not_sent(
    client: Client, path: str, headers: dict[str, str]
) -> None:
    """A conditional read or vread of an unchanged resource is 304 without a body; HEAD too."""
    await put(client)

    for method in ("GET", "HEAD"):
        response = await client.request(method, path, headers=headers)

        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("path", ["Patient/a", "Patient/a/_history/1"])
@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": 'W/"2"'},
        {"If-None-Match": "x"},
        {"If-Modified-Since": "Sun, 31 Dec 2023 23:59:59 GMT"},
        {"If-Modified-Since": "soon"},
        # RFC 9110, 13.1.3: with If-None-Match, If-Modified-Since is ignored.
        {"If-None-Match": 'W/"2"', "If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"},
    ],
)
async def test_what_the_client_has_not_is_sent(
    client: Client, path: str, headers: dict[str, str]
) -> None:
    """Another version, or a time before the last change, is 200 with the resource."""
    await put(client)

    response = await client.get(path, headers=headers)

    assert response.status_code == 200
    assert codec.loads(response.content)["id"] == "a"


@pytest.mark.parametrize(
    ("none_match", "status"), [("*", 412), ('W/"1"', 412), ('"7", "1"', 412), ('W/"2"', 200)]
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_if_none_match_guards_a_write(
    client: Client, method: str, none_match: str, status: int
) -> None:
    """RFC 9110, 13.1.2: 412 where the current version is one that it names."""
    await put(client)
    body = PATIENT if method == "PUT" else {}

    response = await client.request(
        method,
        "Patient/a",
        content=codec.dumps(body | {"active": False}),
        headers={"If-None-Match": none_match, "Content-Type": "application/json"},
    )

    assert response.status_code == status


@pytest.mark.parametrize(
    ("if_match", "status"), [('W/"1"', 200), ('"1"', 200), ("*", 200), ('W/"2"', 412), ("x", 412),
     ('W/"9", W/"1"', 200), ('W/"9", W/"2"', 412)]
)  # fmt: skip
async def test_if_match_guards_an_update(client: Client, if_match: str, status: int) -> None:
    """An update goes through only on the version that If-Match names."""
    await put(client)

    response = await client.put(
        "Patient/a", json=PATIENT | {"active": False}, headers={"If-Match": if_match}
    )

    assert response.status_code == status


@pytest.mark.parametrize("identity", ["a_b", "a" * 65, "a%20b"])
async def test_an_update_under_what_is_no_id_names_the_rule(client: Client, identity: str) -> None:
    """400 says what an id is; a read of it is 404, there can be none."""
    response = await client.put(f"Patient/{identity}", json=PATIENT | {"id": "a"})

    assert response.status_code == 400
    (issue,) = response.json()["issue"]
    assert issue["expression"] == ["Patient.id"]
    assert "1 to 64" in issue["details"]["text"]
    assert (await client.get(f"Patient/{identity}")).status_code == 404


async def test_refusals_speak_vietnamese_too(client: Client) -> None:
    """What a client commonly meets has its sentence in both languages."""
    await put(client)
    await client.put("Patient/gone", json=PATIENT | {"id": "gone"})
    await client.delete("Patient/gone")
    asked = [
        (404, "GET", "Patient/never", {}), (404, "GET", "nothing/here/at/all", {}),
        (404, "POST", "$nothing", {}), (405, "PUT", "metadata", {}),
        (410, "GET", "Patient/gone", {}), (406, "GET", "Patient?_format=csv", {}),
        (412, "PUT", "Patient/a", {"If-Match": 'W/"9"'}),
        (415, "PUT", "Patient/a", {"Content-Type": "text/csv"}),
        (400, "GET", "Patient?birthdate=x", {}), (400, "GET", "Patient?_sort=x", {}),
    ]  # fmt: skip
    for status, method, url, headers in asked:
        body = codec.dumps(PATIENT) if method in {"PUT", "POST"} else None
        sent = {"Content-Type": "application/fhir+json"} | headers
        response = await client.request(method, url, content=body, headers=sent)
        assert response.status_code == status, url
        (issue,) = response.json()["issue"]
        (translation,) = issue["details"]["_text"]["extension"]
        assert translation["extension"][0]["valueCode"] == "vi"


async def test_a_conditional_create_by_header(client: Client) -> None:
    """If-None-Exist finds what is there."""
    body = {"resourceType": "Patient", "identifier": [{"system": "http://e.org", "value": "1"}]}
    headers = {"If-None-Exist": "identifier=http://e.org|1"}

    answers = [await client.post("Patient", json=body, headers=headers) for _ in range(2)]

    assert [one.status_code for one in answers] == [201, 200]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]


async def test_a_search_by_post_is_the_search_by_get(client: Client) -> None:
    """POST _search takes its parameters from the form and the URL; another body is 415."""
    await put(client, gender="female")
    by_get = await client.get("Patient?gender=female&_count=5")

    by_post = await client.post("Patient/_search?_count=5", data={"gender": "female"})
    empty = await client.post("Patient/_search")

    found = codec.loads(by_get.content)["entry"]
    assert codec.loads(by_post.content)["entry"] == found
    assert codec.loads(empty.content)["entry"] == found
    assert_outcome(
        await client.post("Patient/_search", json={"gender": "female"}), 415, "not-supported"
    )


async def test_a_deleted_resource_is_gone_over_http(client: Client) -> None:
    """Delete is 204 without a body; the read after it is 410 with the deletion's ETag."""
    await put(client)

    deleted = await client.delete("Patient/a")
    gone = await client.get("Patient/a")

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert_outcome(gone, 410, "deleted", "Patient/a was deleted.")
    assert gone.headers["ETag"] == 'W/"2"'


async def test_a_hidden_read_has_the_bytes_of_a_true_404(
    world: World, new_client: ClientOf, client: Client
) -> None:
    """Status, headers and bytes of a hidden resource are those of one that never was."""
    world.callers["bo"] = citizen("bo")
    async with new_client("bo") as bo:
        before = await bo.get("Patient/a")
        await put(client)
        after = await bo.get("Patient/a")

    assert (before.status_code, before.headers, before.content) == (
        after.status_code, after.headers, after.content,
    )  # fmt: skip
    assert after.status_code == 404


async def test_a_hidden_match_answers_its_location_alone(
    new_client: ClientOf, client: Client
) -> None:
    """200, Location, no body, no ETag."""
    number = {"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "001195012345"}
    await put(client, identifier=[number])

    async with new_client("hospital") as hospital:
        response = await hospital.post(
            "Patient",
            json={"resourceType": "Patient", "identifier": [number]},
            headers={"If-None-Exist": f"identifier={number['system']}|{number['value']}"},
        )

    assert response.status_code == 200
    assert response.headers["Location"] == f"{BASE}/Patient/a"
    assert response.content == b""
    assert not {"ETag", "Last-Modified", "Content-Type"} & {*response.headers}


@pytest.mark.parametrize("reason", ["", "%FF", "%20"])
async def test_a_reason_that_is_none_is_refused(client: Client, reason: str) -> None:
    """X-Break-Glass must be percent-encoded UTF-8 and say something."""
    response = await client.get("Patient/a", headers={"X-Break-Glass": reason})

    assert_outcome(response, 400, "value")


@pytest.mark.parametrize("query", ["name=%FF", "name=%E1%BB", "&".join(["a=1"] * 3000)])
async def test_parameters_that_cannot_be_read_are_refused(client: Client, query: str) -> None:
    """Bytes that are no UTF-8, and thousands of parameters, are 400."""
    assert_outcome(await client.get(f"Patient?{query}"), 400, "value")


async def test_an_unexpected_failure_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What we did not foresee is 500 'exception', with no word of what it was."""

    async def broken(  # noqa: RUF029 - a ContextOf
        _authorization: str | None, _source: str, _purpose: str = "", /
    ) -> Context:
        raise RuntimeError("secret of the driver")

    app = fhir_app(broken, base_url=BASE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        response = await client.get("/Patient/a")

    outcome = assert_outcome(response, 500, "exception")
    assert "secret" not in str(outcome)
    assert "request.failed" in caplog.text


async def test_format_may_stand_in_the_form_of_a_search(client: Client) -> None:
    """`_format` in the body of _search chooses the answer's format, as in the URL."""
    form = {"_format": "xml"}

    response = await client.post("Patient/_search", data=form)
    wrong = await client.post("Patient/_search", data={"_format": "csv"})

    assert response.headers["Content-Type"].startswith("application/fhir+xml")
    assert response.text.startswith("<?xml")
    assert wrong.status_code == 406


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_a_bundle_answers_outcomes_where_they_are_preferred(
    client: Client, kind: str
) -> None:
    """`Prefer: return=OperationOutcome` gives each entry that was written its outcome."""
    entry = {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/a"}}
    bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}

    response = await client.post("", json=bundle, headers={"Prefer": "return=OperationOutcome"})

    (answered,) = response.json()["entry"]
    assert answered["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert "resource" not in answered


async def test_a_gzip_body_that_ends_too_early_is_told_so(client: Client) -> None:
    """A body cut off inside its first block is not called absent."""
    body = gzip.compress(codec.dumps(PATIENT))[:12]
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/fhir+json"}

    response = await client.put("Patient/a", content=body, headers=headers)

    assert response.status_code == 400
    assert "too early" in response.text


async def test_a_negative_zero_comes_back(client: Client) -> None:
    """Every digit and sign of a decimal is kept."""
    observation = (
        b'{"resourceType":"Observation","id":"z","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":-0}}'
    )
    headers = {"Content-Type": "application/fhir+json"}
    await client.put("Observation/z", content=observation, headers=headers)
    again = await client.put("Observation/z", content=observation, headers=headers)

    response = await client.get("Observation/z")

    assert b'"value":-0}' in response.content
    assert again.headers["ETag"] == 'W/"1"'


async def test_a_narrative_through_xml_and_back_is_the_same(client: Client) -> None:
    """XML has other words for the same characters; sending back what was read is no version."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml">&quot;a&quot; &amp; b</div>'
    await client.put("Patient/a", json=PATIENT | {"text": {"status": "generated", "div": div}})
    read = await client.get("Patient/a", headers={"Accept": "application/fhir+xml"})

    again = await client.put(
        "Patient/a", content=read.content, headers={"Content-Type": "application/fhir+xml"}
    )
    other = await client.put(
        "Patient/a",
        json=PATIENT
        | {"text": {"status": "generated", "div": div.replace(">&quot;a", ">&quot;c")}},
    )

    assert again.headers["ETag"] == 'W/"1"'
    assert other.headers["ETag"] == 'W/"2"'


@pytest.mark.parametrize(
    "meta", [[], "x", 1, None, {"security": "x"}, {"tag": {}}, {"security": [1]}]
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_meta_of_a_wrong_shape_is_invalid(client: Client, method: str, meta: Any) -> None:
    """422 names meta, whatever JSON stands there, of HIV data too."""
    await put(client)
    coding = [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}]
    body = PATIENT | {"meta": meta, "maritalStatus": {"coding": coding}}

    response = await client.request(
        method, "Patient/a" if method == "PUT" else "Patient", json=body
    )

    assert response.status_code == 422
    assert response.json()["issue"][0]["expression"][0].startswith("Patient.meta")


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("?_type=Patient,Basic&_id=a", None),
        ("_search", {"_type": "Patient,Basic", "_id": "a"}),
        ("Patient/a/Patient", None),
        ("Patient/a/Patient/_search", {"_id": "a"}),
        ("Patient/a/*?_id=a", None),
        ("Patient/a/*/_search?_type=Patient", {"_id": "a"}),
    ],
)
async def test_several_types_and_compartments_are_searched(
    client: Client, path: str, form: dict[str, str] | None
) -> None:
    """By GET, and by POST with a form, whose answer's self link is one of GET."""
    await put(client)

    response = await (client.get(path) if form is None else client.post(path, data=form))

    assert response.status_code == 200, response.text
    found = response.json()
    assert [one["resource"]["id"] for one in found["entry"]] == ["a"]
    (own,) = (one["url"] for one in found["link"] if one["relation"] == "self")
    assert (await client.get(own)).json()["entry"] == found["entry"]
    head = await client.head(own)
    assert head.status_code == 200
    assert head.content == b""


async def test_a_compartment_takes_no_writes(client: Client) -> None:
    """405, and what it takes."""
    response = await client.put("Patient/a/Observation", json=PATIENT)

    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
