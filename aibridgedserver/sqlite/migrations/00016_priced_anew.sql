-- Costs are derived anew of all interceptions: the profile that a request to Bedrock asked for, dated versions of models that the
-- configuration prices, and server tools that only an answer shows did not count until now. Sub-agents' ids become values of sessions.

-- +goose Up
INSERT INTO touched (ids) SELECT id FROM interceptions ORDER BY started, started_at, id;
