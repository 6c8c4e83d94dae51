"""`/submissions` as a hospital's program sees it: contract sections 4 and 5."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD, MA_LK
from fhir_server.model.outcome import Unavailable
from fhir_server.store.port import Batch
from tests.conftest import World
from tests.xml130 import costs, dossier, envelope, file, hoso, rows, table, visit

Clients = Callable[..., httpx.AsyncClient]

FIELDS = {
    "MA_LK": "LK-16",
    "HO_TEN": "Nguyễn Thị Mẫu",
    "SO_CCCD": "001195012345",
    "NGAY_SINH": "199503070000",
    "GIOI_TINH": "2",
    "MA_THE_BHYT": "DN4010123456789",
    "MA_CSKCB": "01999",
    "MA_LOAI_KCB": "01",
    "LY_DO_VV": "Ho, sốt 2 ngày",
    "NGAY_VAO": "202611200815",
    "NGAY_RA": "202611200950",
    "CHAN_DOAN_RV": "Viêm họng cấp",
    "MA_BENH_CHINH": "J02.9",
    "MA_BENH_KT": "",
    "KET_QUA_DTRI": "2",
    "MA_LOAI_RV": "1",
}


async def push(
    client: httpx.AsyncClient,
    body: bytes,
    media_type: str | None = "application/xml",
    path: str = "/submissions",
    **headers: str,
) -> httpx.Response:
    """Post a body."""
    if media_type:
        headers["Content-Type"] = media_type
    return await client.post(path, content=body, headers=headers)


def body_of(ma_lk: str = "LK-1", facility: str = "01999", **fields: str) -> bytes:
    """Return an envelope of one visit."""
    summary = visit(MA_LK=ma_lk, MA_CSKCB=facility, **fields)
    return envelope([dossier(summary)], facility=facility)


def csv_of(*records: dict[str, str]) -> bytes:
    """Return records as CSV."""
    lines = [",".join(records[0]), *(",".join(f'"{v}"' for v in r.values()) for r in records)]
    return "\r\n".join(lines).encode()


async def resource(world: World, name: str) -> dict[str, Any]:
    """Return a stored resource."""
    kind, _, identity = name.partition("/")
    version = await world.store.read(kind, identity)
    assert version is not None
    found: dict[str, Any] = codec.loads(version.body)
    return found


# Receipts


async def test_a_dossier_that_is_taken_has_a_receipt(client_of: Clients, world: World) -> None:
    """The receipt has exactly the fields of the contract, and names what was made."""
    answer = await push(client_of(), body_of())

    receipt = answer.json()
    (part,) = receipt["dossiers"]
    assert answer.status_code == 200
    assert receipt["received"] == "2026-11-25T10:00:00+07:00"
    assert receipt["facility"] == "01999"
    assert (receipt["accepted"], receipt["rejected"]) == (1, 0)
    assert (part["ma_lk"], part["status"]) == ("LK-1", "created")
    assert re.fullmatch(r"Encounter/[A-Za-z0-9.-]+", part["encounter"])
    assert re.fullmatch(r"Patient/[A-Za-z0-9.-]+", part["patient"])
    encounter = await resource(world, part["encounter"])
    assert encounter["subject"]["reference"] == part["patient"]
    assert encounter["identifier"][0]["value"] == "01999|LK-1"


async def test_some_and_none_taken(client_of: Clients) -> None:
    """Some dossiers taken is 207, none 422; the good one is not touched by the bad one."""
    bad = dossier(visit(MA_LK="LK-BAD", NGAY_VAO=""))
    good = dossier(visit(MA_LK="LK-GOOD"))

    some = await push(client_of(), envelope([bad, good]))
    none = await push(client_of(), envelope([bad]))

    parts = some.json()["dossiers"]
    assert (some.status_code, none.status_code) == (207, 422)
    assert [part["status"] for part in parts] == ["rejected", "created"]
    assert "encounter" not in parts[0]
    issue = next(i for i in parts[0]["issues"] if i["severity"] == "error")
    assert (issue["rule"], issue["field"]) == ("G12-REQUIRED", "XML1.NGAY_VAO")
    assert issue["message"] != issue["message_vi"]


async def test_a_receipt_is_given_again(client_of: Clients) -> None:
    """GET gives the receipt's bytes again."""
    client = client_of()
    first = await push(client, body_of())

    again = await client.get(f"/submissions/{first.json()['id']}")

    assert again.status_code == 200
    assert again.content == first.content


