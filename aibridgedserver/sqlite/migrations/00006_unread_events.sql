-- How many events of its answers an interception did not understand. Null: it ended before this column was, or has not ended.

-- +goose Up
ALTER TABLE interceptions ADD COLUMN unread INTEGER;
