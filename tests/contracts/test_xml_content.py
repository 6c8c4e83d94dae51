"""XML in and out over every store: comments at their places, every digit, extensions in order."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.interactions import comments
from fhir_server.interactions.comments import BUCKET
from fhir_server.interactions.context import Context
from fhir_server.loader import Loader
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD, MA_CSKCB, PAYER
from fhir_server.store.port import Store
from tests.conftest import BASE, World
from tests.fhir_server.interactions.test_limits import PAYER_OF_ALL

Client = httpx.AsyncClient
ClientOf = Callable[..., Client]

XMLNS = 'xmlns="http://hl7.org/fhir"'
XML = {"Accept": "application/fhir+xml", "Content-Type": "application/fhir+xml"}
JSON = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
SAID = ["head", "id", "name", "in", "end", "behind"]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">a<!--div-->b</div>'


def patient(identity: str = "a", *said: str, gender: str = "male") -> str:
    """Return a Patient with six comments."""
    head, first, name, within, end, behind = (f"<!--{text}-->" for text in said or SAID)
    return (
        f'{head}<Patient {XMLNS}>{first}<id value="{identity}"/>{name}<name><family value="Lê"/>'
        f'<given value="A"/>{within}<given value="B"/></name><gender value="{gender}"/>{end}'
        f"</Patient>{behind}"
    )


def said(answer: httpx.Response | str) -> list[str]:
    """Return the comments of an answer in their order."""
    text = answer if isinstance(answer, str) else answer.text
    return re.findall("<!--(.*?)-->", text)


def bare(answer: httpx.Response) -> str:
    """Return XML without declaration and meta."""
    return re.sub("<meta>.*?</meta>", "", answer.text.partition("?>\n")[2])


async def put(client: Client, text: str, path: str = "Patient/a") -> httpx.Response:
    """Update by XML."""
    response = await client.put(path, content=text.encode(), headers=XML)
    assert response.status_code in {200, 201}, response.text
    return response


@pytest.fixture
async def there(client: Client) -> Client:
    """The system's client, with one Patient that has comments and one that has none."""
    await put(client, patient())
    await client.put("Patient/b", json={"resourceType": "Patient", "id": "b"})
    return client


async def test_every_answer_in_xml_has_them(there: Client) -> None:
    """Of a write, a read, an old version, a history and a search; at their places, as sent."""
    updated = await put(there, patient(gender="other"))

    assert bare(updated) == patient(gender="other")
    assert bare(await there.get("Patient/a", headers=XML)) == patient(gender="other")
    assert bare(await there.get("Patient/a/_history/1", headers=XML)) == patient()
    assert said(await there.get("Patient/a/_history", headers=XML)) == SAID * 2
    assert said(await there.get("Patient?_sort=_id", headers=XML)) == SAID
    assert said(await there.get("?_type=Patient&_pretty=true", headers=XML)) == SAID
    held = patient(gender="other").replace(f"<Patient {XMLNS}>", "<Patient>")
    assert f"<resource>{held}</resource>" in bare(await there.get("Patient?_id=a", headers=XML))


async def test_json_is_as_if_there_were_none(there: Client, store: Store) -> None:
    """The bytes that are stored and sent hold none; a narrative's are a part of its text."""
    text = f'<Patient {XMLNS}><text><status value="generated"/>{DIV}</text></Patient>'
    made = await there.post("Patient", content=text, headers=XML | {"Accept": JSON["Accept"]})
    version = await store.read("Patient", "a")

    assert version is not None
    assert (await there.get("Patient/a")).content == version.body
    assert b"<!--" not in version.body
    assert codec.loads(made.content)["text"]["div"] == DIV
    assert DIV in (await there.get(f"Patient/{made.json()['id']}", headers=XML)).text


async def test_other_comments_are_another_version(there: Client) -> None:
    """The same again is none; XML without comments takes them away."""
    assert (await put(there, patient())).headers["ETag"] == 'W/"1"'
    assert (await put(there, patient("a", *"123456"))).headers["ETag"] == 'W/"2"'
    assert said(await there.get("Patient/a", headers=XML)) == list("123456")
    assert (await put(there, re.sub("<!--.*?-->", "", patient()))).headers["ETag"] == 'W/"3"'
    assert said(await there.get("Patient/a", headers=XML)) == []
    assert said(await there.get("Patient/a/_history/1", headers=XML)) == SAID


