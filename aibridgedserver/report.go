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
	"strings"
	"time"

	"github.com/google/uuid"
)

// pageSize is how many interceptions are read at a time, with the records that belong to them.
const pageSize = 100

// InterceptionFilter says which interceptions a report contains. The zero value means all of them.
type InterceptionFilter struct {
	// ID, if not empty, keeps only the interception with this id, a UUID.
	ID string
	// Username, if not empty, keeps only those that this user initiated: none, if there is no such user.
	Username string
	// Since, if not zero, keeps only those that started at that time or later.
	Since time.Time
	// EndedSince, if not zero, keeps only those that ended at that time or later.
	EndedSince time.Time
	// Limit, if above zero, keeps only that many of the newest.
	Limit int

	outline bool // Without what is long.
}

// Interceptions yields the interceptions that filter keeps, the oldest first, each with all that was recorded of it.
// An interception whose start is not recorded yet is not among them.
//
// It reads page by page. While the caller handles a page it holds neither a transaction nor a connection, so a slow
// caller does not delay writers. Records that are stored meanwhile may or may not appear. It ends after the first
// error.
func (s *Server) Interceptions(ctx context.Context, filter InterceptionFilter) iter.Seq2[*Interception, error] {
	return func(yield func(*Interception, error) bool) {
		if err := s.report(ctx, filter, yield); err != nil {
			yield(nil, fmt.Errorf("list interceptions: %w", err))
		}
	}
}

// Outlines is [Server.Interceptions] without what is long: prompts are cut to their beginnings, and there are no inputs
// of tools, no thoughts, and no metadata of what belongs to an interception. It is for lists.
func (s *Server) Outlines(ctx context.Context, filter InterceptionFilter) iter.Seq2[*Interception, error] {
	filter.outline = true
	return s.Interceptions(ctx, filter)
}

