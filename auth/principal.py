"""Who asks: the caller as the token proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["system", "facility", "payer", "citizen", "practitioner", "auditor"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        kind: What the caller is; decides the policy.
        client_id: The OAuth client that calls.
        code: The facility's code (facility, practitioner) or the payer's (payer); else "".
        patient_id: The id of the one Patient a citizen's token stands for; else "".
        fhir_user: `Patient/…` or `Practitioner/…` of the person; for a citizen acting for a
            child, the guardian's Patient; else "".
        display: What an AuditEvent says of the caller: the person's name as the login proved it,
            or the client's. It goes nowhere else.
        app: The client's name, where it acts for a person; else "".
        scopes: The SMART scopes that the token holds, as granted.
        level: The authentication level of a citizen's login, 2 for the book; else 0.
        private: A payer that is not the social insurer.
    """

    kind: Kind
    client_id: str
    code: str = ""
    patient_id: str = ""
    fhir_user: str = ""
    display: str = ""
    scopes: tuple[str, ...] = ()
    level: int = 0
    private: bool = False
    app: str = ""

    @property
    def tag(self) -> str:
        """The access tag of what this caller writes, such as `facility/01999`; else ""."""
        return f"facility/{self.code}" if self.kind in {"facility", "practitioner"} else ""

    @property
    def author(self) -> str:
        """The tag that says who wrote a resource, such as `author/facility/01999`.

        Several may be on one resource; `AccessPolicy.may_change` reads them.
        """
        if self.kind in {"facility", "practitioner"}:
            return f"author/facility/{self.code}"
        if self.kind == "citizen":
            return f"author/citizen/{self.patient_id}"
        return f"author/payer/{self.code}" if self.kind == "payer" else f"author/{self.kind}"


SYSTEM = Principal(kind="system", client_id="system", display="system", scopes=("system/*.cruds",))
"""The server itself, where it acts for a login or a dossier; its policy shows everything."""