async def test_a_refused_dossier_is_kept_and_listed(client_of: Clients) -> None:
    """What was refused can be listed and read as it was sent."""
    client = client_of()
    body = body_of("LK-R", NGAY_VAO="")
    first = await push(client, body, "application/xml; charset=UTF-8")

    listed = (await client.get("/submissions", params={"status": "rejected"})).json()
    source = await client.get(f"/submissions/{first.json()['id']}/source")

    assert listed == {"items": [first.json()], "next": None}
    assert source.content == body
    assert source.headers["Content-Type"] == "application/xml; charset=UTF-8"


async def test_the_source_of_a_gzip_body_is_decoded(client_of: Clients) -> None:
    """A gzip body is taken, and its source is given decoded."""
    client = client_of()
    zipped = gzip.compress(body_of())

    first = await push(client, zipped, **{"Content-Encoding": "gzip"})
    source = await client.get(f"/submissions/{first.json()['id']}/source")

    assert first.status_code == 200
    assert source.content == body_of()


async def test_json_and_csv_are_taken(client_of: Clients, world: World) -> None:
    """The sixteen fields come as an object, as an array, as CSV; none makes a Claim."""
    client = client_of()
    one = await push(client, codec.dumps(FIELDS), "application/json")
    many = await push(
        client, codec.dumps([FIELDS | {"MA_LK": "LK-17"}]), "application/json; charset=utf-8"
    )
    csv = await push(client, csv_of(FIELDS | {"MA_LK": "LK-18"}), "text/csv")

    for answer in (one, many, csv):
        assert answer.status_code == 200, answer.text
        assert answer.json()["dossiers"][0]["status"] == "created"
    patients = {answer.json()["dossiers"][0]["patient"] for answer in (one, many, csv)}
    assert len(patients) == 1
    assert await world.store.count("Claim") == 0


async def test_a_byte_order_mark_before_json_is_passed_over(client_of: Clients) -> None:
    """RFC 8259, section 8.1: a receiver may ignore it; the source keeps it."""
    client = client_of()
    body = b"\xef\xbb\xbf" + codec.dumps(FIELDS)

    answer = await push(client, body, "application/json")
    source = await client.get(f"/submissions/{answer.json()['id']}/source")

    assert answer.status_code == 200, answer.text
    assert answer.json()["dossiers"][0]["status"] == "created"
    assert source.content == body


async def test_a_slash_at_the_end_is_the_same_path(client_of: Clients, world: World) -> None:
    """`/submissions/` takes and lists as `/submissions` does, parameters and refusals too."""
    client = client_of()

    dry = await push(client, body_of(), path="/submissions/?dry-run=true")
    answer = await push(client, body_of(), path="/submissions/")
    listed = await client.get("/submissions/")
    refused = await client.request("DELETE", "/submissions/")

    assert (dry.status_code, dry.json()["id"]) == (200, None)
    assert answer.json()["dossiers"][0]["status"] == "created"
    assert [one["id"] for one in listed.json()["items"]] == [answer.json()["id"]]
    assert_problem(refused, 405)
    assert await world.store.count("Encounter") == 1


# Dry run


async def test_a_dry_run_checks_and_stores_nothing(client_of: Clients, world: World) -> None:
    """A dry run answers with id null and no names, and the store has nothing but the access."""
    client = client_of()

    answer = await push(client, body_of(), path="/submissions?dry-run=true")
    bad = await push(client, body_of(NGAY_VAO=""), path="/submissions?dry-run=true")

    (part,) = answer.json()["dossiers"]
    assert (answer.status_code, bad.status_code) == (200, 422)
    assert answer.json()["id"] is None
    assert part["status"] == "created"
    assert {"encounter", "patient"}.isdisjoint(part)
    for kind in ("Encounter", "Patient", "Organization"):
        assert await world.store.count(kind) == 0
    for bucket in ("submission", "submission-source", "submission-pending", "submission-of"):
        assert await world.store.scan(bucket) == []
    assert len(await world.store.audit()) == 2


