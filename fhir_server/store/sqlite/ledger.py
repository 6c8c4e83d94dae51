"""What is committed beside resources: records of the ledger, and the audit chain."""

# ruff: noqa: S608 - every piece of the SQL is ours

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import apsw

from fhir_server.store.chain import GENESIS, digest_of
from fhir_server.store.port import ANY, AuditRecord, Put, RecordChanged

_ROWS: Final = 64


def put_record(db: apsw.Connection, put: Put) -> None:
    """Write or delete one record, if what is there now is what was expected.

    Raises:
        RecordChanged: It is not.
    """
    if put.expected != ANY:
        now = db.execute(
            "SELECT value FROM ledger WHERE bucket = ? AND key = ?", (put.bucket, put.key)
        ).get
        if now != put.expected:
            raise RecordChanged(put.bucket, put.key)
    if put.value is None:
        db.execute("DELETE FROM ledger WHERE bucket = ? AND key = ?", (put.bucket, put.key))
        return
    db.execute(
        "INSERT INTO ledger VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
        "SET value = excluded.value, expires = excluded.expires",
        (put.bucket, put.key, put.value, put.expires),
    )


class Chain:
    """The end of the audit chain, in a transaction.

    Nothing can refuse an entry: those of all batches are written together, in their order.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._seq = 0
        self._digest: bytes | None = None
        self._waiting: list[AuditRecord] = []

    def begin(self, seq: int) -> None:
        """Begin a transaction; `seq` is the last entry's, of any process."""
        self._seq, self._digest = seq, None
        self._waiting = []

    def wait(self, records: Iterable[AuditRecord]) -> None:
        """Take the entries of a batch that is made."""
        self._waiting += records

    def write(self) -> None:
        """Append the entries that wait, each chained to the one before."""
        if not self._waiting:
            return
        seq, digest = self._seq, self._digest
        rows: list[Any] = []
        patients: list[Any] = []
        for record in self._waiting:
            if digest is None:
                last = "SELECT digest FROM audit WHERE seq = ?"
                digest = self._db.execute(last, (seq,)).get or GENESIS
            seq += 1
            digest = digest_of(digest, record.recorded, record.body)
            shown = "\n".join(record.patients)
            rows += (seq, record.recorded, digest, shown, record.body)
            for one in dict.fromkeys(record.patients):
                patients += (one, seq)
        self._insert("audit", 5, rows)
        self._insert("audit_patient", 2, patients)
        self._seq, self._digest = seq, digest
        self._waiting = []

    def _insert(self, table: str, width: int, values: list[Any]) -> None:
        """Insert many rows by one statement: each waits for the interpreter's lock."""
        for at in range(0, len(values), width * _ROWS):
            part = values[at : at + width * _ROWS]
            row = "(" + ",".join("?" * width) + ")"
            marks = ",".join([row] * (len(part) // width))
            self._db.execute(f"INSERT INTO {table} VALUES {marks}", part)
