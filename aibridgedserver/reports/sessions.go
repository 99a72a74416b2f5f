package reports

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
)

// Session is a session of a client, or what belongs together by its tool calls.
type Session struct {
	ID              int64     `json:"id"`
	UserID          string    `json:"user_id"`
	User            string    `json:"user"` // Username, or empty if the initiator is no user.
	Client          string    `json:"client"`
	ClientSessionID string    `json:"client_session_id"` // Empty: the client told none.
	Title           string    `json:"title"`             // The beginning of the first prompt.
	StartedAt       time.Time `json:"started_at"`
	LastAt          time.Time `json:"last_at"`
	Models          []string  `json:"models"`

	Figures
}

// SessionFilter says which sessions a list has.
type SessionFilter struct {
	// Range, if not zero, keeps those that began in it.
	Range Range
	// UserID, Model, Client, Provider, Tool and Outcome, if not empty, keep those that have such an interception. An outcome
	// is [OK] or the type of an error.
	UserID, Model, Client, Provider, Tool, Outcome string
	// Text, if not empty, keeps those with a prompt that has all of its words.
	Text string
	// Dearest lists the dearest first instead of the latest. It cannot be together with Text.
	Dearest bool
	// After is [SessionPage.Next] of the page before. Empty: the first page.
	After string
	// Limit is how many sessions a page has, 50 if it is zero. There are at most 200.
	Limit int
}

// SessionPage is a part of a list of sessions.
type SessionPage struct {
	Sessions []Session `json:"sessions"`
	// Next is the place of the next page. Empty: there is none. A page may be short, or even empty, and have a next one.
	Next string `json:"next"`
}

const (
	usualPage = 50
	mostAPage = 200
	// mostExamined bounds how much a page reads to find what matches.
	mostExamined = 5000
)

// ErrPlace is the error for a place in a list that no page of it has given.
var ErrPlace = errors.New("this place is not in the list")

// Sessions returns a page of a list of sessions. Its titles are the beginnings of prompts, so a list in which others' may be
// is noted in the access log.
func (r *Reports) Sessions(ctx context.Context, v Viewer, f SessionFilter) (*SessionPage, error) {
	if !v.Admin {
		if v.UserID == "" || f.UserID != "" && f.UserID != v.UserID {
			return nil, ErrNotFound
		}
		f.UserID = v.UserID
	}
	if f.Range == (Range{}) {
		f.Range = Range{time.UnixMicro(0), time.UnixMicro(math.MaxInt64)}
	} else {
		f.Range = f.Range.Aligned()
	}
	if f.Limit <= 0 {
		f.Limit = usualPage
	}
	f.Limit = min(f.Limit, mostAPage)
	if err := r.noteAccess(ctx, v, f.UserID, "sessions", f.Text); err != nil {
		return nil, err
	}
	var page *SessionPage
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		switch {
		case f.Text != "":
			page, err = searchSessions(ctx, r.db.Search, tx, f)
		case f.Dearest:
			page, err = dearestSessions(ctx, tx, f, mostSorted)
		default:
			page, err = listSessions(ctx, tx, f, mostExamined)
		}
		if err != nil {
			return err
		}
		return completeSessions(ctx, tx, page.Sessions)
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return page, nil
}

func selectSessions() string {
	return `SELECT s.id, s.initiator_id, s.client, coalesce(s.client_session_id, ''), s.title, s.started_at, s.last_at, ` +
		columnList(sessionWide, "s.")
}

func scanSessionRow(rows *sql.Rows) (s Session, err error) {
	var user uuid.UUID
	var started, last int64
	var t tally
	err = rows.Scan(append([]any{&s.ID, &user, &s.Client, &s.ClientSessionID, &s.Title, &started, &last}, t.targets(sessionWide)...)...)
	s.UserID, s.Figures = user.String(), t.figures()
	s.StartedAt, s.LastAt = time.UnixMicro(started).UTC(), time.UnixMicro(last).UTC()
	return s, err
}

// kinds returns the filter's values by their kinds.
func (f SessionFilter) kinds() (kinds []sessionValue) {
	for _, one := range []sessionValue{
		{0, ByTool, f.Tool}, {0, ByModel, f.Model}, {0, ByOutcome, f.Outcome}, {0, ByProvider, f.Provider}, {0, ByClient, f.Client},
	} {
		if one.value != "" {
			kinds = append(kinds, one)
		}
	}
	return kinds
}

