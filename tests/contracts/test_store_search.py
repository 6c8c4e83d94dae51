"""What every Store finds: each form of search over one population, with the same answers."""

from __future__ import annotations

import pytest

from fhir_server.model import codec
from fhir_server.model.ucum import SYSTEM as UCUM
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    And,
    Chain,
    Expression,
    Has,
    Ids,
    InPatient,
    Not,
    Or,
    RefersTo,
    Search,
    Tagged,
    TokenIs,
)
from fhir_server.store.port import BadCursor, Batch, Store
from tests.contracts.making import START, asked, ids, made, observation, turned, walk
from tests.contracts.population import LOINC, S

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERY_PLACE = "bach-mai cho-ray fiji-east fiji-west north north-behind viet-duc"
EVERY_PATIENT = "an binh chi dung"

FOUND: list[tuple[str, str, str]] = [
    # _id, _lastUpdated and the parameters of every type
    ("Patient", "", EVERY_PATIENT),
    ("Patient", "_id=an", "an"),
    ("Patient", "_id=an,binh,nobody", "an binh"),
    ("Patient", "_id=an&_id=binh", ""),
    ("Patient", "_id=lost", ""),
    ("Patient", "_id:not=an", "binh chi dung"),
    ("Patient", "_lastUpdated=gt2023-11-15T05:13:21+07:00", "chi dung"),
    ("Patient", "_lastUpdated=2023-11-15T05:13:21+07:00", "binh"),
    ("Patient", "_lastUpdated=ne2023-11-15T05:13:21+07:00", "an chi dung"),
    ("Patient", "_lastUpdated=lt2023-11-15", ""),
    ("Patient", "_lastUpdated=ge2023-11-15T05:13:21+07:00", "binh chi dung"),
    ("Patient", "_lastUpdated=le2023-11-15T05:13:21+07:00", "an binh"),
    ("Patient", "_lastUpdated=sa2023-11-14,eb2023-11-01", EVERY_PATIENT),
    ("Patient", "_tag=vip", "an"),
    ("Patient", "_tag=http://x/tags|vip", "an"),
    ("Patient", "_tag:not=vip", "binh chi dung"),
    ("Patient", "_security=http://x/labels|HIV", "an"),
    ("Patient", "_profile=http://x/StructureDefinition/a", "an"),
    ("Patient", "_profile=http://x/StructureDefinition/a|1.0", "an"),
    ("Patient", "_profile=http://x/StructureDefinition/a|1.1", ""),
    ("Patient", "_profile:below=http://x/StructureDefinition/a|1", "an"),
    ("Patient", "_profile:below=http://x/StructureDefinition/a|1.00", ""),
    ("Patient", "_profile:above=http://x/StructureDefinition/a|1.0.3", "an"),
    ("Patient", "_source=http://x/hospital", "an"),
    # token
    ("Patient", "gender=male", "an dung"),
    ("Patient", "gender=http://hl7.org/fhir/administrative-gender|male", "an dung"),
    ("Patient", "gender=http://other|male", ""),
    ("Patient", "gender=|male", ""),
    ("Patient", "gender=Male", ""),
    ("Patient", "gender=male,female", "an binh dung"),
    ("Patient", "gender=male&gender=female", ""),
    ("Patient", "gender:not=male", "binh chi"),
    ("Patient", "gender:not=male,female", "chi"),
    ("Patient", "gender:missing=true", "chi"),
    ("Patient", "gender:missing=false", "an binh dung"),
    ("Patient", "active=true", "an binh"),
    ("Patient", "active=false", "chi"),
    ("Patient", "deceased=true", "binh"),
    ("Patient", "deceased=false", "an chi dung"),
    ("Patient", f"identifier={S}/cccd|001", "an"),
    ("Patient", "identifier=001", "an"),
    ("Patient", f"identifier={S}/cccd|", "an binh"),
    ("Patient", f"identifier={S}/cccd|2", "binh"),
    ("Patient", "identifier=http://fhir.ehealth.gov.vn/core/sid/national_id|001", "an"),
    ("Patient", "identifier=|bare", "chi"),
    ("Patient", "identifier=|001", ""),
    ("Patient", "identifier=00", ""),
    ("Patient", "identifier:of-type=http://x/types|NI|001", "an"),
    ("Patient", "identifier:of-type=http://x/types|NI|002", ""),
    ("Patient", "phone=0901", "an"),
    ("Patient", "email=0901", ""),
    ("Patient", "email=an@x.vn&telecom=0901", "an"),
    ("Patient", "telecom=phone|0901", "an"),
    ("Patient", "telecom=email|an@x.vn", "an"),
    ("Patient", "telecom=email|0901", ""),
    ("Patient", "telecom=|0901", "an"),
    ("Encounter", f"identifier={S}/ma-lk|01999|LK-1", "visit-an"),
    ("Encounter", f"identifier={S}/ma-lk|01999\\|LK-2", "visit-binh"),
    ("Encounter", f"identifier={S}/ma-lk|01999", ""),
    ("Observation", "category:text=sinh tồn", "weight-an"),
    ("Observation", "category:text=DAU", "weight-an"),
    ("Observation", "category:text=inh", ""),
    ("Observation", "code:text=cân", "foreign"),
    ("Observation", "code:missing=true", ""),
    ("Observation", "value-concept:text=chua", "smoking-an"),
    ("Condition", "code:text=vi rut", "flu"),
    ("Condition", "code=http://hl7.org/fhir/sid/icd-10|J11", "flu"),
    # string
    ("Patient", "name=nguyen", "an binh"),
    ("Patient", "name=NGUYỄN", "an binh"),
    ("Patient", "name=nguyễn văn", "an"),
    ("Patient", "name=van", "an"),
    ("Patient", "name=do thi  chi", "chi"),
    ("Patient", "name=guyen", ""),
    ("Patient", "name:contains=guyễ", "an binh"),
    ("Patient", "name:exact=Nguyễn", "an"),
    ("Patient", "name:exact=Nguyen", "binh"),
    ("Patient", "name:exact=nguyễn", ""),
    ("Patient", "family=đỗ,le", "chi"),
    ("Patient", "address-city=ha noi", "an"),
    ("Patient", "address=so 1 duong", "an"),
    ("Patient", "name:missing=true", "dung"),
    ("Organization", "name=bệnh viện\\, hà", "hanoi"),
    ("Organization", "name=bệnh viện,bộ", "hanoi ministry"),
    ("Observation", "value-string=tot", "note"),
    ("Observation", "value-string=chua bao gio", "smoking-an"),
    # words
    ("Patient", "_content=nguyen", "an binh"),
    ("Patient", "_content=NGUYỄN", "an binh"),
    ("Patient", "_content=nguyen van", "an"),
    ("Patient", "_content=nguyen AND binh", "binh"),
    ("Patient", "_content=nguyen -van", "binh"),
    ("Patient", "_content=nguyen NOT (van OR lang)", "binh"),
    ("Patient", "_content=NOT nguyen", "chi dung"),
    ("Patient", "_content=do OR binh", "binh chi"),
    ("Patient", "_content=chi,binh", "binh chi"),
    ("Patient", "_content=nguyen&_content=lang", "an"),
    ("Patient", '_content="văn an"', "an"),
    ("Patient", '_content="an văn"', ""),
    ("Patient", '_content="lang van"', ""),
    ("Patient", '_content=-"van an" nguyen', "binh"),
    ("Patient", "_content=Đường-Láng", "an"),
    ("Patient", "_content=Láng-Đường", ""),
    ("Patient", "_content=nguy", ""),
    ("Patient", "_content=sot", "an"),
    ("Patient", '_content="sốt cao"', "an"),
    ("Patient", "_content=001", "an"),
    ("Patient", "_content=dn4 0901", "an"),
    ("Patient", '_content="an@x.vn"', "an"),
    ("Patient", "_content=bare", "chi"),
    ("Observation", "_content=8480-6", "pressure-an pressure-binh"),
    ("Patient", "_content=vip", ""),
    ("Patient", "_content=nothing", ""),
    ("Patient", "_content=" + " OR ".join(map("x{}".format, range(40))) + " OR binh", "binh"),
    ("Patient", "_content=nguyen " + " ".join(map("-x{}".format, range(40))), "an binh"),
    ("Patient", "_content=nguyen " + " ".join(map("x{}".format, range(40))), ""),
    ("Patient", "_content=" + ",".join(map('"x{} y"'.format, range(30))) + ',"van an"', "an"),
    ("Patient", '_filter=_content eq "nguyễn -văn"', "binh"),
    ("Patient", '_filter=_content eq "binh" or gender eq male', "an binh dung"),
    (
        "Location",
        '_filter=near eq "21.0278|105.8342|2" or _content eq "cứu thương"',
        "nowhere viet-duc",
    ),
    ("Patient", "_text=sốt", "an"),
    ("Patient", "_text=SOT cao", "an"),
    ("Patient", '_text="bị sốt"', "an"),
    ("Patient", '_text="cao da"', "an"),
    ("Patient", "_text=nguyen", ""),
    ("Patient", "_text=div", ""),
    ("Patient", "_text=NOT sốt", "binh chi dung"),
    ("Observation", "_content=dau sinh ton", "weight-an"),
    ("Observation", "subject:Patient._content=sốt", "pressure-an smoking-an weight-an"),
    ("Observation", '_content=tot OR "bao gio"', "note smoking-an"),
    ("Patient", "_has:Observation:subject:_content=chua", "an"),
    ("Organization", "_content=bệnh viện\\, hà", "hanoi"),
    # places
    ("Location", "near=21.0278|105.8342|1|km", ""),
    ("Location", "near=21.0278|105.8342|2|km", "viet-duc"),
    ("Location", "near=21.0278|105.8342|3.2", "bach-mai viet-duc"),
    ("Location", "near=21.0278|105.8342", "bach-mai viet-duc"),
    ("Location", "near=21.0278|105.8342|1|[mi_us],10.75|106.66|1", "viet-duc cho-ray"),
    ("Location", "near=21.0287|105.8471|0|m", "viet-duc"),
    ("Location", "near=21.0287|105.8471|1200", "bach-mai cho-ray viet-duc"),
    ("Location", "near=-16.8|180|5", "fiji-east fiji-west"),
    ("Location", "near=-16.8|-180|1.1", "fiji-east fiji-west"),
    ("Location", "near=-16.8|179.995|1", "fiji-west"),
    ("Location", "near=89.95|0|6", "north"),
    ("Location", "near=89.95|0|17", "north north-behind"),
    ("Location", "near=90|77|12", "north north-behind"),
    ("Location", "near=0|0|21000", EVERY_PLACE),
    ("Location", "near:missing=true", "nowhere"),
    ("Location", "near=21.0278|105.8342|5&_content=bach", "bach-mai"),
    ("Location", "near:missing=false&_content=benh", "bach-mai viet-duc"),
    ("Encounter", "location.near=21.0278|105.8342|2", "visit-place"),
    ("Encounter", "location.near=21.0278|105.8342|1", ""),
    ("Location", "_has:Encounter:location:_content=sot cao", "viet-duc"),
    # uri
    ("ValueSet", "url=http://x/ValueSet/colours", "colours"),
    ("ValueSet", "url:below=http://x/ValueSet/colours", "colours shades"),
    ("ValueSet", "url:above=http://x/ValueSet/colours/shades/dark", "colours shades"),
    ("ValueSet", "url:above=http://x/ValueSet/colours", "colours"),
    ("ValueSet", "url=http://x/valueset/colours", ""),
    # date: values of different precision
    ("Patient", "birthdate=1980-03-07", "an"),
    ("Patient", "birthdate=1980-03", "an"),
    ("Patient", "birthdate=1980", "an binh chi"),
    ("Patient", "birthdate=ne1980", "dung"),
    ("Patient", "birthdate=ne1980-03-07", "binh chi dung"),
    ("Patient", "birthdate=gt1980-03-07", "binh chi dung"),
    ("Patient", "birthdate=lt1980-03-07", "binh"),
    ("Patient", "birthdate=ge1980-04", "binh chi dung"),
    ("Patient", "birthdate=le1980-03-06", "binh"),
    ("Patient", "birthdate=sa1980-03", "chi dung"),
    ("Patient", "birthdate=eb1980-04", "an"),
    ("Patient", "birthdate=ap2001", "dung"),
    ("Patient", "birthdate=ap1980", "an binh chi"),
    ("Patient", "birthdate=ge1980-01-01&birthdate=lt1981", "an binh chi"),
    ("Patient", "birthdate:missing=true", ""),
    ("Observation", "date=2024-05-01", "weight-an"),
    ("Observation", "date=ge2024-05-02", "weight-binh pressure-an smoking-an"),
    ("Observation", "date=le2024-05-01", "weight-an pressure-an"),
    ("Observation", "date=2024-05-01T08:00:00", "weight-an"),
    ("Observation", "date=2024-05-01T08:00", "weight-an"),
    ("Observation", "date=2024-05-01T01:00:00Z", "weight-an"),
    ("Observation", "date=gt2030", "smoking-an"),
    ("Observation", "date=sa2024-05-02", "smoking-an"),
    ("Observation", "date=eb2024-05-02", "weight-an"),
    ("Observation", "date=ne2024-05", "smoking-an"),
    ("Encounter", "date=ge2025", "visit-binh"),
    ("Encounter", "date=lt2024-05-02", "visit-an"),
    ("Encounter", "date=2024-05-01", "visit-an"),
    # number
    ("RiskAssessment", "probability=0.1", "risk"),
    ("RiskAssessment", "probability=0.10", "risk"),
    ("RiskAssessment", "probability=0.100", "risk"),
    ("RiskAssessment", "probability=0.101", ""),
    ("RiskAssessment", "probability=100", "hundred"),
    ("RiskAssessment", "probability=100.0", ""),
    ("RiskAssessment", "probability=1e2", "hundred"),
    ("RiskAssessment", "probability=ne100", "risk"),
    ("RiskAssessment", "probability=gt4", "risk hundred"),
    ("RiskAssessment", "probability=lt0.10", ""),
    ("RiskAssessment", "probability=le0.10", "risk"),
    ("RiskAssessment", "probability=ge99.6", "hundred"),
    ("RiskAssessment", "probability=gt99.6", ""),
    ("RiskAssessment", "probability=sa1", "risk hundred"),
    ("RiskAssessment", "probability=eb1", "risk"),
    ("RiskAssessment", "probability=ap105", "hundred"),
    ("RiskAssessment", "probability=ap0.095", "risk"),
    ("RiskAssessment", "probability=-1", ""),
    ("RiskAssessment", "probability=gt-1", "risk hundred"),
    # quantity
    ("Observation", "value-quantity=70.5", "weight-an"),
    ("Observation", "value-quantity=70.5|http://unitsofmeasure.org|kg", "weight-an"),
    ("Observation", "value-quantity=70.5|http://unitsofmeasure.org|g", ""),
    ("Observation", "value-quantity=70500|http://unitsofmeasure.org|g", "weight-an"),
    ("Observation", "value-quantity=70501|http://unitsofmeasure.org|g", ""),
    ("Observation", "value-quantity=7.05e7|http://unitsofmeasure.org|mg", "weight-an"),
    ("Observation", "value-quantity=ge70500|http://unitsofmeasure.org|g", "weight-an"),
    ("Observation", "value-quantity=gt70500|http://unitsofmeasure.org|g", ""),
    ("Observation", "value-quantity=lt0.05|http://unitsofmeasure.org|t", "weight-binh"),
    ("Observation", "value-quantity=ap155|http://unitsofmeasure.org|[lb_av]", "weight-an"),
    ("Observation", "value-quantity=70500||g", ""),
    ("Observation", "value-quantity=gt1|http://unitsofmeasure.org|m", ""),
    ("Observation", "value-quantity=gt1|http://unitsofmeasure.org|nonsense", ""),
    (
        "Observation",
        f"value-quantity=ge70000|{UCUM}|g&value-quantity=lt0.071|{UCUM}|t",
        "weight-an",
    ),
    ("Observation", f"combo-value-quantity=ge15|{UCUM}|kPa", "pressure-an pressure-binh"),
    (
        "Observation",
        "component-code-value-quantity=8480-6$16|http://unitsofmeasure.org|kPa",
        "pressure-an",
    ),
    ("Observation", "value-quantity=70.5||kg", "weight-an"),
    ("Observation", "value-quantity=70.5||kí lô", "weight-an"),
    ("Observation", "value-quantity=70.5|http://unitsofmeasure.org|kí lô", ""),
    ("Observation", "value-quantity=71", "weight-an"),
    ("Observation", "value-quantity=70", ""),
    ("Observation", "value-quantity=70.4", ""),
    ("Observation", "value-quantity=70.50", "weight-an"),
    ("Observation", "value-quantity=lt49", "weight-binh"),
    ("Observation", "value-quantity=eb50", "weight-binh"),
    ("Observation", "value-quantity=ap68", "weight-an"),
    ("Observation", "value-quantity=ge70.5||kg", "weight-an"),
    ("Observation", "combo-value-quantity=gt100", "pressure-an pressure-binh"),
    ("Observation", "component-value-quantity=120", "pressure-an pressure-binh"),
    ("Encounter", "length=90||min", "visit-an"),
    ("Condition", "onset-age=gt40||a", "flu"),
    # composite: both parts of one repetition
    ("Observation", f"code-value-quantity={LOINC}|29463-7$gt70", "weight-an"),
    ("Observation", f"code-value-quantity={LOINC}|29463-7$lt70", "weight-binh"),
    ("Observation", "component-code-value-quantity=8480-6$120", "pressure-an"),
    ("Observation", "component-code-value-quantity=8462-4$120", "pressure-binh"),
    (
        "Observation",
        "component-code-value-quantity=8480-6$120,8462-4$120",
        "pressure-an pressure-binh",
    ),
    ("Observation", "combo-code-value-quantity=8462-4$80||mm[Hg]", "pressure-an"),
    ("Observation", "code-value-concept=72166-2$266919005", "smoking-an"),
    # reference
    ("Observation", "subject=Patient/an", "weight-an pressure-an smoking-an"),
    ("Observation", "subject=an", "weight-an pressure-an smoking-an"),
    ("Observation", "subject:Patient=an", "weight-an pressure-an smoking-an"),
    ("Observation", "subject:Group=an", ""),
    ("Observation", "subject=Group/village", "note"),
    ("Observation", "subject=http://127.0.0.1:8080/fhir/Patient/binh", "weight-binh pressure-binh"),
    ("Observation", "subject=http://other.example/fhir/Patient/an", "foreign"),
    ("Observation", "patient=Patient/an,Patient/binh&code=29463-7", "weight-an weight-binh"),
    ("Observation", "patient=village", ""),
    ("Observation", "performer=doc", "foreign"),
    ("Observation", "performer=Practitioner/doc/_history/3", "foreign"),
    ("Observation", "performer=Practitioner/doc/_history/2", ""),
    ("Observation", "performer:missing=false", "foreign"),
    ("Observation", "encounter:missing=false", "weight-an"),
    ("Patient", "organization:missing=false", "binh chi"),
    ("Patient", "organization:identifier=http://fhir.hl7.org.vn/core/sid/ma-cskcb|01999", "chi"),
    ("QuestionnaireResponse", "questionnaire=http://x/Questionnaire/sixteen", "answers"),
    ("QuestionnaireResponse", "questionnaire=http://x/Questionnaire/sixteen|2.0", "answers"),
    ("QuestionnaireResponse", "questionnaire=http://x/Questionnaire/sixteen|1.0", ""),
    # chains
    ("Observation", "subject:Patient.name=nguyen&code=29463-7", "weight-an weight-binh"),
    ("Observation", "subject.name:exact=Nguyen", "weight-binh pressure-binh"),
    (
        "Observation",
        f"patient.identifier={S}/cccd|001&status=final",
        "weight-an pressure-an smoking-an",
    ),
    ("Observation", "patient.organization.partof.name=bộ", "weight-binh pressure-binh"),
    ("Observation", "patient._id=binh", "weight-binh pressure-binh"),
    ("Observation", "patient.gender:not=male", "weight-binh pressure-binh"),
    ("Observation", "patient.gender:missing=true", ""),
    ("Observation", "patient._id=lost", ""),
    ("Observation", "status=amended&patient.birthdate=1980", ""),
    ("Observation", "status=amended&patient=lost", "stray"),
    ("Encounter", "part-of.service-provider=Organization/hanoi", "visit-binh"),
    ("Claim", f"coverage.payor:identifier={S}/payer|BHXH", "claim-an"),
    ("Claim", "coverage.payor=Organization/ministry", "claim-binh"),
    # _has
    ("Patient", "_has:Observation:patient:code=29463-7", "an binh"),
    ("Patient", "_has:Observation:patient:code=72166-2", "an"),
    ("Patient", "_has:Observation:subject:value-quantity=lt50", "binh"),
    ("Patient", "_has:Observation:patient:code=nothing", ""),
    ("Patient", "_has:Encounter:patient:_has:Observation:encounter:code=29463-7", "an"),
    ("Patient", "_has:Encounter:patient:service-provider.name=bệnh", "an"),
    ("Organization", "_has:Patient:organization:gender=female", "hanoi"),
    ("Encounter", "subject._has:Claim:patient:use=claim", "visit-an visit-binh"),
    ("Condition", f"_has:Claim:names:coverage.payor:identifier={S}/payer|BHXH", "flu"),
    ("Patient", f"_has:Claim:names:coverage.payor:identifier={S}/payer|BHXH", "an"),
    (
        "MedicationRequest",
        f"_has:Claim:names:coverage.payor:identifier={S}/payer|BHXH",
        "paracetamol",
    ),
    ("Encounter", f"_has:Claim:names:coverage.payor:identifier={S}/payer|BHXH", "visit-an"),
    ("Organization", "_has:Encounter:names:status=finished", "hanoi"),
]


