package aibridgedserver

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"
)

// pageSize is how many interceptions are read at a time, with all that belongs to them.
const pageSize = 100

// InterceptionFilter says which interceptions a report is about. The zero value is all of them.
type InterceptionFilter struct {
	// ID, where it is not empty, keeps the one with this id, in the canonical form of a UUID.
	ID string
	// Username, where it is not empty, keeps those that this user initiated. A name that nobody has keeps none.
	Username string
	// Since, where it is not zero, keeps those that started at that time or later.
	Since time.Time
	// EndedSince, where it is not zero, keeps those that ended at that time or later.
	EndedSince time.Time
	// Limit, where above zero, keeps that many of the newest.
	Limit int
}

// Interceptions yields the interceptions that filter keeps, the oldest first, each with all that was recorded of it.
// An interception whose start is not recorded yet is not among them.
//
// It reads page by page and holds nothing of the database while the caller is at work, so that a slow reader hinders no
// writer; what is recorded meanwhile may or may not be seen. It ends after the first error.
func (s *Server) Interceptions(ctx context.Context, filter InterceptionFilter) iter.Seq2[*Interception, error] {
	return func(yield func(*Interception, error) bool) {
		after, err := s.reportStart(ctx, filter)
		left := math.MaxInt
		if filter.Limit > 0 {
			left = filter.Limit
		}
		for err == nil && left > 0 {
			var page []*Interception
			size := min(left, pageSize)
			if page, err = s.page(ctx, filter, after, size); err != nil {
				break
			}
			for _, interception := range page {
				if !yield(interception, nil) {
					return
				}
			}
			if len(page) < size {
				return
			}
			last := page[len(page)-1]
			after = position{last.StartedAt.UnixMicro(), last.ID}
			left -= len(page)
		}
		if err != nil {
			yield(nil, fmt.Errorf("list interceptions: %w", err))
		}
	}
}

// position is a place in the order of interceptions: at the one with that start and that id.
type position struct {
	startedAt int64
	id        string
}

// reportStart returns the position behind which filter's interceptions begin.
func (s *Server) reportStart(ctx context.Context, filter InterceptionFilter) (position, error) {
	start := position{startedAt: math.MinInt64}
	if !filter.Since.IsZero() {
		start.startedAt = filter.Since.UnixMicro()
	}
	if filter.Limit <= 0 {
		return start, nil
	}
	// The newest that is one too many, if there are so many.
	query, args := keyset(`SELECT i.started_at, i.id`, filter, start)
	query += ` ORDER BY i.started_at DESC, i.id DESC LIMIT 1 OFFSET ` + placeholder(&args, filter.Limit)
	err := s.db.Reader.QueryRowContext(ctx, query, args...).Scan(&start.startedAt, &start.id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return start, err
}

// keyset returns a selection from the interceptions, with the conditions that filter and after make, and the arguments
// of these.
func keyset(selection string, filter InterceptionFilter, after position) (query string, args []any) {
	query = selection + ` FROM interceptions i LEFT JOIN users u ON u.id = i.initiator_id
		LEFT JOIN interception_ends e ON e.interception_id = i.id
		WHERE (i.started_at, i.id) > (` + placeholder(&args, after.startedAt) + `, ` + placeholder(&args, after.id) + `)`
	if filter.ID != "" {
		query += ` AND i.id = ` + placeholder(&args, filter.ID)
	}
	if filter.Username != "" {
		query += ` AND i.initiator_id = (SELECT id FROM users WHERE username = ` + placeholder(&args, filter.Username) + `)`
	}
	if !filter.EndedSince.IsZero() {
		query += ` AND e.ended_at >= ` + placeholder(&args, filter.EndedSince.UnixMicro())
	}
	return query, args
}

// placeholder adds value to args and returns the placeholder that stands for it.
func placeholder(args *[]any, value any) string {
	*args = append(*args, value)
	return "$" + strconv.Itoa(len(*args))
}

const selectInterceptions = `SELECT i.id, COALESCE(u.username, ''), i.initiator_id, i.api_key_id, i.provider,
	i.provider_name, i.model, i.client, i.client_session_id, i.user_agent, i.correlating_tool_call_id,
	i.credential_kind, COALESCE(NULLIF(e.credential_hint, ''), i.credential_hint), i.metadata, i.request_bytes,
	i.request_sha256, i.started_at, e.ended_at, e.error_type, e.error_message, e.response_bytes, e.response_sha256`

// page returns the size interceptions behind after, or as many as there are. All of it is read in one transaction, so
// that no interception is seen in two states.
func (s *Server) page(
	ctx context.Context, filter InterceptionFilter, after position, size int,
) ([]*Interception, error) {
	query, args := keyset(selectInterceptions, filter, after)
	query += ` ORDER BY i.started_at, i.id LIMIT ` + placeholder(&args, size)
	var page []*Interception
	err := inTx(ctx, s.db.Reader, &sql.TxOptions{ReadOnly: true}, func(tx *sql.Tx) error {
		err := each(ctx, tx, query, args, func(rows *sql.Rows) error {
			interception, err := scanInterception(rows)
			page = append(page, interception)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		return loadChildren(ctx, tx, page)
	})
	return page, err
}

func scanInterception(rows *sql.Rows) (*Interception, error) {
	i := &Interception{
		Prompts: []Prompt{}, TokenUsages: []TokenUsage{}, ToolUsages: []ToolUsage{}, ModelThoughts: []ModelThought{},
	}
	var ended sql.NullInt64
	var request, response []byte
	err := rows.Scan(&i.ID, &i.Initiator, &i.InitiatorID, &i.APIKeyID, &i.Provider, &i.ProviderName, &i.Model,
		&i.Client, &i.ClientSessionID, &i.UserAgent, &i.CorrelatingToolCallID, &i.CredentialKind, &i.CredentialHint,
		(*[]byte)(&i.Metadata), &i.RequestBytes, &request, (*instant)(&i.StartedAt), &ended, &i.ErrorType, &i.ErrorMessage,
		&i.ResponseBytes, &response)
	i.EndedAt = timeOrNil(ended)
	i.RequestSHA256, i.ResponseSHA256 = hexOrNil(request), hexOrNil(response)
	return i, err
}

// hexOrNil returns the bytes that a column holds as text.
func hexOrNil(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	text := hex.EncodeToString(bytes)
	return &text
}
