"""The store's schema version, and the steps from each version to the next.

A step, once released, never changes. A file that is newer than the code is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Final

import apsw

from fhir_server.model.outcome import Unavailable
from fhir_server.store.sqlite.names import Kind, tails

Step = Callable[[apsw.Connection], None]

APPLICATION_ID: Final = 0x46484952
"""`FHIR`, in the file's header, so that no other program's file is taken for a store."""


def _first(db: apsw.Connection) -> None:
    db.execute(files(__package__).joinpath("schema.sql").read_text("utf-8"))
    # Cursors go out in URLs and hold sort values: they are sealed with a key of this store.
    db.execute("INSERT INTO meta VALUES ('cursor_key', ?)", (secrets.token_bytes(32),))


def _edition(db: apsw.Connection) -> None:
    # Counts the commits that change more than the audit. What a process has looked up it keeps
    # while this stays: one that does not count must not write beside those that do.
    db.execute("INSERT INTO meta VALUES ('edition', 0)")


def _words(db: apsw.Connection) -> None:
    # What is said in narratives and elsewhere. `fhir-server reindex` fills it for what is there.
    db.execute(
        "CREATE TABLE said (param INTEGER NOT NULL, word INTEGER NOT NULL, rid INTEGER NOT NULL, "
        "PRIMARY KEY (param, word, rid)) WITHOUT ROWID"
    )


def _at(db: apsw.Connection) -> None:
    # A read by id finds the version here: it looks through two trees instead of three, each of
    # which grows with the store. The uniqueness of a name stays with `resource_id`.
    db.execute("CREATE INDEX resource_at ON resource (type, id, rid)")


def _referred(db: apsw.Connection) -> None:
    # To which types a parameter refers: an order by it goes along their names, and no others'.
    db.execute(
        "INSERT OR IGNORE INTO seen SELECT DISTINCT d.param, -1 - r.type "
        "FROM ref AS d NOT INDEXED CROSS JOIN resource AS r WHERE r.nr = d.target"
    )


def _several(db: apsw.Connection) -> None:
    # Of which parameters a resource has several dates: of all others two bounds are one range.
    db.execute(
        "INSERT OR IGNORE INTO seen SELECT DISTINCT param, -2147483648 FROM "
        "(SELECT param FROM date INDEXED BY date_of GROUP BY rid, param HAVING count(*) > 1)"
    )


def _shapes(_: apsw.Connection) -> None:
    # What parameters a resource has values of, the texts of its tokens and its composites'
    # quantities are indexed from here on, in the tables that there are, which an older program
    # would leave when it takes a resource out. `reindex` fills them, and then they are used.
    pass


def _patient_at(db: apsw.Connection) -> None:
    # Where a body names the one Patient it is about (0: it is the Patient): a read takes the id
    # from there, and looks through two trees instead of three. What is there is read as before.
    db.execute("ALTER TABLE version ADD COLUMN patient_at INTEGER")


def _tails(db: apsw.Connection) -> None:
    # The texts of tokens from each word's start on: which of them say something is a range.
    db.execute(
        "CREATE TABLE tail (text TEXT NOT NULL, nr INTEGER NOT NULL, PRIMARY KEY (text, nr)) "
        "WITHOUT ROWID"
    )
    texts = db.execute("SELECT text, nr FROM name WHERE kind = ?", (Kind.TEXT,))
    db.executemany(
        "INSERT OR IGNORE INTO tail VALUES (?, ?)",
        ((tail, nr) for text, nr in texts for tail in tails(text)),
    )


STEPS: Final[tuple[Step, ...]] = (
    _first, _edition, _words, _at, _referred, _several, _shapes, _patient_at,
    _tails,
)  # fmt: skip
"""STEPS[n] takes a file from version n to n + 1."""

LATEST: Final = len(STEPS)


def version_of(db: apsw.Connection) -> int:
    """Return a file's schema version; 0 of an empty file.

    Raises:
        Unavailable: The file belongs to another program.
    """
    # By a statement: what the connection itself knows of the schema may be from before another
    # process, started at the same moment, has made it.
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get:
        if db.execute("SELECT count(*) FROM sqlite_schema").get or _application(db):
            raise Unavailable("The store's file holds something that is not a FHIR store.")
        return 0
    if _application(db) != APPLICATION_ID:
        raise Unavailable("The store's file holds something that is not a FHIR store.")
    return int(db.execute("SELECT value FROM meta WHERE key = 'version'").get)


def _application(db: apsw.Connection) -> int:
    return int(db.pragma("application_id") or 0)


def known_version(db: apsw.Connection, latest: int = LATEST) -> int:
    """Return a file's schema version, which this program knows.

    Raises:
        Unavailable: The file is no store, or was written by a newer version of this program.
    """
    found = version_of(db)
    if found > latest:
        raise Unavailable(
            f"The store is of version {found} and this program knows versions up to {latest}: "
            "start a newer program, or restore a backup."
        )
    return found


def migrate(db: apsw.Connection, steps: Sequence[Step] = STEPS) -> int:
    """Bring a file to the newest version, all steps in one transaction, and return from which.

    Raises:
        Unavailable: The file was written by a newer version of this program.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        found = known_version(db, len(steps))
        for step in steps[found:]:
            step(db)
        if found < len(steps):
            db.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (len(steps),))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return found
