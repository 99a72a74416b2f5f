-- The cost of a record is the number of B-trees that it is inserted into, so each kind of record has one table without
-- a rowid. UUIDs in records are BLOBs of 16 bytes.
--
-- An interception's start and end are one row. Each interception that any record names has a row, whichever record came
-- first: until the start has come, started is 0 and started_at is the time of the first record. So a row without a
-- start is found and deleted by its age like any other.
--
-- The other records are keyed by their interception's id and their own. So a record that is sent again conflicts with
-- the first, and records of one interception are stored side by side. Long texts are the last column, so that they
-- overflow to pages of their own.

-- +goose Up
DROP INDEX interceptions_by_start;
DROP INDEX interceptions_by_initiator;
ALTER TABLE interceptions RENAME TO old_interceptions;
ALTER TABLE token_usages RENAME TO old_token_usages;
ALTER TABLE prompt_usages RENAME TO old_prompt_usages;
ALTER TABLE tool_usages RENAME TO old_tool_usages;
ALTER TABLE model_thoughts RENAME TO old_model_thoughts;

CREATE TABLE interceptions (
    id                             BLOB    NOT NULL PRIMARY KEY,
    started                        INTEGER NOT NULL,
    started_at                     INTEGER NOT NULL,
    initiator_id                   BLOB,
    api_key_id                     TEXT    NOT NULL DEFAULT '',
    provider                       TEXT    NOT NULL DEFAULT '',
    provider_name                  TEXT    NOT NULL DEFAULT '',
    model                          TEXT    NOT NULL DEFAULT '',
    client                         TEXT    NOT NULL DEFAULT '',
    client_session_id              TEXT,
    user_agent                     TEXT    NOT NULL DEFAULT '',
    correlating_tool_call_id       TEXT,
    credential_kind                TEXT    NOT NULL DEFAULT '',
    credential_hint                TEXT    NOT NULL DEFAULT '',
    agent_firewall_session_id      TEXT,
    agent_firewall_sequence_number INTEGER,
    request_bytes                  INTEGER,
    request_sha256                 BLOB,
    metadata                       TEXT    NOT NULL DEFAULT '{}',
    ended_at                       INTEGER,
    end_credential_hint            TEXT    NOT NULL DEFAULT '',
    response_bytes                 INTEGER,
    response_sha256                BLOB,
    error_type                     TEXT,
    error_message                  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE token_usages (
    interception_id          BLOB    NOT NULL,
    record_id                BLOB    NOT NULL,
    created_at               INTEGER NOT NULL,
    msg_id                   TEXT    NOT NULL,
    input_tokens             INTEGER NOT NULL,
    output_tokens            INTEGER NOT NULL,
    cache_read_input_tokens  INTEGER NOT NULL,
    cache_write_input_tokens INTEGER NOT NULL,
    metadata                 TEXT    NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE prompt_usages (
    interception_id BLOB    NOT NULL,
    record_id       BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    msg_id          TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    prompt          TEXT    NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tool_usages (
    interception_id  BLOB    NOT NULL,
    record_id        BLOB    NOT NULL,
    created_at       INTEGER NOT NULL,
    msg_id           TEXT    NOT NULL,
    tool_call_id     TEXT    NOT NULL,
    item_id          TEXT    NOT NULL,
    server_url       TEXT,
    tool             TEXT    NOT NULL,
    injected         INTEGER NOT NULL,
    metadata         TEXT    NOT NULL,
    invocation_error TEXT,
    input            TEXT    NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE model_thoughts (
    interception_id BLOB    NOT NULL,
    record_id       BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    metadata        TEXT    NOT NULL,
    content         TEXT    NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) STRICT, WITHOUT ROWID;

-- The old ids are in their canonical form, so they sort as text in the order of their bytes. Each SELECT therefore
-- follows an old index, and each INSERT appends.
INSERT INTO interceptions
SELECT unhex(replace(i.id, '-', '')), 1, i.started_at, unhex(replace(i.initiator_id, '-', '')), i.api_key_id, i.provider,
    i.provider_name, i.model, i.client, i.client_session_id, i.user_agent, i.correlating_tool_call_id, i.credential_kind,
    i.credential_hint, i.agent_firewall_session_id, i.agent_firewall_sequence_number, i.request_bytes, i.request_sha256,
    i.metadata, e.ended_at, coalesce(e.credential_hint, ''), e.response_bytes, e.response_sha256, e.error_type,
    e.error_message
FROM old_interceptions i LEFT JOIN interception_ends e ON e.interception_id = i.id ORDER BY i.id;

INSERT INTO interceptions (id, started, started_at, ended_at, end_credential_hint, response_bytes, response_sha256,
    error_type, error_message)
SELECT unhex(replace(interception_id, '-', '')), 0, ended_at, ended_at, credential_hint, response_bytes, response_sha256,
    error_type, error_message
FROM interception_ends WHERE true ON CONFLICT DO NOTHING;

INSERT INTO token_usages
SELECT unhex(replace(interception_id, '-', '')), unhex(replace(record_id, '-', '')), created_at, msg_id, input_tokens,
    output_tokens, cache_read_input_tokens, cache_write_input_tokens, metadata
FROM old_token_usages ORDER BY interception_id;

INSERT INTO prompt_usages
SELECT unhex(replace(r.interception_id, '-', '')), unhex(replace(r.record_id, '-', '')), r.created_at, r.msg_id,
    r.metadata, t.prompt
FROM old_prompt_usages r JOIN prompt_texts t ON t.seq = r.seq ORDER BY r.interception_id;

INSERT INTO tool_usages
SELECT unhex(replace(r.interception_id, '-', '')), unhex(replace(r.record_id, '-', '')), r.created_at, r.msg_id,
    r.tool_call_id, r.item_id, r.server_url, r.tool, r.injected, r.metadata, r.invocation_error, t.input
FROM old_tool_usages r JOIN tool_inputs t ON t.seq = r.seq ORDER BY r.interception_id;

INSERT INTO model_thoughts
SELECT unhex(replace(r.interception_id, '-', '')), unhex(replace(r.record_id, '-', '')), r.created_at, r.metadata,
    t.content
FROM old_model_thoughts r JOIN thought_texts t ON t.seq = r.seq ORDER BY r.interception_id;

INSERT INTO interceptions (id, started, started_at)
SELECT interception_id, 0, created_at FROM token_usages WHERE true ON CONFLICT DO NOTHING;
INSERT INTO interceptions (id, started, started_at)
SELECT interception_id, 0, created_at FROM prompt_usages WHERE true ON CONFLICT DO NOTHING;
INSERT INTO interceptions (id, started, started_at)
SELECT interception_id, 0, created_at FROM tool_usages WHERE true ON CONFLICT DO NOTHING;
INSERT INTO interceptions (id, started, started_at)
SELECT interception_id, 0, created_at FROM model_thoughts WHERE true ON CONFLICT DO NOTHING;

CREATE INDEX interceptions_by_start ON interceptions (started, started_at, id);
CREATE INDEX interceptions_by_initiator ON interceptions (initiator_id, started_at, id);
-- Few interceptions take longer than ten minutes. One that ended after some time either started at most ten minutes
-- before that time, or is in this index.
CREATE INDEX interceptions_long ON interceptions (ended_at, started_at) WHERE ended_at > started_at + 600000000;

DROP TABLE prompt_texts;
DROP TABLE tool_inputs;
DROP TABLE thought_texts;
DROP TABLE interception_ends;
DROP TABLE old_interceptions;
DROP TABLE old_token_usages;
DROP TABLE old_prompt_usages;
DROP TABLE old_tool_usages;
DROP TABLE old_model_thoughts;
