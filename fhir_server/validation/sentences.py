"""What the findings say, in English and Vietnamese; never a value of the resource."""

from __future__ import annotations

from typing import Final

FORMS: Final[dict[str, tuple[str, str]]] = {
    "base64Binary": ("base64 text", "văn bản base64"),
    "boolean": ("true or false", "true hoặc false"),
    "canonical": ("a URL without spaces", "một URL không có khoảng trắng"),
    "code": (
        "a code without leading, trailing or double spaces",
        "một mã không có khoảng trắng thừa",
    ),
    "date": (
        "a day of the calendar as YYYY, YYYY-MM or YYYY-MM-DD",
        "ngày có trong lịch, dạng YYYY, YYYY-MM hoặc YYYY-MM-DD",
    ),
    "dateTime": (
        "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a time zone, a day of the calendar",
        "YYYY, YYYY-MM, YYYY-MM-DD hoặc YYYY-MM-DDThh:mm:ss kèm múi giờ, ngày có trong lịch",
    ),
    "decimal": ("a JSON number", "một số JSON"),
    "id": ("1 to 64 of letters, digits, '-' and '.'", "1 đến 64 chữ cái, chữ số, '-' và '.'"),
    "instant": (
        "YYYY-MM-DDThh:mm:ss with a time zone, a day of the calendar",
        "YYYY-MM-DDThh:mm:ss kèm múi giờ, ngày có trong lịch",
    ),
    "integer": ("a whole number of 32 bits", "một số nguyên 32 bit"),
    "markdown": ("text without control characters", "văn bản không có ký tự điều khiển"),
    "oid": ("urn:oid: and an OID", "urn:oid: và một OID"),
    "positiveInt": ("a whole number from 1", "một số nguyên từ 1"),
    "string": ("text without control characters", "văn bản không có ký tự điều khiển"),
    "time": ("hh:mm:ss", "hh:mm:ss"),
    "unsignedInt": ("a whole number from 0", "một số nguyên từ 0"),
    "uri": ("a URI without spaces", "một URI không có khoảng trắng"),
    "url": ("a URL without spaces", "một URL không có khoảng trắng"),
    "uuid": ("urn:uuid: and a UUID in small letters", "urn:uuid: và một UUID viết thường"),
    "xhtml": ("a div of XHTML", "một thẻ div XHTML"),
}
"""What is expected of each primitive type."""

Sentence = tuple[str, str]


def unknown(path: str, name: str) -> Sentence:
    """An element that the type does not have."""
    return (
        f"{path} has no element {name}."
        if name
        else f"{path} has an element that FHIR does not know.",
        f"{path} không có phần tử {name}." if name else f"{path} có phần tử mà FHIR không biết.",
    )


def empty(path: str) -> Sentence:
    """An empty object, array or string."""
    return (
        f"{path} is empty, which FHIR does not allow.",
        f"{path} rỗng, điều FHIR không cho phép.",
    )


def expected(path: str, english: str, vietnamese: str) -> Sentence:
    """A value of another JSON kind."""
    return f"{path} must be {english}.", f"{path} phải là {vietnamese}."


def required(path: str) -> Sentence:
    """A required element that is not there."""
    return f"{path} is required.", f"{path} là bắt buộc."


def one_choice(path: str) -> Sentence:
    """Two types of one choice element."""
    return (
        f"{path} may have one type only, and has more.",
        f"{path} chỉ được có một kiểu giá trị, nhưng có nhiều hơn.",
    )


def form(path: str, type_: str) -> Sentence:
    """A primitive that has not its type's form."""
    english, vietnamese = FORMS[type_]
    return (
        f"{path} is not a valid {type_}: {english} is expected.",
        f"{path} không đúng kiểu {type_}: cần {vietnamese}.",
    )


def aligned(path: str) -> Sentence:
    """Primitive values and their extensions that do not go together."""
    english = (
        f"{path} and its extensions beside it must be arrays of one length, a null in one only "
        "where the other has content."
    )
    vietnamese = (
        f"{path} và phần mở rộng đi kèm phải là hai mảng cùng độ dài, chỉ để null ở nơi mảng kia "
        "có nội dung."
    )
    return english, vietnamese


def binding(path: str, url: str) -> Sentence:
    """A code outside a required value set."""
    return (
        f"{path} has no code of the required value set {url}.",
        f"{path} không có mã thuộc bộ giá trị bắt buộc {url}.",
    )


def target(path: str, targets: tuple[str, ...]) -> Sentence:
    """A reference to a type that the element does not allow."""
    names = ", ".join(targets)
    return (
        f"{path} may not refer to this type of resource: {names} is expected.",
        f"{path} không được tham chiếu đến loại tài nguyên này: cần {names}.",
    )


def reference(path: str) -> Sentence:
    """A literal reference that has none of FHIR's forms, or an unknown type."""
    return (
        f"{path} must be Type/id of a resource type of R4, an absolute URI, a URN or #id.",
        f"{path} phải là Loại/id với loại tài nguyên của R4, một URI đầy đủ, một URN hoặc #id.",
    )


def too_long(path: str) -> Sentence:
    """A text beyond FHIR's limit."""
    return (
        f"{path} is longer than the 1,048,576 characters that FHIR allows.",
        f"{path} dài hơn 1.048.576 ký tự mà FHIR cho phép.",
    )


def type_differs(path: str) -> Sentence:
    """A Reference whose `type` is not that of its `reference`."""
    return (
        f"{path}.type is not the type that the reference names.",
        f"{path}.type khác với loại mà tham chiếu nêu.",
    )


def resource_type(path: str) -> Sentence:
    """A resource without a type of R4."""
    return (
        f"{path} must be a resource with a resourceType of FHIR R4.",
        f"{path} phải là tài nguyên có resourceType của FHIR R4.",
    )


def invariant(path: str, key: str, human: str) -> Sentence:
    """A constraint that does not hold."""
    rule = key.partition("@")[0]
    return (
        f"{path} breaks the rule {rule}: {human.strip().rstrip('.')}.",
        f"{path} không thỏa quy tắc {rule} của FHIR R4.",
    )


def too_deep(path: str) -> Sentence:
    """Nesting beyond what can be walked."""
    return f"{path} is nested too deeply.", f"{path} lồng nhau quá sâu."


def more(path: str) -> Sentence:
    """The list of issues was ended."""
    return (
        f"{path} has more errors, which are not listed.",
        f"{path} còn lỗi khác, không liệt kê hết.",
    )
