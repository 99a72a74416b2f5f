-- The words of prompts. The texts themselves are not kept twice. A row's id is that of its session times 2^20 and the
-- number of the prompt in the session, so that a search in the order of ids finds the prompts of one session together.

-- +goose Up
CREATE VIRTUAL TABLE prompt_search USING fts5 (prompt, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2');
