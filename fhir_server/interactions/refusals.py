"""What a write is refused with, in both languages; the same words whoever asks."""

from __future__ import annotations

from fhir_server.model.outcome import (
    Conflict,
    Forbidden,
    InvalidValue,
    PreconditionFailed,
    TooCostly,
)
from fhir_server.store.work import LONGEST, current


def not_at_version(name: str) -> PreconditionFailed:
    """Return the refusal of an If-Match that does not name the current version."""
    return PreconditionFailed(
        f"{name} is not at the version of If-Match.",
        text_vi=f"{name} không ở phiên bản mà If-Match nêu.",
    )


def already_there(name: str) -> PreconditionFailed:
    """Return the refusal of `If-None-Match` on what is there."""
    return PreconditionFailed(f"{name} is there already.", text_vi=f"{name} đã có sẵn.")


def match_there() -> PreconditionFailed:
    """Return the refusal of `If-None-Match: *` where a condition matches."""
    return PreconditionFailed(
        "A resource that matches is there already.",
        text_vi="Đã có một tài nguyên khớp với điều kiện.",
    )


def not_changeable(name: str) -> Forbidden:
    """Return the refusal to change what is shown to the caller and not the caller's to change."""
    return Forbidden(
        f"{name} may not be changed by this client.",
        text_vi=f"Ứng dụng này không được sửa {name}.",
    )


def wrong_cursor() -> InvalidValue:
    """Return the refusal of a `_cursor` that leads nowhere: of another search, or store."""
    return InvalidValue(
        "The parameter _cursor is not one that this server gave for this search, or the records "
        "were moved since; begin the search anew.",
        text_vi="Tham số _cursor không phải do máy chủ này cấp cho tìm kiếm này, hoặc dữ liệu đã "
        "được chuyển sang kho khác; hãy tìm lại từ đầu.",
    )


def too_costly() -> TooCostly:
    """Return the refusal of a search that is past a store's work budget."""
    return TooCostly(
        "The search is too costly; ask for something narrower.",
        text_vi="Tìm kiếm quá nặng; hãy hỏi phạm vi hẹp hơn.",
    )


def costs_too_much() -> TooCostly:
    """Return the refusal of what went past a work budget: of its search, or of the request."""
    work = current()
    if work is None or not work.is_spent:
        return too_costly()
    return TooCostly(
        "This and what the same request asked for before are more search work than one request "
        "may do. Ask for less at once (fewer entries of a Bundle, fewer resources included), for "
        "something narrower, or with Prefer: respond-async.",
        text_vi="Phần này cùng với những gì yêu cầu đã hỏi trước đó vượt quá khối lượng tìm kiếm "
        "của một yêu cầu. Hãy hỏi ít hơn mỗi lần (ít mục trong Bundle, ít tài nguyên kèm theo), "
        "hỏi phạm vi hẹp hơn, hoặc dùng Prefer: respond-async.",
    )


def took_too_long() -> TooCostly:
    """Return the refusal of the rest of a Bundle whose reading entries have taken very long."""
    return TooCostly(
        f"The entries before this one have taken {LONGEST:.0f} seconds; ask for the rest in "
        "another Bundle, or with Prefer: respond-async.",
        text_vi=f"Các mục trước mục này đã mất {LONGEST:.0f} giây; hãy hỏi phần còn lại trong "
        "Bundle khác, hoặc dùng Prefer: respond-async.",
    )


def of_the_chain(name: str) -> Forbidden:
    """Return the refusal to change the server's own record of an access."""
    return Forbidden(
        f"{name} is an entry of the server's own audit chain, which nobody changes.",
        text_vi=f"{name} thuộc chuỗi nhật ký của máy chủ, không ai được sửa hay xóa.",
    )


def reserved(name: str) -> Conflict:
    """Return the refusal to make a resource under an id of the audit chain."""
    return Conflict(
        f"The id of {name} is reserved for the server's own audit chain.",
        text_vi=f"Id của {name} dành riêng cho chuỗi nhật ký của máy chủ.",
    )


def id_in_use() -> Conflict:
    """Return the refusal of a conditional update that matches nothing under an id in use."""
    return Conflict(
        "No resource matches, and the body's id is that of another resource.",
        text_vi="Không có tài nguyên nào khớp, và id đã thuộc về một tài nguyên khác.",
    )


def id_not_chosen() -> InvalidValue:
    """Return the refusal of an id that a client would choose."""
    return InvalidValue(
        "No resource matches, and the server alone chooses new ids.",
        text_vi="Không có tài nguyên nào khớp, và chỉ máy chủ đặt id mới.",
    )
