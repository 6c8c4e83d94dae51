"""What a payer sees of what a claim names: what the claim needs; of HIV data sums and results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.xml130.parse import parse
from fhir_server.interactions.claim_needs import OF_HIV
from fhir_server.interactions.redact import mask
from fhir_server.model import codec
from fhir_server.model.definitions import children
from fhir_server.model.identifiers import CCCD, NS
from fhir_server.model.sensitivity import LABEL
from fhir_server.validation.structure import validate
from mappings.xml130.to_bundle import to_bundle
from tests.conftest import World
from tests.fhir_server.interactions.test_hidden import names
from tests.fhir_server.interactions.test_limits import PAYER_OF_ALL
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.xml130 import dossier, envelope, rows, visit

ICD = "http://hl7.org/fhir/sid/icd-10"
SECRETS = {
    "CHAN_DOAN_VAO": "Sốt kéo dài",
    "CHAN_DOAN_RV": "Bệnh do virut",
    "LY_DO_VV": "Mệt mỏi",
    "PP_DIEU_TRI": "Thuốc kháng virut",
    "GHI_CHU": "Uống thuốc đều",
    "LY_DO_VNT": "Theo dõi sát",
    "MA_DANTOC": "09",
    "MA_NGHE_NGHIEP": "52210",
    "DIA_CHI": "Số 7 phố Kín",
    "DIEN_THOAI": "0900000123",
}
DRUG = {
    "MA_THUOC": "40.777", "TEN_THUOC": "Tenofovir", "HAM_LUONG": "300 mg", "SO_DANG_KY": "VN-777",
    "LIEU_DUNG": "1 viên tối", "CACH_DUNG": "Uống tối", "DANG_BAO_CHE": "Viên nén",
}  # fmt: skip
SERVICE = {"MA_DICH_VU": "23.0777.1494", "TEN_DICH_VU": "Đo tải lượng"}


def mapped(main: str) -> Iterator[dict[str, Any]]:
    """Give the stored form of the resources of a visit with this main diagnosis."""
    body = envelope([
        dossier(
            visit(MA_BENH_CHINH=main, T_THUOC="1000", **SECRETS),
            xml2=[rows("XML2", 1)[0] | DRUG],
            xml3=[rows("XML3", 1)[0] | SERVICE],
        )
    ])
    record = parse(body).dossiers[0].record
    assert record is not None
    made = to_bundle(record, recorded=datetime(2026, 11, 20, tzinfo=UTC)).bundle
    text = codec.dumps(made).decode()
    for one in made["entry"]:
        url = one["fullUrl"]
        text = text.replace(url, f"{one['resource']['resourceType']}/{url[9:]}")
    for one in codec.loads(text.encode())["entry"]:
        if one["resource"]["resourceType"] not in {"Observation", "Provenance"}:
            yield one["resource"]


def said(resource: dict[str, Any]) -> str:
    """Return a resource as text."""
    return codec.dumps(resource).decode()


@pytest.mark.parametrize("resource", list(mapped("B20")), ids=lambda one: one["resourceType"])
def test_of_an_hiv_visit_no_free_text_and_no_drug_is_shown(resource: dict[str, Any]) -> None:
    """No text of the dossier, no drug, service or disease is in it, and it is valid FHIR."""
    seen = mask(resource)

    text = said(seen)
    for secret in (*SECRETS.values(), *DRUG.values(), *SERVICE.values(), "B20", LABEL["code"]):
        if secret != SECRETS["MA_DANTOC"]:
            assert secret not in text
    assert validate(seen) == []


def test_of_an_hiv_claim_the_amounts_are_shown() -> None:
    """The sums, each line's money and its kind, and who and when are there."""
    claim = next(one for one in mapped("B20") if one["resourceType"] == "Claim")

    seen = mask(claim)

    for name in ("identifier", "total", "billablePeriod", "patient", "insurance", "created"):
        assert seen[name] == claim[name] or name == "insurance"
    money = [e for e in claim["extension"] if "valueMoney" in e]
    assert money
    assert [e for e in seen["extension"] if "valueMoney" in e] == money
    for item, shown in zip(claim["item"], seen["item"], strict=True):
        assert shown["net"] == item["net"]
        assert shown["unitPrice"] == item["unitPrice"]
        assert shown["quantity"]["value"] == item["quantity"]["value"]
        assert shown["productOrService"]["coding"][0]["code"] == "masked"
        assert [e for e in item["extension"] if "valueMoney" in e] == [
            e for e in shown["extension"] if "valueMoney" in e
        ]