@pytest.mark.parametrize(("resource_type", "query", "expected"), FOUND)
async def test_a_search_finds(
    library: Store, resource_type: str, query: str, expected: str
) -> None:
    """A query finds these resources and no other, is counted so, and each of them is visible."""
    search = asked(resource_type, query, total="accurate")
    where = search.by_type[0][1]

    page = await library.search(search)

    assert sorted(ids(page)) == sorted(expected.split())
    assert page.total == len(expected.split())
    assert page.next is None
    assert await library.count(resource_type, where) == len(expected.split())
    for name in EVERY_PATIENT.split() if resource_type == "Patient" else ():
        assert await library.visible(("Patient", name), where) is (name in expected.split())


_MALE = TokenIs("gender", None, "male")
_OF_AN = InPatient(frozenset({"an"}))
_FAR = tuple(RefersTo("organization", "Organization", f"far{n}") for n in range(30))
_FAR_OR_HANOI = Or((*_FAR, RefersTo("organization", "Organization", "hanoi")))
_ODD = tuple(Not(TokenIs("gender", None, f"odd{n}")) for n in range(30))

WITHOUT_A_QUERY: list[tuple[str, Expression, str]] = [
    ("Patient", EVERYTHING, EVERY_PATIENT),
    ("Patient", NOTHING, ""),
    ("Patient", Not(EVERYTHING), ""),
    ("Patient", Not(NOTHING), EVERY_PATIENT),
    ("Patient", Or((NOTHING, _MALE)), "an dung"),
    ("Patient", And((EVERYTHING, _MALE)), "an dung"),
    ("Patient", And((_MALE, Not(_MALE))), ""),
    ("Patient", Or((_MALE, Not(_MALE))), EVERY_PATIENT),
    ("Patient", Not(And((_MALE, Not(Ids(frozenset({"an"})))))), "an binh chi"),
    ("Patient", Not(Or((_MALE, Ids(frozenset({"binh"}))))), "chi"),
    ("Patient", Ids(frozenset()), ""),
    ("Patient", Not(Ids(frozenset({"nobody"}))), EVERY_PATIENT),
    ("Patient", Not(Ids(frozenset({"lost"}))), EVERY_PATIENT),
    ("Patient", Not(Ids(frozenset({"an", "nobody"}))), "binh chi dung"),
    ("Patient", Not(RefersTo("organization", "Organization", "nowhere")), EVERY_PATIENT),
    ("Patient", Not(RefersTo("organization", None, "hanoi")), "an chi dung"),
    ("Patient", Or(_FAR), ""),
    ("Patient", _FAR_OR_HANOI, "binh"),
    ("Patient", Not(_FAR_OR_HANOI), "an chi dung"),
    ("Patient", And((_FAR_OR_HANOI, _MALE)), ""),
    ("Patient", And((Or((*_FAR_OR_HANOI.operands, _MALE)), *_ODD)), "an binh dung"),
    ("Patient", Or(tuple(RefersTo("organization", None, f"far{n}") for n in range(30))), ""),
    ("Patient", Not(TokenIs("gender", "http://nowhere", "x")), EVERY_PATIENT),
    ("Patient", Not(InPatient(frozenset({"nobody"}))), EVERY_PATIENT),
    ("Patient", Not(InPatient(frozenset({"an"}))), "binh chi dung"),
    ("Patient", Not(Tagged("never")), EVERY_PATIENT),
    ("Patient", Not(Has("Observation", "patient", EVERYTHING)), "chi dung"),
    ("Patient", Not(Chain("organization", "Organization", EVERYTHING)), "an chi dung"),
    ("Patient", Tagged("facility/01999"), "an"),
    ("Patient", Tagged("facility/79999"), ""),
    ("Patient", Not(Tagged("facility/01999")), "binh chi dung"),
    ("Patient", InPatient(frozenset({"an"})), "an"),
    ("Patient", InPatient(frozenset({"an", "chi", "nobody"})), "an chi"),
    ("Patient", InPatient(frozenset()), ""),
    ("Patient", InPatient(frozenset({"lost"})), ""),
    ("Observation", InPatient(frozenset({"an"})), "weight-an pressure-an smoking-an"),
    ("Observation", And((_OF_AN, Tagged("facility/01999"))), "weight-an pressure-an smoking-an"),
    ("Observation", And((_OF_AN, TokenIs("code", None, "29463-7"))), "weight-an"),
    ("Organization", InPatient(frozenset({"an"})), ""),
    ("Practitioner", Not(InPatient(frozenset({"an"}))), "doc"),
    ("Basic", EVERYTHING, ""),
]  # fmt: skip


