-- +goose Up

-- pos is the commit order: one writer, never reused, so it grows in commit order.
CREATE TABLE facts (
    pos             INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace       TEXT    NOT NULL,
    id              BLOB    NOT NULL, -- the 16 bytes of the UUID
    kind            TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    time            INTEGER NOT NULL, -- nanoseconds since 1970, UTC
    recorded        INTEGER NOT NULL,
    service         TEXT    NOT NULL,
    environment     TEXT    NOT NULL,
    subject         BLOB,             -- the 32 bytes of a SHA-256, NULL if none
    trace_id        TEXT    NOT NULL,
    deployment_id   TEXT    NOT NULL,
    policy_revision BLOB,
    actor           TEXT    NOT NULL,
    causes          BLOB    NOT NULL, -- 16 bytes each, in the fact's order
    retention       TEXT    NOT NULL,
    payload         BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX facts_id      ON facts (namespace, id);
CREATE        INDEX facts_kind    ON facts (namespace, kind, pos);
CREATE        INDEX facts_subject ON facts (namespace, subject, pos) WHERE subject IS NOT NULL;
CREATE        INDEX facts_time    ON facts (namespace, time);

-- causes leads from a cause down to its effects.
CREATE TABLE causes (
    namespace TEXT    NOT NULL,
    cause     BLOB    NOT NULL,
    pos       INTEGER NOT NULL,
    PRIMARY KEY (namespace, cause, pos)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    namespace TEXT    NOT NULL,
    bucket    TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    data      BLOB    NOT NULL,
    PRIMARY KEY (namespace, bucket, name)
) STRICT, WITHOUT ROWID;

-- outbox has one row for each audit fact, written in the fact's transaction.
CREATE TABLE outbox (
    pos INTEGER PRIMARY KEY, -- the fact
    seq INTEGER,             -- the store's sequence number, NULL until given
    idx INTEGER              -- the ledger's index, NULL until known
) STRICT;

CREATE UNIQUE INDEX outbox_seq      ON outbox (seq) WHERE seq IS NOT NULL;
CREATE        INDEX outbox_unplaced ON outbox (seq) WHERE seq IS NOT NULL AND idx IS NULL;
