"""What is committed beside resources: records of the ledger, and the audit chain."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from fhir_server.store.chain import GENESIS, digest_of
from fhir_server.store.port import ANY, AuditRecord, Put, RecordChanged


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

    `end` is the last `seq` and its digest (None: not read yet); it is put back when a savepoint
    is rolled back.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.end: tuple[int, bytes | None] = (0, None)

    def begin(self, seq: int) -> None:
        """Begin a transaction; `seq` is the last entry's, of any process."""
        self.end = (seq, None)

    def append(self, records: Iterable[AuditRecord]) -> None:
        """Append entries, each chained to the one before."""
        seq, digest = self.end
        rows = []
        patients = []
        for record in records:
            if digest is None:
                last = "SELECT digest FROM audit WHERE seq = ?"
                digest = self._db.execute(last, (seq,)).get or GENESIS
            seq += 1
            digest = digest_of(digest, record.recorded, record.body)
            shown = "\n".join(record.patients)
            rows.append((seq, record.recorded, digest, shown, record.body))
            patients += [(one, seq) for one in dict.fromkeys(record.patients)]
        if rows:
            self._db.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT INTO audit_patient VALUES (?, ?)", patients)
            self.end = (seq, digest)
