package aibridgedserver

import (
	"context"
	"math"

	"github.com/google/uuid"
)

// Query is a statement with its arguments.
type Query struct {
	Text string
	Args []any
}

// ReportQueries returns queries like those that a report of filter makes, with the same conditions and orders.
func (s *Server) ReportQueries(ctx context.Context, filter InterceptionFilter) ([]Query, error) {
	r, _, err := s.resolve(ctx, filter)
	if err != nil {
		return nil, err
	}
	after := position{startedAt: math.MinInt64}
	var queries []Query
	for _, tail := range []string{` ORDER BY i.started_at DESC, i.id DESC LIMIT 1 OFFSET 5`, ` ORDER BY i.started_at, i.id LIMIT 100`} {
		text, args := s.db.keyset(`SELECT i.model`, r, after)
		queries = append(queries, Query{text + tail, args})
	}
	if r.endedSince != 0 {
		long := r
		long.longBefore = r.endedSince - longInterception
		text, args := s.db.keyset(`SELECT i.model`, long, after)
		queries = append(queries, Query{text, args})
		queries = append(queries, Query{s.db.selectFirstLong(), []any{r.endedSince}})
	}
	id := uuid.Nil
	for _, children := range []string{selectPrompts, selectTokenUsages, selectToolUsages, selectThoughts} {
		queries = append(queries, Query{children + ` WHERE interception_id IN ($1, $2)`, []any{id[:], id[:]}})
	}
	return queries, nil
}

// PruneQueries returns the statements of a step of [Server.Prune].
func PruneQueries() []Query {
	queries := []Query{{deleteOldest, []any{true, 0, 10}}}
	for _, table := range childTables() {
		queries = append(queries, Query{deleteFromOldest(table), []any{true, 0, 10, 10}})
	}
	return queries
}

// ReportStarts returns where the parts of a report begin, in microseconds.
func (s *Server) ReportStarts(ctx context.Context, filter InterceptionFilter) (starts []int64, err error) {
	r, _, err := s.resolve(ctx, filter)
	if err != nil {
		return nil, err
	}
	parts, err := s.parts(ctx, filter, r)
	for _, p := range parts {
		starts = append(starts, p.after.startedAt)
	}
	return starts, err
}

// ExportedColumns returns the columns of an export, each behind its table and a dot.
func ExportedColumns() (columns []string) {
	for _, t := range storedTables() {
		for _, column := range t.columns {
			columns = append(columns, t.name+"."+column.name)
		}
	}
	return columns
}
