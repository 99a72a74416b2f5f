-- Sums of each user over a quarter of an hour (span 0) and a day in UTC (span 1): what the rows of part 0 add up to is split by
-- provider, model, client and outcome, which is their name. Those of part 1 are of the tool that is their name, and have requests
-- and calls only. At is the number of the first quarter since 1970.
--
-- What was deleted before is not in them.

-- +goose Up
-- This table takes the place of derivations: a program that does not know these sums cannot derive any more, and what it derived
-- would be missing in them.
ALTER TABLE derivations RENAME TO derivation_steps;

CREATE TABLE user_rollups (
    initiator_id    BLOB NOT NULL,
    part            INTEGER NOT NULL,
    span            INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    client          TEXT NOT NULL,
    name            TEXT NOT NULL,
    requests        INTEGER NOT NULL,
    errors          INTEGER NOT NULL,
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    cache_read      INTEGER NOT NULL,
    cache_write     INTEGER NOT NULL,
    cost            INTEGER NOT NULL,
    estimated       INTEGER NOT NULL,
    unpriced        INTEGER NOT NULL,
    unpriced_tokens INTEGER NOT NULL,
    calls           INTEGER NOT NULL,
    first_byte_0    INTEGER NOT NULL,
    first_byte_1    INTEGER NOT NULL,
    first_byte_2    INTEGER NOT NULL,
    first_byte_3    INTEGER NOT NULL,
    first_byte_4    INTEGER NOT NULL,
    first_byte_5    INTEGER NOT NULL,
    first_byte_6    INTEGER NOT NULL,
    first_byte_7    INTEGER NOT NULL,
    first_byte_8    INTEGER NOT NULL,
    first_byte_9    INTEGER NOT NULL,
    PRIMARY KEY (initiator_id, part, span, at, provider, model, client, name)
) STRICT, WITHOUT ROWID;

INSERT INTO user_rollups
SELECT
    initiator_id, 0, 0, started_at / 900000000, provider, model, client, outcome, sum(requests), sum(errors), sum(input),
    sum(output), sum(cache_read), sum(cache_write), min(sum(cost / 1000000), 9000000000000) * 1000000 + sum(cost % 1000000),
    min(sum(estimated / 1000000), 9000000000000) * 1000000 + sum(estimated % 1000000), sum(unpriced), sum(unpriced_tokens),
    sum(calls), count(*) FILTER (WHERE first_byte > 0 AND first_byte < 100000),
    count(*) FILTER (WHERE first_byte >= 100000 AND first_byte < 250000),
    count(*) FILTER (WHERE first_byte >= 250000 AND first_byte < 500000),
    count(*) FILTER (WHERE first_byte >= 500000 AND first_byte < 750000),
    count(*) FILTER (WHERE first_byte >= 750000 AND first_byte < 1000000),
    count(*) FILTER (WHERE first_byte >= 1000000 AND first_byte < 1500000),
    count(*) FILTER (WHERE first_byte >= 1500000 AND first_byte < 2500000),
    count(*) FILTER (WHERE first_byte >= 2500000 AND first_byte < 5000000),
    count(*) FILTER (WHERE first_byte >= 5000000 AND first_byte < 15000000), count(*) FILTER (WHERE first_byte >= 15000000)
FROM facts GROUP BY initiator_id, started_at / 900000000, provider, model, client, outcome;

INSERT INTO user_rollups
SELECT
    initiator_id, 1, 0, started_at / 900000000, '', '', '', t.key, count(*), 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(t.value), 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0
FROM facts, json_each(tools) t WHERE tools LIKE '{%' GROUP BY initiator_id, started_at / 900000000, t.key;

INSERT INTO user_rollups
SELECT
    initiator_id, part, 1, at / 96 * 96, provider, model, client, name, sum(requests), sum(errors), sum(input), sum(output),
    sum(cache_read), sum(cache_write), min(sum(cost / 1000000), 9000000000000) * 1000000 + sum(cost % 1000000),
    min(sum(estimated / 1000000), 9000000000000) * 1000000 + sum(estimated % 1000000), sum(unpriced), sum(unpriced_tokens),
    sum(calls), sum(first_byte_0), sum(first_byte_1), sum(first_byte_2), sum(first_byte_3), sum(first_byte_4),
    sum(first_byte_5), sum(first_byte_6), sum(first_byte_7), sum(first_byte_8), sum(first_byte_9)
FROM user_rollups GROUP BY initiator_id, part, at / 96 * 96, provider, model, client, name;