@pytest.mark.parametrize(("resource_type", "where", "expected"), WITHOUT_A_QUERY)
async def test_an_expression_finds(
    library: Store, resource_type: str, where: Expression, expected: str
) -> None:
    """Expressions that policies make find these resources and no other."""
    page = await library.search(Search(((resource_type, where),), count=100, total="accurate"))

    assert sorted(ids(page)) == sorted(expected.split())
    assert page.total == await library.count(resource_type, where) == len(expected.split())


SORTED = [
    ("Patient", "", "dung chi binh an"),
    ("Patient", "_sort=_id", "an binh chi dung"),
    ("Patient", "_sort=-_id", "dung chi binh an"),
    ("Patient", "_sort=_lastUpdated", "an binh chi dung"),
    ("Patient", "_sort=-_lastUpdated", "dung chi binh an"),
    ("Patient", "_sort=birthdate", "binh an chi dung"),
    ("Patient", "_sort=-birthdate", "dung chi an binh"),
    ("Patient", "_sort=gender", "binh dung an chi"),
    ("Patient", "_sort=-gender", "dung an binh chi"),
    ("Patient", "_sort=gender,_id", "binh an dung chi"),
    ("Patient", "_sort=-gender,-birthdate", "dung an binh chi"),
    ("Patient", "_sort=family", "chi binh an dung"),
    ("Patient", "_sort=-family", "binh an chi dung"),
    ("Patient", "_sort=name,-_id", "an binh chi dung"),
    ("Patient", "_sort=organization", "binh dung chi an"),
    ("Observation", "value-quantity:missing=false&_sort=value-quantity", "weight-binh weight-an"),
    ("Observation", "value-quantity:missing=false&_sort=-value-quantity", "weight-an weight-binh"),
    ("Observation", "patient=an&_sort=date", "weight-an pressure-an smoking-an"),
    ("Observation", "patient=an&_sort=-date", "smoking-an pressure-an weight-an"),
    ("Observation", "code=29463-7,72166-2&_sort=-date", "smoking-an weight-binh weight-an"),
    ("Observation", "patient=binh&_sort=-date", "weight-binh pressure-binh"),
    ("RiskAssessment", "_sort=probability", "risk hundred"),
    ("RiskAssessment", "_sort=-probability", "hundred risk"),
    ("ValueSet", "_sort=url", "colours shades"),
    ("ValueSet", "_sort=-url", "shades colours"),
]  # fmt: skip


