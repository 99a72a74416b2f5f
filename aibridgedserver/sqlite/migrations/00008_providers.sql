-- Providers and MCP servers may come from commands, too, and secrets may be kept here, encrypted.

-- +goose Up
-- What else a provider is made from, as JSON. Secrets in it are references.
ALTER TABLE providers ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- A digest of the entry of the configuration file that the row was last made from. Empty: a command made the row. The rows
-- of earlier versions came from files, and are made anew.
ALTER TABLE providers ADD COLUMN seed TEXT NOT NULL DEFAULT 'of an earlier version';
-- The same, for rows that are configured. It is also empty while the file does not name the server.
ALTER TABLE mcp_servers ADD COLUMN seed TEXT NOT NULL DEFAULT '';

-- Secrets that were given by standard input. Providers and MCP servers, the owners, refer to them by their ids.
CREATE TABLE kept_secrets (
    id     TEXT NOT NULL PRIMARY KEY,
    owner  TEXT NOT NULL,
    sealed TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_secrets_by_owner ON kept_secrets (owner);

-- With which key secrets are encrypted, and a known text that is encrypted with it. No row: they are not encrypted.
CREATE TABLE encryption (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    key_id   TEXT    NOT NULL,
    probe    TEXT    NOT NULL
) STRICT;

-- The number grows with each change to providers, MCP servers or their secrets: gateways read them again then.
CREATE TABLE configuration_changes (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL
) STRICT;

INSERT INTO configuration_changes VALUES (1, 0);
