"""The statements that write and delete index rows."""

from __future__ import annotations

from typing import Final

INSERTS: Final = {
    "token": "INSERT OR IGNORE INTO token VALUES (?, ?, ?, ?)",
    "string": "INSERT OR IGNORE INTO string VALUES (?, ?, ?, ?)",
    "date": "INSERT OR IGNORE INTO date VALUES (?, ?, ?, ?)",
    "quantity": "INSERT OR IGNORE INTO quantity VALUES (?, ?, ?, ?, ?)",
    "ref": "INSERT OR IGNORE INTO ref VALUES (?, ?, ?)",
    "compartment": "INSERT OR IGNORE INTO compartment VALUES (?, ?, ?)",
    "tag": "INSERT OR IGNORE INTO tag VALUES (?, ?, ?)",
    "said": "INSERT OR IGNORE INTO said VALUES (?, ?, ?)",
}

DELETES: Final = {
    "token": "DELETE FROM token WHERE param = ? AND sys = ? AND code = ? AND rid = ?",
    "string": "DELETE FROM string WHERE param = ? AND text = ? AND exact = ? AND rid = ?",
    "quantity": "DELETE FROM quantity WHERE param = ? AND unit = ? AND low = ? AND high = ? "
    "AND rid = ?",
    "compartment": "DELETE FROM compartment WHERE patient = ? AND type = ? AND rid = ?",
    "tag": "DELETE FROM tag WHERE tag = ? AND type = ? AND rid = ?",
    "said": "DELETE FROM said WHERE param = ? AND word = ? AND rid = ?",
}
