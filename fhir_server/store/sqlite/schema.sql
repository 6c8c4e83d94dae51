-- Version 1 of the store. Later versions are steps in migrate.py; this file never changes.

-- What the store is, and its own facts: `version`, `cursor_key`.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Small numbers for long names: resource types, search parameters, code systems, units, tags.
CREATE TABLE name (
  kind INTEGER NOT NULL, text TEXT NOT NULL, nr INTEGER NOT NULL, PRIMARY KEY (kind, text)
) WITHOUT ROWID;
CREATE UNIQUE INDEX name_nr ON name (kind, nr);

-- The code systems (of a token) or units (of a quantity) that occur in a parameter.
CREATE TABLE seen (
  param INTEGER NOT NULL, nr INTEGER NOT NULL, PRIMARY KEY (param, nr)
) WITHOUT ROWID;

-- zstd dictionaries, trained on own data; what was packed with one names its number.
CREATE TABLE dictionary (nr INTEGER PRIMARY KEY, purpose TEXT NOT NULL, bytes BLOB NOT NULL);

-- One row a resource, also one that is only referred to (version_id 0) or deleted (live 0).
CREATE TABLE resource (
  nr INTEGER PRIMARY KEY, type INTEGER NOT NULL, id TEXT NOT NULL, rid INTEGER,
  version_id INTEGER NOT NULL, live INTEGER NOT NULL, last_updated INTEGER, tags
);
CREATE UNIQUE INDEX resource_id ON resource (type, id);
CREATE INDEX resource_live ON resource (type, rid) WHERE live = 1;
-- Of a page that others write beside: what had a version before the first page, and one since.
CREATE INDEX resource_changed ON resource (type, rid) WHERE live = 1 AND version_id > 1;
CREATE INDEX resource_updated ON resource (type, last_updated, rid) WHERE live = 1;

-- One row a version, never changed; rid grows with every version made.
CREATE TABLE version (
  rid INTEGER PRIMARY KEY, nr INTEGER NOT NULL, type INTEGER NOT NULL,
  version_id INTEGER NOT NULL, last_updated INTEGER NOT NULL, method, patients,
  packing INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX version_nr ON version (nr, version_id);
CREATE INDEX version_type ON version (type);

-- What is indexed of a current resource, packed: to take it out again, and for rare questions.
CREATE TABLE entry (
  rid INTEGER PRIMARY KEY, nr INTEGER NOT NULL, packing INTEGER NOT NULL, packed BLOB NOT NULL
);

-- The index tables, by kind of search parameter; only current resources are in them.
CREATE TABLE token (
  param INTEGER NOT NULL, sys INTEGER NOT NULL, code TEXT NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY (param, sys, code, rid)
) WITHOUT ROWID;
CREATE TABLE string (
  param INTEGER NOT NULL, text TEXT NOT NULL, exact TEXT NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY (param, text, exact, rid)
) WITHOUT ROWID;
CREATE TABLE date (
  param INTEGER NOT NULL, low INTEGER NOT NULL, span INTEGER NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY (param, low, span, rid)
) WITHOUT ROWID;
CREATE INDEX date_of ON date (rid, param, low, span);
CREATE INDEX date_long ON date (param, low + span) WHERE span > 86400000000;
CREATE TABLE quantity (
  param INTEGER NOT NULL, unit INTEGER NOT NULL, low BLOB NOT NULL, high BLOB NOT NULL,
  rid INTEGER NOT NULL, PRIMARY KEY (param, unit, low, high, rid)
) WITHOUT ROWID;
CREATE INDEX quantity_wide ON quantity (param, unit, high) WHERE high <> x'';
CREATE TABLE ref (
  target INTEGER NOT NULL, param INTEGER NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY (target, param, rid)
) WITHOUT ROWID;
CREATE INDEX ref_of ON ref (rid, param, target);
CREATE TABLE compartment (
  patient INTEGER NOT NULL, type INTEGER NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY (patient, type, rid)
) WITHOUT ROWID;
CREATE TABLE tag (
  tag INTEGER NOT NULL, type INTEGER NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY (tag, type, rid)
) WITHOUT ROWID;
CREATE TABLE unique_key (key TEXT PRIMARY KEY, nr INTEGER NOT NULL) WITHOUT ROWID;

-- Current resources by type, for totals.
CREATE TABLE counter (type INTEGER PRIMARY KEY, live INTEGER NOT NULL);

CREATE TABLE ledger (
  bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires INTEGER
);
CREATE UNIQUE INDEX ledger_key ON ledger (bucket, key);
CREATE INDEX ledger_expires ON ledger (expires) WHERE expires IS NOT NULL;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, digest BLOB NOT NULL, patients TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX audit_recorded ON audit (recorded);
CREATE TABLE audit_patient (
  patient TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (patient, seq)
) WITHOUT ROWID;