@pytest.mark.parametrize(
    "query",
    [
        "dry-run", "dry-run=", "dry-run=yes", "dry-run=2", "dry-run=true&dry-run=true",
        "dryrun=true", "dry_run=true", "dry-run=true&x=1", "Dry-Run=true", "?dry-run=true",
    ],
)  # fmt: skip
async def test_what_might_have_meant_a_dry_run_is_no_real_one(
    client_of: Clients, world: World, query: str
) -> None:
    """An empty value, another name, anything unknown: 400 that says what is known."""
    answer = await push(client_of(), body_of(), path=f"/submissions?{query}")

    assert_problem(answer, 400)
    assert "dry-run" in answer.json()["detail"]
    assert "dry-run" in answer.json()["detail_vi"]
    assert await world.store.count("Encounter") == 0
    assert await world.store.scan("submission") == []


async def test_a_dry_run_foresees_its_own_submission(client_of: Clients) -> None:
    """The same number under two names in one submission: IDENTITY for the second, as it will be."""
    names = ("Nguyễn Thị Mẫu", "Lê Văn Lạ", "NGUYEN THI MAU")
    body = envelope([dossier(visit(MA_LK=f"LK-{n}", HO_TEN=name)) for n, name in enumerate(names)])
    client = client_of()

    dry = (await push(client, body, path="/submissions?dry-run=true")).json()
    real = (await push(client, body)).json()
    again = (await push(client, body, path="/submissions?dry-run=true")).json()

    def identity(receipt: dict[str, Any]) -> list[bool]:
        return ["IDENTITY" in {i["rule"] for i in d["issues"]} for d in receipt["dossiers"]]

    assert identity(dry) == [False, True, False]
    assert sum(identity(real)) in {1, 2}
    assert identity(again) == identity(real)


@pytest.mark.parametrize("value", ["true", "TRUE", "True", "1"])
async def test_a_dry_run_is_true_in_any_case(client_of: Clients, world: World, value: str) -> None:
    """As languages write a boolean: `True`, `TRUE`, `1`; nothing is stored."""
    answer = await push(client_of(), body_of(), path=f"/submissions?dry-run={value}")

    assert (answer.status_code, answer.json()["id"]) == (200, None)
    assert await world.store.count("Encounter") == 0


@pytest.mark.parametrize("value", ["false", "FALSE", "False", "0"])
async def test_dry_run_false_is_a_real_run(client_of: Clients, world: World, value: str) -> None:
    """`dry-run=false` says what its absence says."""
    answer = await push(client_of(), body_of(), path=f"/submissions?dry-run={value}")

    assert answer.json()["id"] is not None
    assert await world.store.count("Encounter") == 1


# What is no submission


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"", "application/xml"),
        (b"<GIAMDINHHS>", "application/xml"),
        (b"<html/>", "application/xml"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><GIAMDINHHS/>', "application/xml"),
        (b"<GIAMDINHHS/>", "application/xml"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'"x"', "application/json"),
        (b"", "text/csv"),
        (b"MA_LK,HO_TEN\r\n", "text/csv"),
    ],
)
async def test_a_body_that_is_no_submission_is_400_and_leaves_none(
    client_of: Clients, world: World, body: bytes, media_type: str
) -> None:
    """Not parseable, no dossier in it, wrong root, DOCTYPE: 400, and nothing is kept."""
    answer = await push(client_of(), body, media_type)

    assert_problem(answer, 400)
    for bucket in ("submission", "submission-source", "submission-pending"):
        assert await world.store.scan(bucket) == []


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/fhir+json", "xml"])
async def test_an_unknown_media_type_is_415(client_of: Clients, media_type: str | None) -> None:
    """The media type is asked for, and is one of three."""
    assert_problem(await push(client_of(), body_of(), media_type), 415)