def test_of_another_visit_the_insurer_sees_what_a_claim_needs() -> None:
    """Diagnosis, drug and service are shown; how the person lives and what was advised are not."""
    seen = {one["resourceType"]: mask(one) for one in mapped("I10")}

    text = "".join(map(said, seen.values()))
    for kept in (DRUG["TEN_THUOC"], SERVICE["TEN_DICH_VU"], "I10", CCCD):
        assert kept in text
    for dropped in ("GHI_CHU", "PP_DIEU_TRI", "LY_DO_VV", "LY_DO_VNT", "DIA_CHI", "DIEN_THOAI"):
        assert SECRETS[dropped] not in text
    for name in ("ethnicity", "occupation", "advice", "treatment-method", "sid/ma-bn"):
        assert f"{NS}/StructureDefinition/{name}" not in text
        assert f"{NS}/{name}" not in text
    assert set(seen["Patient"]) <= {
        "resourceType", "id", "meta", "identifier", "active", "name", "gender", "birthDate",
    }  # fmt: skip
    assert all(validate(one) == [] for one in seen.values())


def test_a_claim_with_an_hiv_code_is_hiv_data() -> None:
    """A code without the label masks the whole, wherever it stands; the sums stay."""
    concept = {"coding": [{"system": ICD, "code": "B20.1", "display": "HIV"}], "text": "HIV"}
    claim = {
        "resourceType": "Claim",
        "text": {"status": "generated", "div": "<div>HIV</div>"},
        "contained": [{"resourceType": "Condition", "id": "c", "code": concept}],
        "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept}],
        "item": [{"sequence": 1, "productOrService": {"text": "ARV"}, "modifier": [concept]}],
        "insurance": [{"sequence": 1, "focal": False, "coverage": {"display": "HIV card"}}],
        "total": {"value": 0, "currency": "VND"},
    }

    seen = mask({"resourceType": "Bundle", "entry": [{"resource": claim}, {"search": {}}]})

    (shown, other) = seen["entry"]
    assert not re.search("HIV|B20|ARV", said(shown))
    assert shown["resource"]["total"] == claim["total"]
    assert shown["resource"]["insurance"] == [{"sequence": 1, "focal": False}]
    assert other == {"search": {}}


def test_a_text_in_an_amount_is_masked() -> None:
    """An extension whose name says amount, but which holds a sentence, shows none."""
    claim = {
        "resourceType": "Claim",
        "meta": {"security": [dict(LABEL), {"code": "R"}]},
        "extension": [
            {"url": f"{NS}/StructureDefinition/line", "valueString": "Người bệnh nhiễm virut"},
            {"url": f"{NS}/StructureDefinition/ky-qt", "valueString": "2026-11"},
            {"url": f"{NS}/StructureDefinition/finding",
             "extension": [{"url": "severity", "valueCode": "error"}]},
            {"url": "http://example.org/x", "valueString": "2026"},
        ],
        "identifier": [{"system": "http://example.org/arv-clinic", "value": "7"}],
    }  # fmt: skip

    seen = mask(claim)

    assert [e.get("valueString") for e in seen["extension"]] == ["masked", "2026-11", None]
    assert seen["extension"][2] == claim["extension"][2]
    assert "identifier" not in seen
    assert seen["meta"] == {"security": [{"code": "R"}]}


@pytest.mark.parametrize("kind", sorted(OF_HIV))
def test_the_tables_name_elements_of_their_types(kind: str) -> None:
    """What is shown of HIV data are elements that the type has; what it requires is among them."""
    known = {
        name
        for one in children(kind)
        for name in ((one,) if not one.endswith("[x]") else (one[:-3],))
    }
    for name in OF_HIV[kind]:
        assert any(name == one or name.startswith(one) for one in known)
    required = {name for name, element in children(kind).items() if element.min > 0}
    for name in required:
        assert any(shown.startswith(name.removesuffix("[x]")) for shown in OF_HIV[kind])


HIV_DRUG = {
    "resourceType": "MedicationRequest",
    "id": "m",
    "meta": {"security": [dict(LABEL)]},
    "status": "completed",
    "intent": "order",
    "medicationCodeableConcept": {"coding": [{"system": "http://example.org/d", "code": "ARV"}]},
    "subject": {"reference": "Patient/ana"},
}


