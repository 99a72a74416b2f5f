-- The same as SQLite's migration of this version: the dearest sessions of a long range are found by their cost.

-- +goose Up
CREATE INDEX sessions_by_cost ON sessions (cost, id, started_at);
