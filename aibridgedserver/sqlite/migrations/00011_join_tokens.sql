-- Tokens by which gateways without a database prove who they are. Of the secret, only its SHA-256 is here.

-- +goose Up
CREATE TABLE join_tokens (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;
