-- The same as SQLite's migration of this version: how much users and groups may spend in a period.

-- +goose Up
CREATE TABLE budgets (
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('user', 'group')),
    subject    text COLLATE "C" NOT NULL,
    period     text             NOT NULL CHECK (period IN ('day', 'week', 'month')),
    amount     bigint           NOT NULL CHECK (amount > 0),
    changed_at timestamptz      NOT NULL,
    PRIMARY KEY (kind, subject)
);

CREATE TABLE budget_settings (
    only_row boolean NOT NULL PRIMARY KEY CHECK (only_row),
    number   bigint  NOT NULL,
    zone     text    NOT NULL
);

INSERT INTO budget_settings VALUES (TRUE, 0, 'UTC');

-- The members of a group are found by its name.
CREATE INDEX user_groups_by_name ON user_groups (name, from_at);
