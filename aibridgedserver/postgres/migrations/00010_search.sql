-- The words of prompts, as SQLite's migration of this version has them. An id is that of its session times 2^20 and the
-- number of the prompt in the session.

-- +goose Up
CREATE TABLE prompt_search (
    id    bigint   NOT NULL PRIMARY KEY,
    words tsvector NOT NULL
);

CREATE INDEX prompt_search_by_words ON prompt_search USING gin (words);