@pytest.mark.parametrize(("resource_type", "query", "expected"), SORTED)
@pytest.mark.parametrize("count", [100, 1, 2])
async def test_matches_stand_in_the_order_asked(
    library: Store, resource_type: str, query: str, expected: str, count: int
) -> None:
    """One page, or pages of one or two, give the matches in order: missing last, newest first."""
    search = asked(resource_type, query, count=count)

    found = [name for page in await walk(library, search) for name in ids(page)]

    assert found == expected.split()


async def test_a_search_over_several_types_is_one_order(library: Store) -> None:
    """Several types, each with its own expression, come newest first in one list of pages."""
    in_an = InPatient(frozenset({"an"}))
    search = Search(
        (("Observation", in_an), ("Patient", in_an), ("Organization", EVERYTHING)),
        count=2,
        total="accurate",
    )

    pages = await walk(library, search)

    found = [f"{one.resource_type}/{one.resource_id}" for page in pages for one in page.versions]
    assert found == [
        "Observation/smoking-an",
        "Observation/pressure-an",
        "Observation/weight-an",
        "Organization/ministry",
        "Organization/hanoi",
        "Patient/an",
    ]
    assert {page.total for page in pages} == {6}


async def test_a_page_of_none_has_the_total(library: Store) -> None:
    """A count of 0 gives no resource and no next page, but the total."""
    page = await library.search(asked("Patient", "gender=male", count=0, total="accurate"))

    assert (page.versions, page.next, page.total) == ((), None, 2)


