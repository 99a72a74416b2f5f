-- The same as SQLite's migration of this version: providers and MCP servers from commands, and kept secrets.

-- +goose Up
ALTER TABLE providers ADD COLUMN settings text NOT NULL DEFAULT '{}';
ALTER TABLE providers ADD COLUMN seed     text NOT NULL DEFAULT 'of an earlier version';
ALTER TABLE mcp_servers ADD COLUMN seed   text NOT NULL DEFAULT '';

CREATE TABLE kept_secrets (
    id     text COLLATE "C" NOT NULL PRIMARY KEY,
    owner  text COLLATE "C" NOT NULL,
    sealed text             NOT NULL
);

CREATE INDEX kept_secrets_by_owner ON kept_secrets (owner);

CREATE TABLE encryption (
    only_row boolean NOT NULL PRIMARY KEY CHECK (only_row),
    key_id   text    NOT NULL,
    probe    text    NOT NULL
);

CREATE TABLE configuration_changes (
    only_row boolean NOT NULL PRIMARY KEY CHECK (only_row),
    number   bigint  NOT NULL
);

INSERT INTO configuration_changes VALUES (TRUE, 0);
