"""Refusals: the closed tree of FhirError, and the OperationOutcome each becomes.

https://hl7.org/fhir/R4/operationoutcome.html

    FhirError
      Malformed 400 · InvalidValue 400 · MissingRequired 400 · UnsupportedParameter 400
      LoginRequired 401 · Forbidden 403 · UnknownResource 404 · UnknownOperation 404
      UnsupportedMethod 405 · NotAcceptable 406 · Conflict 409 · Duplicate 409 · Gone 410
      PreconditionFailed 412 · MultipleMatches 412 · TooLarge 413 · UnsupportedMediaType 415
      Invalid 422 · BusinessRule 422 · Throttled 429 · TooCostly 403 · Unavailable 503
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

Severity = Literal["fatal", "error", "warning", "information"]

ISSUE_TYPES: Final = frozenset({
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown",
    "expired", "forbidden", "suppressed", "processing", "not-supported", "duplicate",
    "multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension",
    "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store",
    "exception", "timeout", "incomplete", "throttled", "informational",
})  # fmt: skip

TRANSLATION: Final = "http://hl7.org/fhir/StructureDefinition/translation"


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding: what was wrong, where, and what to do.

    Attributes:
        code: A code of https://hl7.org/fhir/R4/valueset-issue-type.html.
        text: One whole English sentence; never a patient's data.
        text_vi: The same in Vietnamese, where a person reads it.
        expression: FHIRPath of the elements concerned, such as `Patient.name[0].given`.
    """

    code: str
    text: str
    severity: Severity = "error"
    expression: tuple[str, ...] = ()
    text_vi: str | None = None

    def to_fhir(self) -> dict[str, Any]:
        """Return the issue as an element of OperationOutcome.issue."""
        details: dict[str, Any] = {"text": self.text}
        if self.text_vi:
            details["_text"] = {
                "extension": [
                    {
                        "url": TRANSLATION,
                        "extension": [
                            {"url": "lang", "valueCode": "vi"},
                            {"url": "content", "valueString": self.text_vi},
                        ],
                    }
                ]
            }
        issue: dict[str, Any] = {"severity": self.severity, "code": self.code, "details": details}
        if self.expression:
            issue["expression"] = list(self.expression)
        return issue


def operation_outcome(issues: tuple[Issue, ...] | list[Issue]) -> dict[str, Any]:
    """Return the OperationOutcome that carries these issues."""
    return {"resourceType": "OperationOutcome", "issue": [issue.to_fhir() for issue in issues]}