async def test_no_total_is_counted_unasked(library: Store) -> None:
    """Without a total asked for there is none."""
    assert (await library.search(asked("Patient"))).total is None


@pytest.mark.parametrize(
    ("kind", "query", "bound", "total"),
    [
        ("Patient", "", 1, 4),
        ("Patient", "gender=male", 2, 2),
        ("Patient", "gender=male", 1, None),
        ("Patient", "gender=male,female", 3, 3),
        ("Patient", "gender=male,female", 2, None),
        ("Patient", "gender:not=male", 2, 2),
        ("Patient", "gender:not=male", 1, None),
        ("Patient", "identifier=001,2", 2, 2),
        ("Patient", "name=n", 1, None),
        ("Observation", "subject:Patient.gender=male", 3, 3),
        ("Observation", "subject:Patient.gender=male", 2, None),
        ("Patient", "gender=unknown", 0, 0),
    ],
)
async def test_what_is_soon_counted_is_estimated_exactly(
    library: Store,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    query: str,
    bound: int,
    total: int | None,
) -> None:
    """An estimate is the exact number on every page, or none where too many match."""
    for module in ("memory", "sqlite.search", "mongo.search"):
        monkeypatch.setattr(f"fhir_server.store.{module}.MOST_COUNTED", bound)
    pages = await walk(library, asked(kind, query, count=1, total="estimate"))

    assert {page.total for page in pages} == {total}


