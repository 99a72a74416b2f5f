-- Costs are derived anew where they may be others now: of what went to Bedrock, since the profile that a request asked for did not count;
-- of server tools that only an answer of the Messages API shows; and of all, if the configuration has prices, since those were not for
-- dated versions of a model.

-- +goose Up
INSERT INTO touched (ids)
SELECT id FROM interceptions
WHERE provider = 'bedrock' OR EXISTS (SELECT 1 FROM price_overrides WHERE overrides NOT IN ('null', '[]'))
    OR id IN (SELECT interception_id FROM tool_usages WHERE tool_call_id LIKE 'srvtoolu\_%' ESCAPE '\')
ORDER BY started, started_at, id;
