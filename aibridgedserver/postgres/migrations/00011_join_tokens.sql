-- The same as SQLite's migration of this version: tokens by which gateways without a database prove who they are.

-- +goose Up
CREATE TABLE join_tokens (
    id            text COLLATE "C" NOT NULL PRIMARY KEY,
    name          text             NOT NULL,
    secret_sha256 bytea            NOT NULL,
    created_at    timestamptz      NOT NULL,
    revoked_at    timestamptz
);
