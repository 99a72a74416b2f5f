-- How much users and groups may spend in a period. Subject is the id of a user or the name of a group. The amount is in
-- millionths of a millionth of a dollar, as costs are.

-- +goose Up
CREATE TABLE budgets (
    kind       TEXT    NOT NULL CHECK (kind IN ('user', 'group')),
    subject    TEXT    NOT NULL,
    period     TEXT    NOT NULL CHECK (period IN ('day', 'week', 'month')),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- The number grows with each change to budgets. Zone is the time zone of their periods, as the gateway that ran last has it.
CREATE TABLE budget_settings (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL,
    zone     TEXT    NOT NULL
) STRICT;

INSERT INTO budget_settings VALUES (1, 0, 'UTC');

-- The members of a group are found by its name.
CREATE INDEX user_groups_by_name ON user_groups (name, from_at);