@pytest.mark.parametrize("query", ["", "_sort=birthdate", "_sort=_lastUpdated,-gender"])
async def test_a_cursor_that_was_not_given_out_is_refused(library: Store, query: str) -> None:
    """A cursor that is invented, altered, or of another order is BadCursor."""
    search = asked("Patient", query, count=1)
    page = await library.search(search)
    assert page.next
    middle = len(page.next) // 2
    other = "A" if page.next[middle] != "A" else "B"

    for cursor in (
        "x",
        "",
        "é",
        "AAAA",
        page.next[:-2],
        page.next[:middle] + other + page.next[middle + 1 :],
    ):
        with pytest.raises(BadCursor):
            await library.search(turned_to(search, cursor))
    with pytest.raises(BadCursor):
        await library.search(turned_to(asked("Patient", "_sort=-family", count=1), page.next))


def turned_to(search: Search, cursor: str) -> Search:
    """Return a search that begins at a cursor."""
    return Search(search.by_type, search.sort, search.count, search.total, cursor)


async def test_versions_found_are_whole(library: Store) -> None:
    """A match is the current version as a read gives it."""
    page = await library.search(asked("Patient", "_id=an"))

    assert page.versions == (await library.read("Patient", "an"),)
    assert page.versions[0].last_updated == START
    assert turned(asked("Patient"), page).cursor is None


