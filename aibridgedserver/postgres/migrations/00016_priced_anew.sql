-- The same as SQLite's migration of this version: costs are derived anew where they may be others now.

-- +goose Up
INSERT INTO touched (ids)
SELECT string_agg(uuid_send(id), '' ORDER BY id) FROM (
    SELECT id, row_number() OVER (ORDER BY id) / 256 AS note FROM interceptions
    WHERE provider = 'bedrock' OR EXISTS (SELECT 1 FROM price_overrides WHERE overrides NOT IN ('null', '[]'))
        OR id IN (SELECT interception_id FROM tool_usages WHERE tool_call_id LIKE 'srvtoolu\_%')
) AS i
GROUP BY note ORDER BY note;
