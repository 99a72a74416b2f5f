-- The same as SQLite's migration of this version: costs are derived anew.

-- +goose Up
INSERT INTO touched (ids)
SELECT string_agg(uuid_send(id), '' ORDER BY id) FROM (SELECT id, row_number() OVER (ORDER BY id) / 256 AS note FROM interceptions) AS i
GROUP BY note ORDER BY note;
