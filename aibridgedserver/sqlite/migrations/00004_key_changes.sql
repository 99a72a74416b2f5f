-- The number grows with each change to a key or a user. A server that remembers who keys belong to reads it to see
-- whether they have changed, without reading the keys.

-- +goose Up
CREATE TABLE key_changes (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL
) STRICT;

INSERT INTO key_changes VALUES (1, 0);

-- +goose StatementBegin
CREATE TRIGGER api_keys_inserted AFTER INSERT ON api_keys BEGIN
    UPDATE key_changes SET number = number + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_keys_updated AFTER UPDATE ON api_keys BEGIN
    UPDATE key_changes SET number = number + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER api_keys_deleted AFTER DELETE ON api_keys BEGIN
    UPDATE key_changes SET number = number + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER users_inserted AFTER INSERT ON users BEGIN
    UPDATE key_changes SET number = number + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER users_updated AFTER UPDATE ON users BEGIN
    UPDATE key_changes SET number = number + 1;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER users_deleted AFTER DELETE ON users BEGIN
    UPDATE key_changes SET number = number + 1;
END;
-- +goose StatementEnd