// having returns the conditions that a session has these values.
func having(args *arguments, kinds []sessionValue) (conditions string) {
	for _, one := range kinds {
		conditions += ` AND EXISTS (SELECT 1 FROM session_values w WHERE w.session = s.id AND w.kind = ` + args.add(int(one.kind)) +
			` AND w.value = ` + args.add(one.value) + `)`
	}
	return conditions
}

// ofUser returns the condition that a session is a user's. A text that is no id is nobody's.
func ofUser(args *arguments, userID string) string {
	user, _ := uuid.Parse(userID)
	return `s.initiator_id = ` + args.add(user[:])
}

// searchSessions lists the sessions with a prompt that has the filter's words, in the order in which they were first seen,
// the latest first.
func searchSessions(ctx context.Context, index aibridgedserver.Search, tx querier, f SessionFilter) (*SessionPage, error) {
	below := int64(math.MaxInt64 / promptsASession)
	if f.After != "" {
		var err error
		if below, err = strconv.ParseInt(f.After, 10, 64); err != nil || below < 0 || below > math.MaxInt64/promptsASession {
			return nil, ErrPlace
		}
	}
	page := &SessionPage{}
	words := wordsOf(f.Text)
	if len(words) == 0 {
		return page, nil
	}
	for examined, size := 0, mostAPage; examined < mostExamined; size = min(size*4, mostExamined) { // Each search has a cost of its own.
		prompts, err := all(ctx, tx, searchedSessions(index, words, below, size), func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			return id, err
		})
		if err != nil {
			return nil, err
		}
		if len(prompts) == 0 {
			return page, nil
		}
		var ids []int64
		for _, id := range prompts {
			if session := id / promptsASession; len(ids) == 0 || ids[len(ids)-1] != session {
				ids = append(ids, session)
			}
		}
		examined += len(ids)
		for part := range slices.Chunk(ids, mostAPage) {
			found, err := all(ctx, tx, sessionsOf(f, part), scanSessionRow)
			if err != nil {
				return nil, err
			}
			for _, s := range found {
				page.Sessions = append(page.Sessions, s)
				if len(page.Sessions) == f.Limit {
					page.Next = strconv.FormatInt(s.ID, 10)
					return page, nil
				}
			}
		}
		below = ids[len(ids)-1]
	}
	page.Next = strconv.FormatInt(below, 10)
	return page, nil
}

// sessionsOf returns the query for those of some sessions that a filter keeps, the latest first.
func sessionsOf(f SessionFilter, ids []int64) query {
	var args arguments
	var in []string
	for _, id := range ids {
		in = append(in, args.add(id))
	}
	text := selectSessions() + ` FROM sessions s WHERE s.id IN (` + strings.Join(in, ", ") + `) AND s.started_at >= ` +
		args.add(f.Range.From.UnixMicro()) + ` AND s.started_at < ` + args.add(f.Range.To.UnixMicro())
	if f.UserID != "" {
		text += ` AND ` + ofUser(&args, f.UserID)
	}
	return query{text + having(&args, f.kinds()) + ` ORDER BY s.id DESC`, args}
}

// completeSessions adds the names of users and the models.
func completeSessions(ctx context.Context, tx querier, sessions []Session) error {
	users := make([]string, len(sessions))
	for i, s := range sessions {
		users[i] = s.UserID
	}
	slices.Sort(users)
	names, err := usernames(ctx, tx, slices.Compact(users))
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(sessions, mostPlaceholders) {
		var args arguments
		var in []string
		at := map[int64]*Session{}
		for i := range chunk {
			s := &chunk[i]
			s.User, s.Models = names[s.UserID], []string{}
			at[s.ID] = s
			in = append(in, args.add(s.ID))
		}
		_, err := all(ctx, tx, query{`SELECT session, value FROM session_values WHERE session IN (` + strings.Join(in, ", ") + `) AND kind = ` +
			args.add(int(ByModel)), args}, func(rows *sql.Rows) (id int64, err error) {
			var model string
			err = rows.Scan(&id, &model)
			at[id].Models = append(at[id].Models, model)
			return id, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