async def test_json_says_nothing_of_comments(there: Client) -> None:
    """The same content by JSON is no version, and they stay; what it changes comes without."""
    whole = (await there.get("Patient/a")).json()

    assert (await there.put("Patient/a", json=whole)).headers["ETag"] == 'W/"1"'
    assert said(await there.get("Patient/a", headers=XML)) == SAID
    await there.put("Patient/a", json=whole | {"gender": "female"})
    assert said(await there.get("Patient/a", headers=XML)) == []


F = 'xmlns:f="http://hl7.org/fhir"'
MERGE, JSON_PATCH, XML_PATCH = (
    {"Content-Type": f"application/{kind}"}
    for kind in ("merge-patch+json", "json-patch+json", "xml-patch+xml")
)


DELETE_GENDER = (
    '{"resourceType":"Parameters","parameter":[{"name":"operation","part":['
    '{"name":"type","valueCode":"delete"},{"name":"path","valueString":"Patient.gender"}]}]}'
)


def diff(*operations: str) -> str:
    """Return an XML Patch."""
    return f"<diff {XMLNS} {F}>{''.join(operations)}</diff>"


async def patched(client: Client, content: str, headers: dict[str, str]) -> httpx.Response:
    """Patch the Patient, and return what it is then."""
    answer = await client.patch("Patient/a", content=content.encode(), headers=headers)
    assert answer.status_code == 200, answer.text
    return await client.get("Patient/a", headers=XML)


async def test_an_xml_patch_is_one_of_the_comments_too(there: Client) -> None:
    """They stay where they stand, go with what they are in, and are nodes as all others."""
    value = '<replace sel="f:Patient/f:gender/@value">other</replace>'
    assert bare(await patched(there, diff(value), XML_PATCH)) == patient(gender="other")

    gone = await patched(there, diff('<remove sel="f:Patient/f:name"/>'), XML_PATCH)
    assert said(gone) == ["head", "id", "name", "end", "behind"]

    selected = diff(
        "<replace sel=\"f:Patient/comment()[.='name']\"><!--said--></replace>",
        '<remove sel="f:Patient/comment()[1]"/>',
        '<add sel="f:Patient/f:gender" pos="before"><!--new--></add>',
    )
    assert said(await patched(there, selected, XML_PATCH)) == [
        "head", "said", "new", "end", "behind",
    ]  # fmt: skip
    assert said(await there.get("Patient/a/_history/1", headers=XML)) == SAID


@pytest.mark.parametrize(
    ("headers", "content", "left"),
    [
        (MERGE, '{"gender":"other"}', ["id", "name", "in"]),
        (MERGE, '{"name":[{"family":"Lê","given":["A","C"]}]}', ["id"]),
        (JSON_PATCH, '[{"op":"remove","path":"/name/0/family"}]', ["id", "in"]),
        (
            JSON_PATCH,
            '[{"op":"add","path":"/name/0","value":{"family":"X","given":["A","B"]}}]',
            ["id"],
        ),
        (
            JSON,
            DELETE_GENDER,
            ["id", "name", "in"],
        ),
    ],
)
async def test_another_patch_keeps_those_of_what_it_leaves(
    there: Client, headers: dict[str, str], content: str, left: list[str]
) -> None:
    """At its place and with its content; none comes to stand elsewhere."""
    assert said(await patched(there, content, headers)) == left
    assert said(await there.get("Patient/a/_history/1", headers=XML)) == SAID


async def test_a_patch_of_nothing_is_no_version(there: Client) -> None:
    """And leaves the comments; other comments alone are another version, as in an update."""
    same = diff('<replace sel="f:Patient/f:gender/@value">male</replace>')

    for headers, content in ((MERGE, '{"gender":"male"}'), (XML_PATCH, same)):
        answer = await patched(there, content, headers)
        assert answer.headers["ETag"] == 'W/"1"'
        assert said(answer) == SAID
    answer = await patched(there, diff('<remove sel="f:Patient/comment()[1]"/>'), XML_PATCH)
    assert answer.headers["ETag"] == 'W/"2"'
    assert said(answer) == [one for one in SAID if one != "id"]


