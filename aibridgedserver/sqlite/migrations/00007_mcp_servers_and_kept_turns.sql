-- Where the token of an MCP server comes from, who may use the server, and whether the configuration file names it. Also the
-- turns that gateways keep for each other: a turn has several keys, and a key is for one user only.

-- +goose Up
-- A reference to a secret, never the secret. Empty: the server needs no token, or users have their own.
ALTER TABLE mcp_servers ADD COLUMN token_from TEXT NOT NULL DEFAULT '';
-- If it is 0, only the users in mcp_server_users may use the server.
ALTER TABLE mcp_servers ADD COLUMN everyone INTEGER NOT NULL DEFAULT 1;
-- A server that came from the configuration file is disabled when the file no longer names it.
ALTER TABLE mcp_servers ADD COLUMN configured INTEGER NOT NULL DEFAULT 0;

-- Names, not ids: a server may be set up before its users are.
CREATE TABLE mcp_server_users (
    mcp_server_id TEXT NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    username      TEXT NOT NULL,
    PRIMARY KEY (mcp_server_id, username)
) STRICT, WITHOUT ROWID;

ALTER TABLE mcp_access_tokens ADD COLUMN set_at INTEGER NOT NULL DEFAULT 0;

CREATE TABLE kept_turns (
    id         INTEGER PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    keys       INTEGER NOT NULL,
    turn       BLOB    NOT NULL
) STRICT;

-- It has what the limits of a user are worked out from, so that no turn is read for that.
CREATE INDEX kept_turns_by_user ON kept_turns (user_id, id, size, keys);
CREATE INDEX kept_turns_by_expiry ON kept_turns (expires_at);

CREATE TABLE kept_turn_keys (
    user_id TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    turn_id INTEGER NOT NULL REFERENCES kept_turns (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_turn_keys_by_turn ON kept_turn_keys (turn_id);
