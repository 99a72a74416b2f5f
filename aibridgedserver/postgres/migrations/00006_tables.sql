-- The tables as SQLite's have them at the same version. Their statements differ, their names and columns do not. UUIDs
-- are uuid, times timestamptz, metadata jsonb. Text is sorted by its bytes, as SQLite sorts it.
--
-- The tables of records have a partition for each month, named for it (interceptions_p202611), and one for the rest,
-- interceptions_other. The month is that of the time in the interception's id, a UUID of version 7: it is known to every
-- record, it never changes, and it is part of each key, as a partition key must be. Ids without a time, those of
-- background responses, are in the rest. The program makes the partitions of months.

-- +goose Up
CREATE TABLE users (
    id         uuid             NOT NULL PRIMARY KEY,
    username   text COLLATE "C" NOT NULL UNIQUE,
    created_at timestamptz      NOT NULL
);

CREATE TABLE api_keys (
    id            text COLLATE "C" NOT NULL PRIMARY KEY,
    user_id       uuid             NOT NULL REFERENCES users (id),
    secret_sha256 bytea            NOT NULL,
    created_at    timestamptz      NOT NULL,
    expires_at    timestamptz,
    revoked_at    timestamptz
);

CREATE TABLE providers (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    type       text             NOT NULL,
    base_url   text             NOT NULL,
    disabled   boolean          NOT NULL,
    updated_at timestamptz      NOT NULL
);

CREATE TABLE mcp_servers (
    id               text COLLATE "C" NOT NULL PRIMARY KEY,
    url              text             NOT NULL,
    tool_allow_regex text             NOT NULL DEFAULT '',
    tool_deny_regex  text             NOT NULL DEFAULT '',
    enabled          boolean          NOT NULL DEFAULT TRUE
);

CREATE TABLE mcp_access_tokens (
    user_id       uuid             NOT NULL REFERENCES users (id),
    mcp_server_id text COLLATE "C" NOT NULL REFERENCES mcp_servers (id),
    access_token  text             NOT NULL,
    PRIMARY KEY (user_id, mcp_server_id)
);

CREATE TABLE interceptions (
    id                             uuid        NOT NULL PRIMARY KEY,
    started                        boolean     NOT NULL,
    started_at                     timestamptz NOT NULL,
    initiator_id                   uuid,
    api_key_id                     text        NOT NULL DEFAULT '',
    provider                       text        NOT NULL DEFAULT '',
    provider_name                  text        NOT NULL DEFAULT '',
    model                          text        NOT NULL DEFAULT '',
    client                         text        NOT NULL DEFAULT '',
    client_session_id              text,
    user_agent                     text        NOT NULL DEFAULT '',
    correlating_tool_call_id       text,
    credential_kind                text        NOT NULL DEFAULT '',
    credential_hint                text        NOT NULL DEFAULT '',
    agent_firewall_session_id      text,
    agent_firewall_sequence_number bigint,
    request_bytes                  bigint,
    request_sha256                 bytea,
    metadata                       jsonb       NOT NULL DEFAULT '{}',
    ended_at                       timestamptz,
    end_credential_hint            text        NOT NULL DEFAULT '',
    response_bytes                 bigint,
    response_sha256                bytea,
    error_type                     text,
    error_message                  text,
    answer_model                   text        NOT NULL DEFAULT '',
    background_id                  uuid,
    unread                         bigint
) PARTITION BY RANGE (id);

CREATE INDEX interceptions_by_start ON interceptions (started, started_at, id);
CREATE INDEX interceptions_by_initiator ON interceptions (initiator_id, started_at, id);
CREATE INDEX interceptions_by_background ON interceptions (background_id) WHERE background_id IS NOT NULL;
CREATE INDEX interceptions_long ON interceptions (ended_at, started_at) WHERE ended_at - started_at > interval '10 minutes';

CREATE TABLE token_usages (
    interception_id          uuid        NOT NULL,
    record_id                uuid        NOT NULL,
    created_at               timestamptz NOT NULL,
    msg_id                   text        NOT NULL,
    input_tokens             bigint      NOT NULL,
    output_tokens            bigint      NOT NULL,
    cache_read_input_tokens  bigint      NOT NULL,
    cache_write_input_tokens bigint      NOT NULL,
    metadata                 jsonb       NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) PARTITION BY RANGE (interception_id);

CREATE TABLE prompt_usages (
    interception_id uuid        NOT NULL,
    record_id       uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    msg_id          text        NOT NULL,
    metadata        jsonb       NOT NULL,
    prompt          text        NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) PARTITION BY RANGE (interception_id);

CREATE TABLE tool_usages (
    interception_id  uuid        NOT NULL,
    record_id        uuid        NOT NULL,
    created_at       timestamptz NOT NULL,
    msg_id           text        NOT NULL,
    tool_call_id     text        NOT NULL,
    item_id          text        NOT NULL,
    server_url       text,
    tool             text        NOT NULL,
    injected         boolean     NOT NULL,
    metadata         jsonb       NOT NULL,
    invocation_error text,
    input            text        NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) PARTITION BY RANGE (interception_id);

CREATE TABLE model_thoughts (
    interception_id uuid        NOT NULL,
    record_id       uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    metadata        jsonb       NOT NULL,
    content         text        NOT NULL,
    PRIMARY KEY (interception_id, record_id)
) PARTITION BY RANGE (interception_id);

CREATE TABLE interceptions_other PARTITION OF interceptions DEFAULT;
CREATE TABLE token_usages_other PARTITION OF token_usages DEFAULT;
CREATE TABLE prompt_usages_other PARTITION OF prompt_usages DEFAULT;
CREATE TABLE tool_usages_other PARTITION OF tool_usages DEFAULT;
CREATE TABLE model_thoughts_other PARTITION OF model_thoughts DEFAULT;

-- All months whose ids are below this one have been dropped. A record of such an interception that is sent again is not
-- stored again.
CREATE TABLE dropped_months (
    only_row boolean NOT NULL PRIMARY KEY CHECK (only_row),
    below    uuid    NOT NULL
);

INSERT INTO dropped_months VALUES (TRUE, '00000000-0000-0000-0000-000000000000');

-- The number grows with each change to a key or a user. A server that remembers who keys belong to reads it to see
-- whether they have changed, without reading the keys.
CREATE TABLE key_changes (
    only_row boolean NOT NULL PRIMARY KEY CHECK (only_row),
    number   bigint  NOT NULL
);

INSERT INTO key_changes VALUES (TRUE, 0);

-- +goose StatementBegin
CREATE FUNCTION count_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE key_changes SET number = number + 1;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER api_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys EXECUTE FUNCTION count_key_change();
CREATE TRIGGER users_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON users EXECUTE FUNCTION count_key_change();