WRITTEN = {
    "power": "1e3", "digits": "1.00E3", "small": "0.0000005", "negative": "5e-7", "huge": "1e400"
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("value-quantity=1000", "digits power"),
        ("value-quantity=1||kg", ""),
        ("value-quantity=1000||g", "digits power"),
        (f"value-quantity=1|{UCUM}|kg", "digits power"),
        ("value-quantity=lt0.000001", "negative small"),
        ("value-quantity=ge1e300", "huge"),
        (f"value-quantity=ge1e300|{UCUM}|kg", "huge"),
        ("value-quantity=ge0", " ".join(sorted(WRITTEN))),
        ("value-quantity:missing=true", ""),
    ],
)
@pytest.mark.asyncio(loop_scope="function")
async def test_a_number_is_found_however_it_is_written(
    each_store: Store, query: str, found: str
) -> None:
    """`1e3` is 1000, https://hl7.org/fhir/R4/datatypes.html#decimal: none was indexed."""
    writes = []
    for name, number in WRITTEN.items():
        text = f'{{"value": {number}, "unit": "g", "system": "{UCUM}", "code": "g"}}'
        weighed = observation(name, "Patient/an", valueQuantity=codec.loads(text.encode()))
        writes.append(made(weighed))
    await each_store.commit(Batch(writes=writes))

    assert sorted(ids(await each_store.search(asked("Observation", query)))) == found.split()
