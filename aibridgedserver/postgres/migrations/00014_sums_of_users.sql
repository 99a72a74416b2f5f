-- The same as SQLite's migration of this version: sums of each user. A tool whose name has a NUL has none of what was before.

-- +goose Up
-- The table derivation_steps takes the place of derivations. A program that does not know these sums cannot derive any more, also one
-- that runs: what it derived would be missing in them.
CREATE TABLE derivation_steps (
    only_row boolean NOT NULL PRIMARY KEY CHECK (only_row),
    number   bigint  NOT NULL
);

INSERT INTO derivation_steps SELECT only_row, number FROM derivations;

-- +goose StatementBegin
CREATE FUNCTION newer_program_derives() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a newer program derives costs and sessions from the records here';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER newer_program_derives BEFORE UPDATE ON derivations FOR EACH STATEMENT EXECUTE FUNCTION newer_program_derives();

CREATE TABLE user_rollups (
    initiator_id    uuid NOT NULL,
    part            bigint NOT NULL,
    span            bigint NOT NULL,
    at              bigint NOT NULL,
    provider        text COLLATE "C" NOT NULL,
    model           text COLLATE "C" NOT NULL,
    client          text COLLATE "C" NOT NULL,
    name            text COLLATE "C" NOT NULL,
    requests        bigint NOT NULL,
    errors          bigint NOT NULL,
    input           bigint NOT NULL,
    output          bigint NOT NULL,
    cache_read      bigint NOT NULL,
    cache_write     bigint NOT NULL,
    cost            bigint NOT NULL,
    estimated       bigint NOT NULL,
    unpriced        bigint NOT NULL,
    unpriced_tokens bigint NOT NULL,
    calls           bigint NOT NULL,
    first_byte_0    bigint NOT NULL,
    first_byte_1    bigint NOT NULL,
    first_byte_2    bigint NOT NULL,
    first_byte_3    bigint NOT NULL,
    first_byte_4    bigint NOT NULL,
    first_byte_5    bigint NOT NULL,
    first_byte_6    bigint NOT NULL,
    first_byte_7    bigint NOT NULL,
    first_byte_8    bigint NOT NULL,
    first_byte_9    bigint NOT NULL,
    PRIMARY KEY (initiator_id, part, span, at, provider, model, client, name)
);

INSERT INTO user_rollups
SELECT
    initiator_id, 0, 0, floor(extract(epoch FROM started_at) / 900)::bigint, provider, model, client, outcome,
    sum(requests)::bigint, sum(errors)::bigint, sum(input)::bigint, sum(output)::bigint, sum(cache_read)::bigint,
    sum(cache_write)::bigint, least(sum(cost), 9000000000000000000)::bigint,
    least(sum(estimated), 9000000000000000000)::bigint, sum(unpriced)::bigint, sum(unpriced_tokens)::bigint,
    sum(calls)::bigint, count(*) FILTER (WHERE first_byte > 0 AND first_byte < 100000),
    count(*) FILTER (WHERE first_byte >= 100000 AND first_byte < 250000),
    count(*) FILTER (WHERE first_byte >= 250000 AND first_byte < 500000),
    count(*) FILTER (WHERE first_byte >= 500000 AND first_byte < 750000),
    count(*) FILTER (WHERE first_byte >= 750000 AND first_byte < 1000000),
    count(*) FILTER (WHERE first_byte >= 1000000 AND first_byte < 1500000),
    count(*) FILTER (WHERE first_byte >= 1500000 AND first_byte < 2500000),
    count(*) FILTER (WHERE first_byte >= 2500000 AND first_byte < 5000000),
    count(*) FILTER (WHERE first_byte >= 5000000 AND first_byte < 15000000), count(*) FILTER (WHERE first_byte >= 15000000)
FROM facts GROUP BY initiator_id, floor(extract(epoch FROM started_at) / 900)::bigint, provider, model, client, outcome;

INSERT INTO user_rollups
SELECT
    initiator_id, 1, 0, floor(extract(epoch FROM started_at) / 900)::bigint, '', '', '', t.key, count(*), 0, 0, 0, 0, 0, 0,
    0, 0, 0, sum(t.value::bigint)::bigint, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM facts, json_each_text(tools::json) t WHERE tools LIKE '{%' AND tools NOT LIKE '%\\u0000%' GROUP BY initiator_id, floor(extract(epoch FROM started_at) / 900)::bigint, t.key;

INSERT INTO user_rollups
SELECT
    initiator_id, part, 1, at / 96 * 96, provider, model, client, name, sum(requests)::bigint, sum(errors)::bigint,
    sum(input)::bigint, sum(output)::bigint, sum(cache_read)::bigint, sum(cache_write)::bigint,
    least(sum(cost), 9000000000000000000)::bigint, least(sum(estimated), 9000000000000000000)::bigint, sum(unpriced)::bigint,
    sum(unpriced_tokens)::bigint, sum(calls)::bigint, sum(first_byte_0)::bigint, sum(first_byte_1)::bigint,
    sum(first_byte_2)::bigint, sum(first_byte_3)::bigint, sum(first_byte_4)::bigint, sum(first_byte_5)::bigint,
    sum(first_byte_6)::bigint, sum(first_byte_7)::bigint, sum(first_byte_8)::bigint, sum(first_byte_9)::bigint
FROM user_rollups GROUP BY initiator_id, part, at / 96 * 96, provider, model, client, name;