async def test_patches_by_criteria_and_of_bundles_keep_them(there: Client) -> None:
    """They are patches as all others."""
    value = diff('<replace sel="f:Patient/f:gender/@value">{}</replace>')
    text = value.format("other").encode()
    await there.patch("Patient?_id=a", content=text, headers=XML_PATCH)
    assert bare(await there.get("Patient/a", headers=XML)) == patient(gender="other")

    data = base64.b64encode(value.format("unknown").encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/xml-patch+xml", "data": data}
    entry = {"request": {"method": "PATCH", "url": "Patient/a"}, "resource": binary}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    done = await there.post(BASE, json=bundle)
    assert done.status_code == 200, done.text
    assert bare(await there.get("Patient/a", headers=XML)) == patient(gender="unknown")


async def test_a_narrative_that_a_patch_takes_away_goes_with_its_comments(there: Client) -> None:
    """It told of what is changed; no comment of it comes to stand elsewhere."""
    text = f'<!--text--><text><!--status--><status value="generated"/>{DIV}</text><!--name-->'
    await put(there, patient().replace("<!--name-->", text))
    value = diff('<replace sel="f:Patient/f:gender/@value">other</replace>')

    assert bare(await patched(there, value, XML_PATCH)) == patient(gender="other")


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_entries_of_bundles(there: Client, kind: str) -> None:
    """Each entry's comments are kept with its resource; an answer shows those of what it shows."""

    def entry(method: str, url: str, resource: str = "") -> str:
        held = f"<resource>{resource}</resource>" if resource else ""
        request = f'<!--r--><request><method value="{method}"/><url value="{url}"/></request>'
        return f"<!--e--><entry>{held}{request}</entry>"

    entries = (
        entry("GET", "Patient/a")
        + entry("PUT", "Patient/c", patient("c", *"123456"))
        + entry("POST", "Patient", patient("", *"abcdef").replace('<id value=""/>', ""))
        + entry("GET", "Patient?_id=a,b")
    )
    body = f'<Bundle {XMLNS}><type value="{kind}"/>{entries}</Bundle>'
    wants = {"Prefer": "return=representation"}
    answer = await there.post(BASE, content=body, headers=XML | wants)

    assert answer.status_code == 200, answer.text
    assert said(answer) == [*SAID, *"123456", *"abcdef", *SAID]
    assert bare(await there.get("Patient/c", headers=XML)) == patient("c", *"123456")


async def test_a_part_has_none(there: Client) -> None:
    """A comment may speak of what is not sent."""
    for query in ("_summary=true", "_elements=name", "_summary=data"):
        assert said(await there.get(f"Patient/a?{query}", headers=XML)) == []
        assert said(await there.get(f"Patient?{query}", headers=XML)) == []
        assert said(await there.get(f"Patient/a/_history?{query}", headers=XML)) == []


async def test_a_payer_sees_none(there: Client, world: World, new_client: ClientOf) -> None:
    """They are free text, which its masks hide everywhere."""
    text = (
        f'<Coverage {XMLNS}><id value="c"/><!--note--><status value="active"/><beneficiary>'
        f'<reference value="Patient/a"/></beneficiary><payor><identifier><system value="{PAYER}"/>'
        '<value value="BHXH"/></identifier></payor></Coverage>'
    )
    await put(there, text, "Coverage/c")
    world.callers["payer"] = PAYER_OF_ALL

    async with new_client("payer") as payer:
        for path in ("Coverage/c", "Coverage?_id=c", "Coverage/c/_history/1"):
            answer = await payer.get(path, headers=XML)
            assert "BHXH" in answer.text
            assert said(answer) == []
            assert said(await there.get(path, headers=XML)) == ["note"]


async def test_a_facility_sees_none_beside_what_is_hidden(
    client: Client, new_client: ClientOf
) -> None:
    """Of a Patient who was elsewhere it sees none, and it brings none to it."""
    elsewhere = (
        f'<extension url="http://example.org/x"><valueIdentifier><system value="{MA_CSKCB}"/>'
        '<value value="79999"/></valueIdentifier></extension>'
    )
    number = f'<identifier><system value="{CCCD}"/><value value="001195012345"/></identifier>'
    text = patient("").replace('<id value=""/>', elsewhere).replace("<name>", f"{number}<name>")
    condition = {"If-None-Exist": f"identifier={CCCD}|001195012345"}
    async with new_client("hospital") as hospital:
        made = await hospital.post("Patient", content=text.encode(), headers=XML | condition)
        path = "/".join(made.headers["Location"].split("/")[-4:-2])
        whole = (await client.get(path, headers=XML)).text
        seen = await hospital.get(path, headers=XML)
        selected = diff('<remove sel="f:Patient/comment()[1]"/>').encode()
        refused = await hospital.patch(path, content=selected, headers=XML_PATCH)
        added = diff('<add sel="f:Patient/f:gender" pos="before"><!--new--></add>').encode()
        same = await hospital.patch(path, content=added, headers=XML_PATCH)
        kept = (await client.get(path, headers=XML)).text
        merged = await hospital.patch(path, content=b'{"gender":"other"}', headers=MERGE)
        unkept = (await client.get(path, headers=XML)).text
        changed = whole.replace(elsewhere, "").replace("male", "female")
        again = await put(hospital, changed, path)

    assert said(whole) == SAID
    assert "Lê" in seen.text
    assert "79999" not in made.text + seen.text
    assert said(made) == said(seen) == []
    assert refused.status_code == 422
    assert (same.status_code, same.headers["ETag"], kept) == (200, 'W/"1"', whole)
    assert (merged.headers["ETag"], said(unkept)) == ('W/"2"', [])
    assert again.headers["ETag"] == 'W/"3"'
    assert said(again) == said(await client.get(path, headers=XML)) == []


async def test_a_stored_bundle_has_its_own_alone(there: Client) -> None:
    """What somebody puts into it under the name of a version brings nothing of that version."""
    named = (await there.get("Patient/a", headers=XML)).text.partition("?>\n")[2]
    entry = f"<entry><resource>{re.sub('<!--.*?-->', '', named)}</resource></entry>"
    body = f'<Bundle {XMLNS}><id value="s"/><!--own--><type value="{{}}"/>{entry}</Bundle>'

    for kind in ("collection", "searchset"):
        await put(there, body.format(kind), "Bundle/s")
        assert said(await there.get("Bundle/s", headers=XML)) == ["own"]
        assert said(await there.get("Bundle?_id=s", headers=XML)) == ["own"]


async def test_an_answer_holds_so_many(there: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it a search in XML is refused, as what the entries of a Bundle show is."""
    monkeypatch.setattr(comments, "MOST_SHOWN", 10)

    answer = await there.get("Patient", headers=XML)

    assert answer.status_code == 403
    assert '<code value="too-costly"/>' in answer.text
    entry = '<entry><request><method value="GET"/><url value="Patient/a"/></request></entry>'
    batch = f'<Bundle {XMLNS}><type value="batch"/>{entry}</Bundle>'
    done = await there.post(BASE, content=batch, headers=XML)
    assert done.status_code == 200
    assert said(done) == []
    assert (await there.get("Patient")).status_code == 200


async def test_a_version_has_so_many(
    there: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What brings more is 422, whole; patches may grow them so far, and no further."""
    monkeypatch.setattr(comments, "MOST_KEPT", 400)
    long = patient("a", *SAID[:-1], "x" * 400)
    add = diff('<add sel="f:Patient"><!--' + "y" * 50 + "--></add>")

    refused = await there.put("Patient/a", content=long, headers=XML)
    bundle = (
        f'<Bundle {XMLNS}><type value="transaction"/><entry><resource>{long}</resource><request>'
        '<method value="PUT"/><url value="Patient/a"/></request></entry></Bundle>'
    )
    whole = await there.post(BASE, content=bundle, headers=XML)
    grown = [
        (await there.patch("Patient/a", content=add, headers=XML_PATCH)).status_code
        for _ in range(10)
    ]

    for answer, where in ((refused, "Patient"), (whole, "Bundle.entry[0].resource")):
        assert answer.status_code == 422
        assert '<code value="too-long"/>' in answer.text
        assert f'<expression value="{where}"/>' in answer.text
    most = grown.index(422)
    assert grown == [200] * most + [422] * (10 - most)
    assert 1 < most < 8
    kept = await there.get("Patient/a", headers=XML)
    assert said(kept) == [*SAID[:-1], *["y" * 50] * most, SAID[-1]]
    assert kept.headers["ETag"] == f'W/"{most + 1}"'
    assert all(len(value) <= 400 for _, value in await store.scan(BUCKET))
    # Fewer are a way out, and JSON never had any.
    fewer = diff('<remove sel="f:Patient/comment()[4]"/>')
    assert (await there.patch("Patient/a", content=fewer, headers=XML_PATCH)).status_code == 200
    assert (await there.patch("Patient/a", content=add, headers=XML_PATCH)).status_code == 200
    json_patch = '[{"op":"replace","path":"/gender","value":"other"}]'
    answer = await there.patch("Patient/a", content=json_patch, headers=JSON_PATCH)
    assert answer.status_code == 200


async def test_what_is_loaded_from_xml_has_them(
    client: Client, world: World, tmp_path: Path
) -> None:
    """A resource, a collection's entries, a transaction's; loaded once."""
    held = [patient(one).replace(f"<Patient {XMLNS}>", "<Patient>") for one in "bc"]
    collection = "".join(f"<entry><resource>{one}</resource></entry>" for one in held)
    url = '<request><method value="PUT"/><url value="Patient/d"/></request>'
    last = patient("d").replace(f"<Patient {XMLNS}>", "<Patient>")
    files = {
        "1.xml": patient("a"),
        "2.xml": f'<Bundle {XMLNS}><type value="collection"/><!--x-->{collection}</Bundle>',
        "3.xml.gz": f'<Bundle {XMLNS}><type value="transaction"/><!--x--><entry><resource>{last}'
        f"</resource>{url}</entry></Bundle>",
    }
    for name, text in files.items():
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)

    async def submit(_ctx: Context, _body: bytes) -> dict[str, Any]:  # noqa: RUF029 - a Submit
        raise AssertionError("no dossier is here")

    counts = []
    for _ in range(2):
        loader = Loader(world.context(), submit, lambda _size, _counts: None)
        counts.append(await loader.load(tmp_path))

    assert [one.refused for one in counts] == [[], []]
    assert [one.of["resources"] for one in counts] == [4, 0]
    for one in "abcd":
        answer = await client.get(f"Patient/{one}", headers=XML)
        assert bare(answer) == patient(one)
        assert answer.headers["ETag"] == 'W/"1"'


async def test_what_is_refused_keeps_none(there: Client, store: Store) -> None:
    """They are made in the commit of their version, or not at all."""
    before = await store.scan(BUCKET)
    wrong = patient().replace('value="male"', 'value="wrong"')

    assert (await there.put("Patient/a", content=wrong, headers=XML)).status_code == 422
    headers = XML | {"If-Match": 'W/"9"'}
    stale = await there.put("Patient/a", content=patient(gender="other"), headers=headers)
    assert stale.status_code == 412
    assert await store.scan(BUCKET) == before
    assert [key for key, _ in before] == ["Patient/a/1"]


# --- digits and extensions ---------------------------------------------------------------------

_NUMBERS = ["0.010", "1.00E-5", "-0", "-0.0", "100", "1e3", "0.1234567890123456789012345", "9" * 18]
_LANG = "<extension url='http://example.org/l'><valueCode value='{}'/></extension>"


def observation() -> str:
    """Return an Observation with every kind of number, and extensions everywhere."""
    value = "".join(
        f"<extension url='http://example.org/n'><valueDecimal value='{n}'/></extension>"
        for n in _NUMBERS
    )
    words = (
        f"<given value='A'/><given>{_LANG.format('x')}</given><given value='B'>"
        f"{_LANG.format('y')}{_LANG.format('z')}</given><given value='C'/>"
    )
    inner = f"<contained><Patient><id value='p'/><name>{words}</name></Patient></contained>"
    return (
        f"<Observation {XMLNS}><id value='o'/>{inner}{value}<status value='final'>"
        f"{_LANG.format('s')}</status><code><text value='n'/></code><subject><reference "
        "value='#p'/></subject><valueQuantity><value value='70.00'/></valueQuantity>"
        "</Observation>"
    ).replace("'", '"')


async def test_every_digit_and_extension_comes_through_xml_and_json(client: Client) -> None:
    """XML to the store, JSON out of it and into it again, XML out: the same, in its order."""
    text = observation()
    first = await put(client, text, "Observation/o")
    as_json = await client.get("Observation/o")
    again = as_json.content.replace(b'"id":"o"', b'"id":"again"')
    made = await client.put("Observation/again", content=again, headers=JSON)

    assert bare(first) == text
    assert made.status_code == 201, made.text
    answer = await client.get("Observation/again", headers=XML)
    assert bare(answer).replace('"again"', '"o"') == text
    for number in _NUMBERS:
        assert b'"valueDecimal":%b}' % number.encode() in as_json.content
    assert b'"given":["A",null,"B","C"],"_given":[null,{"ext' in as_json.content
    same = await put(client, text, "Observation/o")
    assert same.headers["ETag"] == 'W/"1"'
