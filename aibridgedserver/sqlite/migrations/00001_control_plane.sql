-- Times are microseconds since 1970 in UTC. UUIDs are text in their canonical form. Metadata is a JSON object.
--
-- No record refers to another by a foreign key: a child may arrive before its interception's start, and an end before
-- both. Reports join the rows that have arrived.
--
-- Long texts are in tables of their own, under the seq of their record, so that lists and counts do not read them.

-- +goose Up
CREATE TABLE users (
    id         TEXT    NOT NULL PRIMARY KEY,
    username   TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id),
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;

-- The providers that the gateway was last set up with. Their keys are not stored.
CREATE TABLE providers (
    name       TEXT    NOT NULL PRIMARY KEY,
    type       TEXT    NOT NULL,
    base_url   TEXT    NOT NULL,
    disabled   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mcp_servers (
    id               TEXT    NOT NULL PRIMARY KEY,
    url              TEXT    NOT NULL,
    tool_allow_regex TEXT    NOT NULL DEFAULT '',
    tool_deny_regex  TEXT    NOT NULL DEFAULT '',
    enabled          INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

-- A server that asks for no token has a row with an empty one.
CREATE TABLE mcp_access_tokens (
    user_id       TEXT NOT NULL REFERENCES users (id),
    mcp_server_id TEXT NOT NULL REFERENCES mcp_servers (id),
    access_token  TEXT NOT NULL,
    PRIMARY KEY (user_id, mcp_server_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE interceptions (
    id                             TEXT    NOT NULL PRIMARY KEY,
    initiator_id                   TEXT    NOT NULL,
    api_key_id                     TEXT    NOT NULL,
    provider                       TEXT    NOT NULL,
    provider_name                  TEXT    NOT NULL,
    model                          TEXT    NOT NULL,
    client                         TEXT    NOT NULL,
    client_session_id              TEXT,
    user_agent                     TEXT    NOT NULL,
    correlating_tool_call_id       TEXT,
    credential_kind                TEXT    NOT NULL,
    credential_hint                TEXT    NOT NULL,
    agent_firewall_session_id      TEXT,
    agent_firewall_sequence_number INTEGER,
    metadata                       TEXT    NOT NULL,
    started_at                     INTEGER NOT NULL
) STRICT;

CREATE INDEX interceptions_by_start ON interceptions (started_at, id);
CREATE INDEX interceptions_by_initiator ON interceptions (initiator_id, started_at, id);

CREATE TABLE interception_ends (
    interception_id TEXT    NOT NULL PRIMARY KEY,
    ended_at        INTEGER NOT NULL,
    credential_hint TEXT    NOT NULL,
    error_type      TEXT,
    error_message   TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE token_usages (
    seq                      INTEGER PRIMARY KEY,
    record_id                TEXT    NOT NULL UNIQUE,
    interception_id          TEXT    NOT NULL,
    msg_id                   TEXT    NOT NULL,
    input_tokens             INTEGER NOT NULL,
    output_tokens            INTEGER NOT NULL,
    cache_read_input_tokens  INTEGER NOT NULL,
    cache_write_input_tokens INTEGER NOT NULL,
    metadata                 TEXT    NOT NULL,
    created_at               INTEGER NOT NULL
) STRICT;

CREATE INDEX token_usages_by_interception ON token_usages (interception_id);

CREATE TABLE prompt_usages (
    seq             INTEGER PRIMARY KEY,
    record_id       TEXT    NOT NULL UNIQUE,
    interception_id TEXT    NOT NULL,
    msg_id          TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX prompt_usages_by_interception ON prompt_usages (interception_id);

CREATE TABLE prompt_texts (
    seq    INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL
) STRICT;

CREATE TABLE tool_usages (
    seq              INTEGER PRIMARY KEY,
    record_id        TEXT    NOT NULL UNIQUE,
    interception_id  TEXT    NOT NULL,
    msg_id           TEXT    NOT NULL,
    tool_call_id     TEXT    NOT NULL,
    item_id          TEXT    NOT NULL,
    server_url       TEXT,
    tool             TEXT    NOT NULL,
    injected         INTEGER NOT NULL,
    invocation_error TEXT,
    metadata         TEXT    NOT NULL,
    created_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX tool_usages_by_interception ON tool_usages (interception_id);

CREATE TABLE tool_inputs (
    seq   INTEGER PRIMARY KEY,
    input TEXT NOT NULL
) STRICT;

CREATE TABLE model_thoughts (
    seq             INTEGER PRIMARY KEY,
    record_id       TEXT    NOT NULL UNIQUE,
    interception_id TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX model_thoughts_by_interception ON model_thoughts (interception_id);

CREATE TABLE thought_texts (
    seq     INTEGER PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;