async def test_an_unknown_encoding_is_415(client_of: Clients) -> None:
    """Gzip is the only Content-Encoding."""
    answer = await push(client_of(), body_of(), **{"Content-Encoding": "br"})

    assert_problem(answer, 415)


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(b"<x/>")[:-4]], ids=["none", "cut short"]
)
async def test_a_body_that_is_not_its_gzip_is_400(client_of: Clients, body: bytes) -> None:
    """A body that does not decode is not parseable."""
    assert_problem(await push(client_of(), body, **{"Content-Encoding": "gzip"}), 400)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """What decodes to a byte more than is taken."""
    return gzip.compress(bytes(160 * 1024 * 1024 + 1), 9)


async def test_a_gzip_bomb_is_413(client_of: Clients, world: World, bomb: bytes) -> None:
    """The limit of 160 MiB holds for the decoded bytes."""
    answer = await push(client_of(), bomb, **{"Content-Encoding": "gzip"})

    assert len(bomb) < 1_000_000
    assert_problem(answer, 413)
    assert await world.store.scan("submission-source") == []


async def test_a_length_over_the_limit_is_413_unread(client_of: Clients) -> None:
    """A body that is announced too large is refused before it is read."""
    length = str(160 * 1024 * 1024 + 1)

    assert_problem(await push(client_of(), b"x", **{"Content-Length": length}), 413)


def assert_problem(answer: httpx.Response, status: int) -> None:
    """Assert a problem+json of this status, that shows nothing."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    for sentence in (problem["detail"], problem["detail_vi"]):
        assert sentence[0].isupper()
        assert sentence.endswith((".", ")"))
        assert "granted" not in sentence
    assert problem["detail"] != problem["detail_vi"]
    assert "Traceback" not in answer.text


# Who may


async def test_without_a_token_it_is_401(client_of: Clients) -> None:
    """No token: 401, and how to log in."""
    for answer in (
        await push(client_of(None), body_of()),
        await client_of(None).get("/submissions"),
        await client_of("nobody").get("/submissions/x"),
    ):
        assert_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_who_cannot_be_served_now_is_told_when_to_come_back(
    client_of: Clients, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away is 503 with Retry-After, here as below the FHIR base (RFC 9110, 10.2.3).

    Senders read it: without it one ended for good at a database that was between two primaries.
    """

    async def away(_batch: Batch) -> None:  # noqa: RUF029 - of the port
        raise Unavailable("The store cannot be reached.")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "commit", away)
        answer = await push(client_of("hospital"), body_of())

    assert_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("caller", ["insurer", "reader", "citizen", "auditor"])
async def test_a_token_without_the_right_to_submit_is_403(
    client_of: Clients, world: World, caller: str
) -> None:
    """Who may not submit is refused, also with a body that would be refused, and it is recorded."""
    client = client_of(caller)

    assert_problem(await push(client, b"rubbish", None), 403)
    assert_problem(await client.get("/submissions"), 403)
    assert_problem(await client.get("/submissions/x"), 403)
    assert len(await world.store.audit()) == 3


async def test_a_dossier_of_another_facility_is_refused(client_of: Clients) -> None:
    """XML1 names another facility, or the envelope does: rule FACILITY."""
    other = await push(client_of(), body_of(facility="79999"))
    mixed = await push(client_of(), envelope([dossier(visit())], facility="79999"))

    for answer in (other, mixed):
        (part,) = answer.json()["dossiers"]
        assert answer.status_code == 422
        assert "FACILITY" in [issue["rule"] for issue in part["issues"]]
        assert answer.json()["facility"] == "01999"


async def test_system_submits_for_any_facility(client_of: Clients) -> None:
    """`system` submits for any, and the facility sees it among its own."""
    answer = await push(client_of("system"), body_of(facility="79999"))

    receipt = answer.json()
    listed = (await client_of("other").get("/submissions")).json()["items"]
    assert (answer.status_code, receipt["facility"]) == (200, "79999")
    assert listed == [receipt]
    assert (await client_of().get("/submissions")).json()["items"] == []
    assert (await client_of("system").get("/submissions")).json()["items"] == [receipt]


