-- The dearest sessions of a long range are found by their cost.

-- +goose Up
CREATE INDEX sessions_by_cost ON sessions (cost, id, started_at);