// report calls yield with the interceptions that filter keeps, for as long as it returns true.
func (s *Server) report(ctx context.Context, filter InterceptionFilter, yield func(*Interception, error) bool) error {
	r, possible, err := s.resolve(ctx, filter)
	if err != nil || !possible {
		return err
	}
	parts, err := s.parts(ctx, filter, r)
	if err != nil {
		return err
	}
	for _, part := range parts {
		more, err := s.reportPart(ctx, part, filter.Limit, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// part is a stretch of a report that one index finds.
type part struct {
	resolved

	after position
}

// parts returns the stretches of a report, in their order.
func (s *Server) parts(ctx context.Context, filter InterceptionFilter, r resolved) ([]part, error) {
	if r.endedSince == 0 || filter.Limit > 0 {
		after, err := s.reportStart(ctx, filter, r)
		return []part{{r, after}}, err
	}
	// There is no index of all ends, since it would cost time for every interception. One that is not long started at most
	// longInterception before its end. The long ones from before that have an index of their own, so that a single one
	// that began long ago does not make this read everything since.
	first, since := r.endedSince-longInterception, int64(math.MinInt64)
	if !filter.Since.IsZero() {
		since = filter.Since.UnixMicro()
	}
	long := r
	long.longBefore = first
	return []part{{long, position{startedAt: since}}, {r, position{startedAt: max(first, since)}}}, nil
}

// reportPart calls yield with the interceptions of one part, at most limit unless that is zero. It returns false once
// yield does.
func (s *Server) reportPart(ctx context.Context, p part, limit int, yield func(*Interception, error) bool) (more bool, err error) {
	left := math.MaxInt
	if limit > 0 {
		left = limit
	}
	for after := p.after; left > 0; {
		size := min(left, pageSize)
		page, last, err := s.page(ctx, p.resolved, after, size)
		if err != nil {
			return false, err
		}
		for _, interception := range page {
			if !yield(interception, nil) {
				return false, nil
			}
		}
		if len(page) < size {
			break
		}
		after = last
		left -= len(page)
	}
	return true, nil
}

// position is a place in the order of interceptions: that of the interception with this start and this id.
type position struct {
	startedAt int64
	id        uuid.UUID
}

// resolved is a filter whose values are those of the tables' columns.
type resolved struct {
	id, initiator *uuid.UUID // Nil: any.
	endedSince    int64      // Zero: any.
	longBefore    int64      // Only long ones that started before that time. Zero: any.
	outline       bool
}

// resolve returns filter with the values of the tables' columns, and whether anything can match it.
func (s *Server) resolve(ctx context.Context, filter InterceptionFilter) (r resolved, possible bool, err error) {
	if filter.ID != "" {
		id, err := uuid.Parse(filter.ID)
		if err != nil {
			return r, false, nil
		}
		r.id = &id
	}
	if filter.Username != "" {
		r.initiator = &uuid.UUID{}
		err := s.db.reports().QueryRowContext(ctx, `SELECT id FROM users WHERE username = $1`, filter.Username).Scan(r.initiator)
		if errors.Is(err, sql.ErrNoRows) {
			return r, false, nil
		}
		if err != nil {
			return r, false, err
		}
	}
	if !filter.EndedSince.IsZero() {
		r.endedSince = filter.EndedSince.UnixMicro()
	}
	r.outline = filter.outline
	return r, true, nil
}

// Long interceptions, which took more than longInterception microseconds, have an index of their ends. An engine uses it
// only for a query with the same condition as the index: see [Database.Long].
const longInterception = 600_000_000

// selectFirstLong returns the query for when the first of the long interceptions began that ended since a time.
func (d Database) selectFirstLong() string {
	return `SELECT min(started_at) FROM interceptions WHERE ` + d.long() + ` AND ended_at >= $1`
}

// reportStart returns a position before the first interception that filter keeps.
func (s *Server) reportStart(ctx context.Context, filter InterceptionFilter, r resolved) (position, error) {
	start := position{startedAt: math.MinInt64}
	if !filter.Since.IsZero() {
		start.startedAt = filter.Since.UnixMicro()
	}
	if r.endedSince != 0 {
		first := r.endedSince - longInterception
		var long sql.NullInt64
		err := s.db.reports().QueryRowContext(ctx, s.db.selectFirstLong(), r.endedSince).Scan(&long)
		if err != nil {
			return start, err
		}
		if long.Valid {
			first = min(first, long.Int64)
		}
		start.startedAt = max(start.startedAt, first)
	}
	if filter.Limit <= 0 {
		return start, nil
	}
	// The report begins behind the newest interception that is beyond the limit, if there are so many.
	query, args := s.db.keyset(`SELECT i.started_at, i.id`, r, start)
	query += ` ORDER BY i.started_at DESC, i.id DESC LIMIT 1 OFFSET ` + placeholder(&args, filter.Limit)
	err := s.db.reports().QueryRowContext(ctx, query, args...).Scan(&start.startedAt, &start.id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return start, err
}

// keyset returns a query that selects from the interceptions behind after that match r, and its arguments.
func (d Database) keyset(selection string, r resolved, after position) (query string, args []any) {
	query = selection + ` FROM interceptions i WHERE (` + r.startColumn() + `, i.id) > (` + placeholder(&args, after.startedAt) + `, ` +
		placeholder(&args, after.id[:]) + `)`
	if r.longBefore != 0 {
		query += ` AND ` + d.long() + ` AND ` + r.startColumn() + ` < ` + placeholder(&args, r.longBefore)
	}
	if r.initiator != nil {
		// A row with an initiator has started. With the condition on started as well, SQLite would use the index by
		// start instead of that by initiator.
		query += ` AND i.initiator_id = ` + placeholder(&args, r.initiator[:])
	} else {
		query += ` AND ` + r.hidden("i.started") + ` = TRUE`
	}
	if r.id != nil {
		query += ` AND i.id = ` + placeholder(&args, r.id[:])
	}
	if r.endedSince != 0 {
		query += ` AND i.ended_at >= ` + placeholder(&args, r.endedSince)
	}
	return query, args
}

// hidden returns a column in a form that keeps an engine from an index by start. It is there for long interceptions,
// which should be found by the index of their ends and then sorted.
func (r resolved) hidden(column string) string {
	if r.longBefore != 0 {
		return `COALESCE(` + column + `, ` + column + `)`
	}
	return column
}

func (r resolved) startColumn() string { return r.hidden("i.started_at") }

// placeholder adds value to args and returns the placeholder that stands for it.
func placeholder(args *[]any, value any) string {
	*args = append(*args, value)
	return "$" + strconv.Itoa(len(*args))
}

const selectInterceptions = `SELECT i.id, i.initiator_id, i.api_key_id, i.provider, i.provider_name,
	COALESCE(NULLIF(i.model, ''), i.answer_model), i.client,
	i.client_session_id, i.user_agent, i.correlating_tool_call_id, i.credential_kind,
	COALESCE(NULLIF(i.end_credential_hint, ''), i.credential_hint), i.metadata, i.request_bytes, i.request_sha256,
	i.started_at, i.ended_at, i.error_type, i.error_message, i.response_bytes, i.response_sha256,
	i.background_id, i.unread, NULLIF(i.first_byte, 0)`

// page returns the next size interceptions behind after, or fewer at the end, and the position of the last. It reads
// all of them in one transaction, so that each interception and its records fit together.
func (s *Server) page(
	ctx context.Context, r resolved, after position, size int,
) (page []*Interception, last position, err error) {
	query, args := s.db.keyset(selectInterceptions, r, after)
	query += ` ORDER BY ` + r.startColumn() + `, i.id LIMIT ` + placeholder(&args, size)
	parents := make(map[uuid.UUID][]*Interception, size)
	err = inTx(ctx, s.db.reports(), &sql.TxOptions{ReadOnly: true}, func(tx *sql.Tx) error {
		err := each(ctx, tx, query, args, func(rows *sql.Rows) error {
			id, interception, background, err := scanInterception(rows)
			page, parents[id] = append(page, interception), append(parents[id], interception)
			if background.Valid {
				parents[background.UUID] = append(parents[background.UUID], interception)
			}
			last = position{interception.StartedAt.UnixMicro(), id}
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		if err := loadInitiators(ctx, tx, page); err != nil {
			return err
		}
		return loadChildren(ctx, tx, parents, r.outline)
	})
	return page, last, err
}

// scanInterception returns the interception of a row, with its id and that of the background response that it began.
func scanInterception(rows *sql.Rows) (id uuid.UUID, i *Interception, background uuid.NullUUID, err error) {
	i = &Interception{
		Prompts: []Prompt{}, TokenUsages: []TokenUsage{}, ToolUsages: []ToolUsage{}, ModelThoughts: []ModelThought{},
	}
	var initiator uuid.UUID
	var ended sql.NullInt64
	var request, response []byte
	err = rows.Scan(&id, &initiator, &i.APIKeyID, &i.Provider, &i.ProviderName, &i.Model, &i.Client, &i.ClientSessionID,
		&i.UserAgent, &i.CorrelatingToolCallID, &i.CredentialKind, &i.CredentialHint, (*[]byte)(&i.Metadata),
		&i.RequestBytes, &request, (*instant)(&i.StartedAt), &ended, &i.ErrorType, &i.ErrorMessage, &i.ResponseBytes,
		&response, &background, &i.Unread, &i.FirstByteMicros)
	i.ID, i.InitiatorID = id.String(), initiator.String()
	i.EndedAt = timeOrNil(ended)
	i.RequestSHA256, i.ResponseSHA256 = hexOrNil(request), hexOrNil(response)
	return id, i, background, err
}

// loadInitiators adds to the interceptions of a page the names of their initiators.
func loadInitiators(ctx context.Context, tx *sql.Tx, page []*Interception) error {
	names := map[string]string{}
	var args []any
	var in []string
	for _, i := range page {
		if _, ok := names[i.InitiatorID]; !ok {
			names[i.InitiatorID] = ""
			in = append(in, placeholder(&args, i.InitiatorID))
		}
	}
	query := `SELECT id, username FROM users WHERE id IN (` + strings.Join(in, ", ") + `)`
	err := each(ctx, tx, query, args, func(rows *sql.Rows) error {
		var id, name string
		err := rows.Scan(&id, &name)
		names[id] = name
		return err
	})
	for _, i := range page {
		i.Initiator = names[i.InitiatorID]
	}
	return err
}

// hexOrNil returns a column's bytes in hexadecimal, or nil if it is NULL.
func hexOrNil(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	text := hex.EncodeToString(bytes)
	return &text
}