async def test_anothers_submission_is_404(client_of: Clients) -> None:
    """Receipt and source of another facility are as if they were not."""
    first = (await push(client_of(), body_of())).json()["id"]

    for path in (f"/submissions/{first}", f"/submissions/{first}/source"):
        other = await client_of("other").get(path)
        never = await client_of("other").get(path.replace(first, "never"))
        assert_problem(other, 404)
        assert other.content == never.content
        assert (await client_of("system").get(path)).status_code == 200


async def test_other_methods_and_paths(client_of: Clients) -> None:
    """A method that a path has not is 405 with Allow; a path that is not there 404."""
    client = client_of()

    deleted = await client.delete("/submissions")
    put = await client.put("/submissions/x")
    deeper = await client.get("/submissions/x/y/z")

    assert_problem(deleted, 405)
    assert deleted.headers["Allow"] == "GET, HEAD, POST"
    assert_problem(put, 405)
    assert_problem(deeper, 404)


async def test_one_audit_event_a_request_names_the_patients(
    client_of: Clients, world: World
) -> None:
    """A submission, taken or refused, and each look at one leaves one AuditEvent."""
    client = client_of()
    first = (await push(client, body_of())).json()
    patient = first["dossiers"][0]["patient"].partition("/")[2]

    await push(client, body_of("LK-2"))
    await push(client, body_of("LK-1"))
    await push(client, b"rubbish")
    await client.get(f"/submissions/{first['id']}")
    await client.get("/submissions")

    assert len(await world.store.audit()) == 6
    assert len(await world.store.audit(patient=patient)) == 5


# Lists


async def test_lists_are_newest_first_in_pages(client_of: Clients, world: World) -> None:
    """Every submission is on one page, once, newest first."""
    client = client_of()
    sent = []
    for n in range(5):
        sent.append((await push(client, body_of(f"LK-{n}"))).json()["id"])
        world.clock.at += timedelta(seconds=1)

    seen, url, pages = [], "/submissions?_count=2", 0
    while url:
        page = (await client.get(url)).json()
        seen += [item["id"] for item in page["items"]]
        url, pages = page["next"], pages + 1

    assert seen == sent[::-1]
    assert pages == 3


async def test_lists_by_status_visit_and_day(client_of: Clients, world: World) -> None:
    """status, ma_lk, from and to narrow the list; the days are inclusive, at +07:00."""
    client = client_of()
    first = (await push(client, body_of("A/1 ă|b"))).json()["id"]
    world.clock.at += timedelta(days=1)
    second = (await push(client, body_of("A/1 ă|b"))).json()["id"]
    third = (await push(client, body_of("B", NGAY_VAO=""))).json()["id"]

    async def ids(**params: str) -> list[str]:
        answer = await client.get("/submissions", params=params)
        assert answer.status_code == 200, answer.text
        return sorted(item["id"] for item in answer.json()["items"])

    assert await ids(status="created") == [first]
    assert await ids(status="unchanged") == [second]
    assert await ids(status="rejected") == [third]
    assert await ids(ma_lk="A/1 ă|b") == sorted([first, second])
    assert await ids(ma_lk="A/1 ă|b", status="unchanged") == [second]
    assert await ids(ma_lk="A") == []
    assert await ids(**{"from": "2026-11-26"}) == sorted([second, third])
    assert await ids(to="2026-11-25") == [first]
    assert await ids(**{"from": "2026-11-25", "to": "2026-11-26"}) == sorted([first, second, third])
    assert await ids(**{"from": "2026-11-27"}) == []
    assert await ids(**{"status": "", "from": "", "to": "", "ma_lk": ""}) == sorted([
        first,
        second,
        third,
    ])


@pytest.mark.parametrize(
    "query",
    [
        "status=taken", "from=20261120", "to=2026-02-30", "_count=x", "_count=-1", "_count=0",
        "_cursor=x", "status=created&status=rejected",
    ],
)  # fmt: skip
async def test_a_parameter_that_cannot_be_read_is_400(client_of: Clients, query: str) -> None:
    """A parameter that cannot be read is refused, never ignored."""
    assert_problem(await client_of().get(f"/submissions?{query}"), 400)


async def test_a_count_beyond_the_most_is_taken_as_the_most(client_of: Clients) -> None:
    """Above 1000 is taken as 1000."""
    assert (await client_of().get("/submissions?_count=100000")).status_code == 200