class FhirError(Exception):
    """A refusal that a client is told about; each class fixes its status and issue code.

    Args:
        text: One whole sentence: what was wrong, what was expected.
        expression: FHIRPath of the elements concerned.
        text_vi: The same sentence in Vietnamese; without it the class's own, which says the kind.
        headers: HTTP headers that belong to this refusal, such as `Allow`.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"
    vi: ClassVar[str] = "Máy chủ gặp lỗi."
    retry_after: ClassVar[str | None] = None
    """Seconds after which a client may try again, where a refusal passes by itself."""

    def __init__(
        self,
        text: str,
        *,
        expression: tuple[str, ...] | list[str] = (),
        text_vi: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.issues: tuple[Issue, ...] = (
            Issue(self.code, text, expression=tuple(expression), text_vi=text_vi or self.vi),
        )
        self.headers: dict[str, str] = {}
        if self.retry_after is not None:
            self.headers["Retry-After"] = self.retry_after
        self.headers |= headers or {}

    def outcome(self) -> dict[str, Any]:
        """Return the OperationOutcome of this refusal."""
        return operation_outcome(self.issues)


class Malformed(FhirError):
    """The body is not JSON or XML, not an object, or not a resource."""

    status, code = 400, "structure"
    vi = "Nội dung gửi lên không phải JSON hay XML hợp lệ, hoặc không phải một tài nguyên FHIR."


class InvalidValue(FhirError):
    """A parameter or header has a value that cannot be parsed."""

    status, code = 400, "value"
    vi = "Một tham số hoặc tiêu đề có giá trị không hợp lệ."


class MissingRequired(FhirError):
    """A parameter or header that must be there is not."""

    status, code = 400, "required"
    vi = "Thiếu một tham số, tiêu đề hoặc nội dung bắt buộc."


class UnsupportedParameter(FhirError):
    """An unknown search parameter under `Prefer: handling=strict`."""

    status, code = 400, "not-supported"
    vi = "Có tham số tìm kiếm mà máy chủ không biết."


class LoginRequired(FhirError):
    """No token, or one that is not valid."""

    status, code = 401, "login"
    vi = "Cần đăng nhập: không có mã truy cập, hoặc mã không còn hiệu lực."


class Forbidden(FhirError):
    """The interaction is not granted to this caller."""

    status, code = 403, "forbidden"
    vi = "Ứng dụng này không được phép thực hiện thao tác này."


class TooCostly(FhirError):
    """The query went past its work budget."""

    status, code = 403, "too-costly"
    vi = "Yêu cầu quá nặng; hãy hỏi phạm vi hẹp hơn."


class UnknownResource(FhirError):
    """There is no such resource, or it is not shown to this caller."""

    status, code = 404, "not-found"
    vi = "Không tìm thấy tài nguyên."


class UnknownOperation(FhirError):
    """There is no such operation."""

    status, code = 404, "not-supported"
    vi = "Không có thao tác này."


class UnsupportedMethod(FhirError):
    """The path does not know this method; `Allow` names those it knows."""

    status, code = 405, "not-supported"
    vi = "Đường dẫn này không nhận phương thức HTTP này."


class NotAcceptable(FhirError):
    """No format that the client accepts is one we have."""

    status, code = 406, "not-supported"
    vi = "Máy chủ trả lời bằng application/fhir+json hoặc application/fhir+xml."


class Conflict(FhirError):
    """Referential integrity, or a concurrent change."""

    status, code = 409, "conflict"
    vi = "Yêu cầu xung đột với dữ liệu hiện có hoặc với một thay đổi cùng lúc."


class Duplicate(FhirError):
    """Another resource holds an identifier that only one may hold."""

    status, code = 409, "duplicate"
    vi = "Một tài nguyên khác đã có định danh này."


class Gone(FhirError):
    """The resource was deleted."""

    status, code = 410, "deleted"
    vi = "Tài nguyên đã bị xóa."


class PreconditionFailed(FhirError):
    """`If-Match` or another precondition names a version that is not the current one."""

    status, code = 412, "conflict"
    vi = "Tài nguyên không ở phiên bản mà yêu cầu nêu."


class MultipleMatches(FhirError):
    """A conditional interaction found more than one resource."""

    status, code = 412, "multiple-matches"
    vi = "Điều kiện khớp với nhiều hơn một tài nguyên."


class TooLarge(FhirError):
    """The body is larger than this server takes."""

    status, code = 413, "too-long"
    vi = "Nội dung gửi lên quá lớn."


class UnsupportedMediaType(FhirError):
    """The body's media type is not one we read."""

    status, code = 415, "not-supported"
    vi = "Nội dung gửi lên phải là application/fhir+json hoặc application/fhir+xml, mã UTF-8."


class Invalid(FhirError):
    """The resource is not valid; one issue for each error found."""

    status, code = 422, "invariant"

    def __init__(self, issues: list[Issue] | tuple[Issue, ...]) -> None:
        super().__init__("; ".join(issue.text for issue in issues[:3]))
        self.issues = tuple(issues)


class BusinessRule(FhirError):
    """A rule that refuses."""

    status, code = 422, "business-rule"
    vi = "Yêu cầu trái với một quy tắc nghiệp vụ."


class Throttled(FhirError):
    """Too many requests; `Retry-After` says when to come back."""

    status, code = 429, "throttled"
    retry_after = "1"
    vi = "Quá nhiều yêu cầu; hãy thử lại sau."


class Unavailable(FhirError):
    """The store or a partner cannot be reached now."""

    status, code = 503, "transient"
    retry_after = "1"
    vi = "Máy chủ tạm thời không phục vụ được; hãy thử lại sau."