@pytest.fixture
async def insured(world: World) -> World:
    """A world with a claim of the social insurer that names an ordinary and an HIV drug."""
    await world.put({
        "resourceType": "Patient",
        "id": "ana",
        "identifier": [
            {"system": CCCD, "value": "001195012345"},
            {"system": f"{NS}/sid/ma-bn/01998", "value": "5"},
        ],
        "address": [{"city": "Huế"}],
    })
    await world.put({
        "resourceType": "Coverage",
        "id": "card",
        "status": "active",
        "beneficiary": {"reference": "Patient/ana"},
        "payor": [{"identifier": {"system": f"{'http://fhir.hl7.org.vn/core/sid'}/payer",
                                  "value": "BHXH"}}],
    })  # fmt: skip
    plain = {name: value for name, value in HIV_DRUG.items() if name != "meta"}
    await world.put(HIV_DRUG)
    await world.put(plain | {"id": "n"})
    await world.put({
        "resourceType": "Claim",
        "id": "claim",
        "status": "active",
        "type": {"text": "institutional"},
        "use": "claim",
        "patient": {"reference": "Patient/ana"},
        "created": "2024-01-01",
        "provider": {"display": "01999"},
        "priority": {"text": "normal"},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/card"}}],
        "supportingInfo": [
            {"sequence": n, "category": {"text": "info"},
             "valueReference": {"reference": f"MedicationRequest/{drug}"}}
            for n, drug in enumerate("mn", 1)
        ],
    })  # fmt: skip
    return world


@pytest.mark.parametrize(
    ("kind", "query", "found"),
    [
        ("MedicationRequest", ("status", "completed"), {"m", "n"}),
        ("MedicationRequest", ("code", "ARV"), {"n"}),
        ("MedicationRequest", ("code:not", "other"), {"m", "n"}),
        ("MedicationRequest", ("code:not", "ARV"), {"m"}),
        ("MedicationRequest", ("_security:missing", "false"), set()),
        ("MedicationRequest", ("_security", f"{LABEL['system']}|"), set()),
        ("Patient", ("identifier", f"{CCCD}|001195012345"), {"ana"}),
        ("Patient", ("identifier", f"{NS}/sid/ma-bn/01998|"), set()),
        ("Patient", ("address", "Hue"), set()),
        ("Patient", ("address:missing", "false"), set()),
        ("Claim", ("names:MedicationRequest.code", "ARV"), {"claim"}),
    ],
)
async def test_what_is_not_shown_is_not_searched_for(
    insured: World, kind: str, query: tuple[str, str], found: set[str]
) -> None:
    """A search says nothing of what a read does not show: HIV data answers all codes alike."""
    answer = await insured.perform("search-type", PAYER_OF_ALL, resource_type=kind, query=(query,))

    assert {name.partition("/")[2] for name in names(answer)} == found


async def test_an_element_asked_for_alone_is_masked_too(insured: World) -> None:
    """`_elements` leaves the label where it masks."""
    answer = await insured.perform(
        "search-type", PAYER_OF_ALL, resource_type="MedicationRequest",
        query=(("_elements", "medication"), ("_id", "m")),
    )  # fmt: skip

    assert b"ARV" not in (answer.body or b"")
    assert b"masked" in (answer.body or b"")


@pytest.mark.parametrize("interaction", ["vread", "history-instance", "transaction"])
async def test_a_version_from_before_the_label_is_masked_too(
    insured: World, interaction: str
) -> None:
    """What was found to be HIV data is masked in what it said before."""
    drug = {name: value for name, value in HIV_DRUG.items() if name != "meta"} | {"id": "n"}
    await insured.put(drug | {"meta": HIV_DRUG["meta"], "note": [{"text": "x"}]})
    asked: dict[str, dict[str, Any]] = {
        "vread": {"resource_type": "MedicationRequest", "resource_id": "n", "version_id": "1"},
        "history-instance": {"resource_type": "MedicationRequest", "resource_id": "n"},
        "transaction": {"resource": bundle(entry("GET", "MedicationRequest/n/_history"),
                                           entry("GET", "MedicationRequest/n/_history/1"),
                                           kind="batch")},
    }  # fmt: skip

    answer = await insured.perform(interaction, PAYER_OF_ALL, **asked[interaction])

    body = answer.body or (answer.version.body if answer.version else b"")
    assert b"ARV" not in body
    assert b"masked" in body
