-- Costs are derived anew of all interceptions: tools that the upstream ran, answers that were cut before their usage came, and
-- figures that nobody can believe were free until now. The ids that clients have for sessions become values of sessions.
--
-- The sessions of which a part is in a range are found by when they were last used.

-- +goose Up
CREATE INDEX sessions_by_last ON sessions (last_at, started_at, id);

INSERT INTO touched (ids) SELECT id FROM interceptions ORDER BY started, started_at, id;
