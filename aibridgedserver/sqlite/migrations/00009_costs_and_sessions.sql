-- How long it took from the start to the first byte of an answer, in microseconds. Null: not recorded. 0: none came.

-- +goose Up
ALTER TABLE interceptions ADD COLUMN first_byte INTEGER;

-- Records of a background response are found by it.
CREATE INDEX interceptions_by_background ON interceptions (background_id) WHERE background_id IS NOT NULL;

-- What follows down to groups is derived from the records, and can be made anew from them. Whoever stores or deletes
-- records adds to touched, in the same transaction, the ids of their interceptions, 16 bytes each. Whoever derives takes
-- them from its front. So what is derived lags behind the records, but never misses one, and storing costs one short row
-- a transaction.
CREATE TABLE touched (
    seq INTEGER PRIMARY KEY,
    ids BLOB NOT NULL
) STRICT;

INSERT INTO touched (ids) SELECT id FROM interceptions ORDER BY started, started_at, id;

-- The number grows with each step that derives. Whoever has read what a step needs sees by it whether another step came
-- between.
CREATE TABLE derivations (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL
) STRICT;

INSERT INTO derivations VALUES (1, 0);

-- The prices that the gateway was last set up with, beside the embedded ones: a JSON list.
CREATE TABLE price_overrides (
    only_row  INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    overrides TEXT    NOT NULL
) STRICT;

-- Amounts are in millionths of a millionth of a dollar.
--
-- A session holds the interceptions of one user and one session of a client. Those of a client that tells no session
-- are chained by the ids of tool calls.
CREATE TABLE sessions (
    id                INTEGER PRIMARY KEY,
    initiator_id      BLOB    NOT NULL,
    client            TEXT    NOT NULL,
    client_session_id TEXT,
    started_at        INTEGER NOT NULL, -- Of the interception that was seen first. It never changes.
    last_at           INTEGER NOT NULL,
    title             TEXT    NOT NULL, -- The beginning of the first prompt.
    title_from        BLOB,             -- The interception that it is from.
    title_at          INTEGER NOT NULL, -- When that one started.
    searchable        INTEGER NOT NULL, -- How many of its prompts were indexed for the search. It never decreases.
    kept              INTEGER NOT NULL, -- How many of its interceptions there still are.
    requests          INTEGER NOT NULL,
    errors            INTEGER NOT NULL,
    input             INTEGER NOT NULL,
    output            INTEGER NOT NULL,
    cache_read        INTEGER NOT NULL,
    cache_write       INTEGER NOT NULL,
    cost              INTEGER NOT NULL,
    estimated         INTEGER NOT NULL,
    unpriced          INTEGER NOT NULL,
    unpriced_tokens   INTEGER NOT NULL,
    calls             INTEGER NOT NULL
) STRICT;

-- With the cost, since the dearest sessions of a range are found in it alone.
CREATE INDEX sessions_by_start ON sessions (started_at, id, cost);
CREATE INDEX sessions_by_initiator ON sessions (initiator_id, started_at, id);

-- By which a session is found: hashes of a client's session or of a tool call, each with the user.
CREATE TABLE session_keys (
    key     BLOB    NOT NULL PRIMARY KEY,
    session INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_keys_by_session ON session_keys (session);

-- The models, clients, tools and outcomes of a session. Kind is one of the dimensions of rollups.
CREATE TABLE session_values (
    session    INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    value      TEXT    NOT NULL,
    started_at INTEGER NOT NULL, -- Of the session.
    PRIMARY KEY (session, kind, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_values_by_value ON session_values (kind, value, started_at, session);

-- What is derived of an interception that has started. It is what the interception adds to its session and to rollups.
CREATE TABLE facts (
    interception_id BLOB    NOT NULL PRIMARY KEY,
    session         INTEGER NOT NULL,
    search_id       INTEGER NOT NULL, -- Of its prompt in the search index. 0: it is not there.
    initiator_id    BLOB    NOT NULL,
    started_at      INTEGER NOT NULL,
    provider        TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    client          TEXT    NOT NULL,
    outcome         TEXT    NOT NULL, -- "running", "ok" or the type of its error.
    tools           TEXT    NOT NULL, -- The tools that the model called, in JSON: an object with the number of calls of each.
    requests        INTEGER NOT NULL,
    errors          INTEGER NOT NULL,
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    cache_read      INTEGER NOT NULL,
    cache_write     INTEGER NOT NULL,
    cost            INTEGER NOT NULL,
    estimated       INTEGER NOT NULL, -- The part of cost that is estimated.
    unpriced        INTEGER NOT NULL, -- 1 if a part of it has no price.
    unpriced_tokens INTEGER NOT NULL,
    calls           INTEGER NOT NULL,
    first_byte      INTEGER NOT NULL  -- In microseconds. 0: not known.
) STRICT, WITHOUT ROWID;

CREATE INDEX facts_by_session ON facts (session, started_at, interception_id);

-- Sums over the facts of a quarter of an hour (span 0), of a day in UTC (span 1) or of eight days (span 2), by one
-- dimension. At is the number of the first quarter since 1970. First_byte_N counts first bytes by how long they took.
CREATE TABLE rollups (
    dimension       INTEGER NOT NULL,
    span            INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    value           TEXT    NOT NULL,
    requests        INTEGER NOT NULL,
    errors          INTEGER NOT NULL,
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    cache_read      INTEGER NOT NULL,
    cache_write     INTEGER NOT NULL,
    cost            INTEGER NOT NULL,
    estimated       INTEGER NOT NULL,
    unpriced        INTEGER NOT NULL,
    unpriced_tokens INTEGER NOT NULL,
    calls           INTEGER NOT NULL,
    first_byte_0    INTEGER NOT NULL,
    first_byte_1    INTEGER NOT NULL,
    first_byte_2    INTEGER NOT NULL,
    first_byte_3    INTEGER NOT NULL,
    first_byte_4    INTEGER NOT NULL,
    first_byte_5    INTEGER NOT NULL,
    first_byte_6    INTEGER NOT NULL,
    first_byte_7    INTEGER NOT NULL,
    first_byte_8    INTEGER NOT NULL,
    first_byte_9    INTEGER NOT NULL,
    PRIMARY KEY (dimension, span, value, at)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollups_by_time ON rollups (dimension, span, at);

-- Users belong to groups from a quarter of an hour on, up to another one (NULL: without end).
CREATE TABLE user_groups (
    user_id    TEXT    NOT NULL REFERENCES users (id),
    name       TEXT    NOT NULL,
    from_at    INTEGER NOT NULL,
    until_at   INTEGER,
    PRIMARY KEY (user_id, name, from_at)
) STRICT, WITHOUT ROWID;

-- A token of an administrator sees what others did.
ALTER TABLE api_keys ADD COLUMN admin INTEGER NOT NULL DEFAULT 0;

-- Who looked at what others wrote. Subject is a session or an interception of that user.
CREATE TABLE access_log (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    viewer_id  TEXT    NOT NULL,
    api_key_id TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    subject    TEXT    NOT NULL
) STRICT;
