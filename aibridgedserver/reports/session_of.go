package reports

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/storable"
)

// longestTitle is how many bytes a session's title has at most.
const longestTitle = 200

// session is a row of sessions that a step changes.
type session struct {
	id            int64
	isNew         bool
	initiator     uuid.UUID
	client        string
	clientSession sql.NullString
	startedAt     int64
	lastAt        int64
	title         string
	titleFrom     uuid.UUID
	titleAt       int64 // Zero: there was no title yet.
	searchable    int64
	kept          int64
	sums          tally
}

// saw takes over what an interception says of its session.
func (s *session) saw(i *interception) {
	s.lastAt = max(s.lastAt, i.startedAt, i.endedAt.Int64)
	if i.prompt == nil || i.prompt.generated || i.agent.ID != "" || s.titleAt != 0 && s.titleAt <= i.startedAt {
		return
	}
	if title := titleOf(i.prompt.text); title != "" {
		s.title, s.titleFrom, s.titleAt = title, i.id, i.startedAt
	}
}

// titleOf returns the beginning of a prompt, in one line.
func titleOf(prompt string) string {
	const enough = 4 * longestTitle // White space goes.
	return storable.Cut(strings.Join(strings.Fields(storable.Cut(prompt, enough)), " "), longestTitle)
}

// sessionKey finds a session. It is a hash, since what clients tell may be long.
type sessionKey [16]byte

func newSessionKey(parts ...string) sessionKey {
	hash := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sessionKey(hash[:16])
}

// keys returns the keys by which an interception finds its session, and those that lead to that session from then on.
//
// A client whose sub-agents are sessions names the session that started one: they are part of that. Where a client tells
// no session, the request that brings the result of a tool call belongs to the session of the call.
func (i *interception) keys() (find, lead []sessionKey) {
	user := i.initiator.String()
	if i.clientSession != "" {
		own := newSessionKey("session", user, i.clientSession)
		find, lead = []sessionKey{own}, []sessionKey{own}
		if i.agent.ID == i.clientSession && i.agent.Parent != "" && i.agent.Parent != i.clientSession {
			parent := newSessionKey("session", user, i.agent.Parent)
			find, lead = append(find, parent), append(lead, parent)
		}
		return find, lead
	}
	if i.answers != "" {
		find = append(find, newSessionKey("call", user, i.client, i.answers))
	}
	for _, c := range i.calls {
		if c.id != "" {
			find = append(find, newSessionKey("call", user, i.client, c.id))
		}
	}
	return find, find
}

// sessionOf returns the session of an interception that has none yet. It makes one if there is none.
func (d *derivation) sessionOf(i *interception) *session {
	find, _ := i.keys()
	var s *session
	for _, key := range find {
		if id, ok := d.keys[key]; ok && d.sessions[id] != nil {
			s = d.sessions[id]
			break
		}
	}
	if s == nil {
		d.nextID++
		s = &session{
			id: d.nextID, isNew: true, initiator: i.initiator, client: i.client, startedAt: i.startedAt,
			clientSession: sql.NullString{String: i.clientSession, Valid: i.clientSession != ""},
		}
		d.sessions[s.id] = s
	}
	return s
}

// lead makes keys lead to a session, unless they lead to one already.
func (d *derivation) lead(keys []sessionKey, s *session) {
	for _, key := range keys {
		if _, ok := d.keys[key]; !ok {
			d.keys[key], d.newKeys[key] = s.id, s.id
		}
	}
}

// readSessions reads the sessions that a step may change.
func (d *derivation) readSessions(ctx context.Context, tx querier, seen *records, old map[uuid.UUID]*facts) error {
	var keys []uuid.UUID
	for _, i := range seen.interceptions {
		find, lead := i.keys()
		for _, key := range append(find, lead...) {
			keys = append(keys, uuid.UUID(key))
		}
	}
	var ids []any
	err := byIDs(keys, `SELECT key, session FROM session_keys WHERE key`, func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (key uuid.UUID, err error) {
			var id int64
			err = rows.Scan(&key, &id)
			d.keys[sessionKey(key)] = id
			ids = append(ids, id)
			return key, err
		})
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range old {
		ids = append(ids, f.session)
	}
	for chunk := range slices.Chunk(ids, mostPlaceholders) {
		var args arguments
		in := args.list(chunk)
		found, err := all(ctx, tx, query{selectSessionsOf() + ` IN (` + in + `)`, args}, scanSession)
		if err != nil {
			return err
		}
		for _, s := range found {
			if d.sessions[s.id] == nil {
				d.sessions[s.id] = s
			}
		}
	}
	last, err := all(ctx, tx, query{text: `SELECT coalesce(max(id), 0) FROM sessions`}, func(rows *sql.Rows) (id int64, err error) {
		err = rows.Scan(&id)
		return id, err
	})
	if err == nil {
		d.nextID = last[0]
	}
	return err
}

func selectSessionsOf() string {
	return `SELECT id, initiator_id, client, client_session_id, started_at, last_at, title, title_from, title_at, searchable,
	kept, ` + columnList(sessionWide, "") + ` FROM sessions WHERE id`
}

func scanSession(rows *sql.Rows) (*session, error) {
	var s session
	var from uuid.NullUUID
	targets := []any{
		&s.id, &s.initiator, &s.client, &s.clientSession, &s.startedAt, &s.lastAt, &s.title, &from, &s.titleAt, &s.searchable, &s.kept,
	}
	err := rows.Scan(append(targets, s.sums.targets(sessionWide)...)...)
	s.titleFrom = from.UUID
	return &s, err
}

// values returns the values of sessionColumns.
func (s *session) values() []any {
	var clientSession, from any
	if s.clientSession.Valid {
		clientSession = s.clientSession.String
	}
	if s.titleAt != 0 {
		from = s.titleFrom[:]
	}
	values := []any{
		s.id, s.initiator[:], s.client, clientSession, s.startedAt, s.lastAt, s.title, from, s.titleAt, s.searchable, s.kept,
	}
	for _, n := range s.sums[:sessionWide] {
		values = append(values, n)
	}
	return values
}

// sessionValue is something by which a session is found.
type sessionValue struct {
	session int64
	kind    Dimension
	value   string
}

// note notes by what the session of an interception is found.
func (d *derivation) note(f *facts, s *session) {
	add := func(kind Dimension, value string) {
		if value != "" {
			d.values[sessionValue{s.id, kind, value}] = s.startedAt
		}
	}
	add(ByModel, f.model)
	add(ByClient, f.client)
	add(ByProvider, f.provider)
	if f.outcome != Running {
		add(ByOutcome, f.outcome)
	}
	for tool := range f.tools {
		add(ByTool, tool)
	}
}
