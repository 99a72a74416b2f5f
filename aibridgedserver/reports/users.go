package reports

import (
	"context"
	"database/sql"
	"slices"

	"github.com/google/uuid"
)

// nameUsers sets the names of rows whose values are the ids of users. A user who is not known keeps the id.
func nameUsers(ctx context.Context, tx querier, rows []Row) error {
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.Value
	}
	names, err := usernames(ctx, tx, ids)
	for i, row := range rows {
		if name := names[row.Value]; name != "" {
			rows[i].Name = name
		}
	}
	return err
}

// usernames returns the names of users by their ids.
func usernames(ctx context.Context, tx querier, ids []string) (map[string]string, error) {
	names := map[string]string{}
	known := make([]any, 0, len(ids))
	for _, id := range ids {
		if uuid.Validate(id) == nil { // Another text is nobody's.
			known = append(known, id)
		}
	}
	for chunk := range slices.Chunk(known, mostPlaceholders) {
		var args arguments
		in := args.list(chunk)
		_, err := all(ctx, tx, query{`SELECT id, username FROM users WHERE id IN (` + in + `)`, args},
			func(rows *sql.Rows) (id string, err error) {
				var name string
				err = rows.Scan(&id, &name)
				names[id] = name
				return id, err
			})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// UserID returns the id of a user, or [ErrNotFound].
func (r *Reports) UserID(ctx context.Context, username string) (string, error) {
	ids, err := all(ctx, r.db.Reader, query{`SELECT id FROM users WHERE username = $1`, arguments{username}}, func(rows *sql.Rows) (id string, err error) {
		err = rows.Scan(&id)
		return id, err
	})
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", ErrNotFound
	}
	return ids[0], nil
}
