-- How many events of its answer an interception did not understand. Those from before this column have 0.

-- +goose Up
ALTER TABLE interceptions ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