# One dossier's life


async def test_unchanged_updated_withdrawn_and_alive_again(
    client_of: Clients, world: World
) -> None:
    """The statuses of one visit, and that it is one Encounter all the time."""
    client = client_of()
    withdrawal = envelope([dossier({"MA_LK": "LK-1", "MA_CSKCB": "01999", "MA_DOITUONG_KCB": "8"})])

    parts = [
        (await push(client, body)).json()["dossiers"][0]
        for body in (
            body_of(),
            body_of(STT="7"),
            body_of(LY_DO_VV="Ho, sốt 3 ngày"),
            withdrawal,
            withdrawal,
            body_of(LY_DO_VV="Ho, sốt 3 ngày"),
            body_of(LY_DO_VV="Ho, sốt 3 ngày"),
        )
    ]

    assert [part["status"] for part in parts] == [
        "created", "unchanged", "updated", "withdrawn", "unchanged", "updated", "unchanged",
    ]  # fmt: skip
    assert len({part["encounter"] for part in parts}) == 1
    assert len({part["patient"] for part in parts}) == 1
    encounter = await resource(world, parts[0]["encounter"])
    assert encounter["status"] == "finished"
    assert encounter["meta"]["versionId"] == "4"


async def test_a_withdrawn_visit_is_in_error_and_its_person_untouched(
    client_of: Clients, world: World
) -> None:
    """Every clinical resource is entered in error, the Claim cancelled, the rest as before."""
    client = client_of()
    summary = visit(**costs(drugs=1, services=1))
    body = envelope([
        dossier(
            summary,
            xml2=rows("XML2", 1),
            xml3=rows("XML3", 1),
            xml4=rows("XML4", 1),
            xml5=rows("XML5", 1),
        )
    ])
    created = (await push(client, body)).json()["dossiers"][0]
    assert created["status"] == "created", created
    patient = await resource(world, created["patient"])
    withdrawal = {
        "MA_LK": summary["MA_LK"], "MA_CSKCB": "01999", "MA_DOITUONG_KCB": "8",
    }  # fmt: skip

    answer = (await push(client, envelope([dossier(withdrawal)]))).json()["dossiers"][0]

    assert answer["status"] == "withdrawn"
    kinds = ("Encounter", "Condition", "MedicationRequest", "Procedure", "Observation", "Claim")
    for kind in kinds:
        found = await stored(world, kind)
        assert found, kind
        for one in found:
            if kind == "Condition":
                assert one["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
                assert "clinicalStatus" not in one
            else:
                wanted = "cancelled" if kind == "Claim" else "entered-in-error"
                assert one["status"] == wanted
    assert await resource(world, created["patient"]) == patient
    for kind in ("Coverage", "Organization", "Practitioner"):
        assert all(one["meta"]["versionId"] == "1" for one in await stored(world, kind)), kind


async def stored(world: World, kind: str) -> list[dict[str, Any]]:
    """Return all current resources of a type."""
    answer = await world.perform("search-type", resource_type=kind, query=(("_count", "100"),))
    found = codec.loads(answer.body) if answer.body else answer.resource
    assert found is not None
    return [entry["resource"] for entry in found.get("entry", [])]


async def test_an_unknown_visit_is_not_withdrawn(client_of: Clients) -> None:
    """A withdrawal of what was never sent is refused: UNKNOWN-VISIT."""
    body = envelope([dossier({"MA_LK": "NONE", "MA_CSKCB": "01999", "MA_DOITUONG_KCB": "8"})])

    answer = await push(client_of(), body)

    (part,) = answer.json()["dossiers"]
    assert (answer.status_code, part["status"]) == (422, "rejected")
    assert [issue["rule"] for issue in part["issues"]] == ["UNKNOWN-VISIT"]


async def test_a_row_that_is_gone_is_deleted(client_of: Clients, world: World) -> None:
    """Two drugs, then one: the other MedicationRequest is deleted, the first has one version."""
    client = client_of()

    def of(drugs: int) -> bytes:
        summary = visit(**costs(drugs=drugs))
        return envelope([dossier(summary, xml2=rows("XML2", drugs))])

    await push(client, of(2))
    second = (await push(client, of(1))).json()["dossiers"][0]

    (left,) = await stored(world, "MedicationRequest")
    assert second["status"] == "updated"
    assert left["meta"]["versionId"] == "1"


async def test_sixteen_fields_and_then_the_dossier_are_one_visit(
    client_of: Clients, world: World
) -> None:
    """A record of sixteen fields and the XML of the same key are the same Encounter."""
    client = client_of()
    first = await push(client, csv_of(FIELDS | {"MA_LK": "LK-1"}), "text/csv")

    second = await push(client, body_of())

    one, two = (answer.json()["dossiers"][0] for answer in (first, second))
    assert (one["status"], two["status"]) == ("created", "updated")
    assert (one["encounter"], one["patient"]) == (two["encounter"], two["patient"])
    assert await world.store.count("Encounter") == 1


async def test_the_same_key_twice_is_refused_the_second_time(client_of: Clients) -> None:
    """In one submission the second dossier of a key is DUPLICATE-KEY."""
    answer = await push(client_of(), envelope([dossier(visit()), dossier(visit())]))

    parts = answer.json()["dossiers"]
    assert answer.status_code == 207
    assert [part["status"] for part in parts] == ["created", "rejected"]
    assert "DUPLICATE-KEY" in [issue["rule"] for issue in parts[1]["issues"]]


async def test_one_key_from_two_facilities_is_two_visits(client_of: Clients) -> None:
    """MA_LK is a facility's own."""
    one = (await push(client_of(), body_of())).json()["dossiers"][0]
    two = (await push(client_of("other"), body_of(facility="79999"))).json()["dossiers"][0]

    assert one["encounter"] != two["encounter"]
    assert two["status"] == "created"


async def test_a_count_that_differs_is_a_warning_of_the_envelope(client_of: Clients) -> None:
    """SOLUONGHOSO that is not the count stands in the receipt's own issues, rule XML."""
    answer = await push(client_of(), envelope([dossier(visit())], count="3"))

    assert answer.status_code == 200
    assert [(i["rule"], i["severity"]) for i in answer.json()["issues"]] == [("XML", "warning")]


async def test_a_file_that_cannot_be_read_rejects_its_dossier(client_of: Clients) -> None:
    """Bad base64 and a missing XML1 reject their dossiers; the others are taken."""
    broken = hoso(file("XML1", "!!!"))
    headless = hoso(file("XML2", table("XML2", rows("XML2", 1))))

    answer = await push(client_of(), envelope([broken, headless, dossier(visit())]))

    parts = answer.json()["dossiers"]
    assert answer.status_code == 207
    assert [part["status"] for part in parts] == ["rejected", "rejected", "created"]
    assert parts[0]["ma_lk"] is None
    assert "BASE64" in [issue["rule"] for issue in parts[0]["issues"]]
    assert "G12-REQUIRED" in [issue["rule"] for issue in parts[1]["issues"]]


async def test_many_dossiers_in_order(client_of: Clients, world: World) -> None:
    """Forty dossiers of forty persons are taken; the receipt keeps their order."""
    people = [
        dossier(visit(MA_LK=f"LK-{n}", SO_CCCD=f"0011950{n:05d}", MA_BN=f"BN-{n}",
                      MA_THE_BHYT=f"DN40101234{n:05d}"))
        for n in range(40)
    ]  # fmt: skip

    answer = await push(client_of(), envelope(people))

    parts = answer.json()["dossiers"]
    assert answer.status_code == 200
    assert [part["ma_lk"] for part in parts] == [f"LK-{n}" for n in range(40)]
    assert len({part["patient"] for part in parts}) == 40
    assert await world.store.count("Organization") == 1


async def test_sendings_of_one_visit_at_once_are_one_visit(
    client_of: Clients, world: World
) -> None:
    """Ten different sendings of one key at once: one Encounter, one created, nine updated."""
    client = client_of()

    answers = await asyncio.gather(
        *(push(client, body_of(LY_DO_VV=f"Ho {n} ngày")) for n in range(10))
    )

    statuses = sorted(answer.json()["dossiers"][0]["status"] for answer in answers)
    assert statuses == ["created", *["updated"] * 9]
    assert await world.store.count("Encounter") == 1
    assert await world.store.count("Patient") == 1


async def test_a_visit_made_over_rest_is_the_same_visit(client_of: Clients, world: World) -> None:
    """An Encounter that has the key already is updated, not made a second time."""
    await world.put({
        "resourceType": "Encounter",
        "id": "by-rest",
        "identifier": [{"system": MA_LK, "value": "01999|LK-1"}],
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    })

    part = (await push(client_of(), body_of())).json()["dossiers"][0]

    assert (part["status"], part["encounter"]) == ("updated", "Encounter/by-rest")


# Whose it is


async def test_a_mistyped_number_is_kept_apart_until_it_is_corrected(
    client_of: Clients, world: World
) -> None:
    """Another name under a known number is kept apart; corrected, it moves to the holder."""
    holder = (await push(client_of(), body_of())).json()["dossiers"][0]

    wrong = body_of("LK-2", HO_TEN="TRẦN VĂN LẠ", MA_BN="BN-2", MA_THE_BHYT="HS4010000000025")
    apart = (await push(client_of(), wrong)).json()["dossiers"][0]
    right = body_of("LK-2")
    moved = (await push(client_of(), right)).json()["dossiers"][0]

    assert apart["status"] == "created"
    assert apart["patient"] != holder["patient"]
    assert [i["rule"] for i in apart["issues"] if i["rule"] == "IDENTITY"] == ["IDENTITY"]
    kept = await resource(world, apart["patient"])
    assert CCCD not in [identifier["system"] for identifier in kept["identifier"]]
    assert moved["status"] == "updated"
    assert moved["patient"] == holder["patient"]
    assert moved["encounter"] == apart["encounter"]
    assert "IDENTITY" not in [i["rule"] for i in moved["issues"]]


async def test_twenty_facilities_at_once_make_one_patient(client_of: Clients, world: World) -> None:
    """Twenty visits of one new person from as many facilities at once: one Patient."""
    client = client_of("system")

    answers = await asyncio.gather(
        *(push(client, body_of(f"LK-{n}", f"{n + 10}999")) for n in range(20))
    )

    patients = {answer.json()["dossiers"][0]["patient"] for answer in answers}
    assert {answer.status_code for answer in answers} == {200}
    assert len(patients) == 1
    assert await world.store.count("Patient") == 1
    tags = await world.store.tags(("Patient", patients.pop().partition("/")[2]))
    assert {f"facility/{n + 10}999" for n in range(20)} <= tags


async def test_a_sender_sees_what_its_dossier_names(client_of: Clients, world: World) -> None:
    """Patient, Coverage, Organization, Practitioner and all of the visit carry the sender's tag."""
    summary = visit(**costs(drugs=1))
    body = envelope([dossier(summary, xml2=rows("XML2", 1))])
    await push(client_of(), body)

    for kind in ("Patient", "Coverage", "Organization", "Practitioner", "Encounter", "Claim"):
        for one in await stored(world, kind):
            assert "facility/01999" in await world.store.tags((kind, one["id"])), kind


async def test_another_visit_of_the_same_hour_is_a_warning(client_of: Clients) -> None:
    """The same person, facility and NGAY_VAO under another MA_LK: G01, and it is taken."""
    await push(client_of(), body_of())

    part = (await push(client_of(), body_of("LK-2"))).json()["dossiers"][0]

    assert part["status"] == "created"
    assert ("G01", "warning") in [(i["rule"], i["severity"]) for i in part["issues"]]


async def test_two_places_at_once_is_a_warning(client_of: Clients) -> None:
    """A visit elsewhere in the time of an in-patient stay: G07, and it is taken."""
    stay = {"MA_LOAI_KCB": "03", "NGAY_VAO": "202611180800", "NGAY_RA": "202611221000",
            "SO_NGAY_DTRI": "5"}  # fmt: skip
    await push(client_of("other"), body_of("STAY", "79999", **stay))

    part = (await push(client_of(), body_of())).json()["dossiers"][0]

    assert part["status"] == "created"
    assert "G07" in [issue["rule"] for issue in part["issues"]]
