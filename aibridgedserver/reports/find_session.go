package reports

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/storable"
)

// mostFound bounds how many sessions a text names.
const mostFound = 100

// FindSession returns the id of the session that a text names, the first one of [Reports.FindSessions].
func (r *Reports) FindSession(ctx context.Context, v Viewer, text string) (int64, error) {
	found, err := r.FindSessions(ctx, v, text)
	if err != nil {
		return 0, err
	}
	return found[0].ID, nil
}

// FindSessions returns the sessions that a text names and a viewer may see, at most 100: the one with that id, that of the
// interception with that id, and then, the latest first, those for which a client has that id: several users and clients may
// have the same one, and those of sub-agents are part of others. If there is none, the error is [ErrNotFound].
func (r *Reports) FindSessions(ctx context.Context, v Viewer, text string) (sessions []Session, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		var ids []int64
		for _, q := range findQueries(v, storable.Text(text)) {
			found, err := all(ctx, tx, q, func(rows *sql.Rows) (id int64, err error) {
				err = rows.Scan(&id)
				return id, err
			})
			if err != nil {
				return err
			}
			for _, id := range found {
				if !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
		for _, id := range ids {
			found, err := all(ctx, tx, query{selectSessions() + ` FROM sessions s WHERE s.id = $1`, arguments{id}}, scanSessionRow)
			if err != nil {
				return err
			}
			if len(found) > 0 && v.sees(found[0].UserID) {
				sessions = append(sessions, found[0])
			}
		}
		return completeSessions(ctx, tx, sessions)
	})
	if err != nil {
		return nil, fmt.Errorf("find session: %w", err)
	}
	if len(sessions) == 0 {
		return nil, ErrNotFound
	}
	return sessions, nil
}

// findQueries returns the queries for the ids of the sessions that a text names, the best first.
func findQueries(v Viewer, text string) (queries []query) {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		queries = append(queries, query{`SELECT id FROM sessions WHERE id = $1`, arguments{id}})
	}
	if id, err := uuid.Parse(text); err == nil {
		queries = append(queries, query{`SELECT session FROM facts WHERE interception_id = $1`, arguments{id[:]}})
	}
	var args arguments
	named := `SELECT v.session FROM session_values v JOIN sessions s ON s.id = v.session WHERE v.kind = ` + args.add(int(byClientSession)) +
		` AND v.value = ` + args.add(clientSessionValue(text))
	if !v.Admin {
		named += ` AND ` + ofUser(&args, v.UserID)
	}
	return append(queries, query{named + ` ORDER BY v.started_at DESC, v.session DESC LIMIT ` + args.add(mostFound), args})
}
