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

// lookup is a way to find a session. A session that is found counts if it is one that fits.
type lookup struct {
	key  sessionKey
	fits func(*session) bool
}

// lookups returns the ways in which an interception finds its session, the best first.
//
// A client whose sub-agents are sessions names the session that started one: they are part of that. Where a client tells
// no session, the request that brings the result of a tool call belongs to the session of the call. If that came first, the
// call belongs to its session. Another prompt begins another session: servers may number the calls of each answer from 0.
func (i *interception) lookups() (all []lookup) {
	user := i.initiator.String()
	if i.clientSession == "" {
		if i.answers != "" {
			all = append(all, lookup{i.callKey(i.answers), func(*session) bool { return true }})
		}
		for _, c := range i.calls {
			if c.id != "" {
				all = append(all, lookup{i.callKey(c.id), func(s *session) bool { return s.startedAt >= i.startedAt }})
			}
		}
		return all
	}
	for _, id := range i.clientSessions() {
		all = append(all, lookup{i.clientKey(id), func(*session) bool { return true }},
			// Keys of earlier versions are without the client.
			lookup{newSessionKey("session", user, id), func(s *session) bool { return s.client == i.client }})
	}
	return all
}

// clientSessions returns the ids of the client's session, and of the one that started it as a sub-agent.
func (i *interception) clientSessions() []string {
	if i.agent.ID == i.clientSession && i.agent.Parent != "" && i.agent.Parent != i.clientSession {
		return []string{i.clientSession, i.agent.Parent}
	}
	return []string{i.clientSession}
}

func (i *interception) clientKey(id string) sessionKey {
	return newSessionKey("client's session", i.initiator.String(), i.client, id)
}

func (i *interception) callKey(id string) sessionKey {
	return newSessionKey("call", i.initiator.String(), i.client, id)
}

// sessionOf returns the session of an interception that has none yet. It makes one if there is none.
func (d *derivation) sessionOf(i *interception) *session {
	for _, l := range i.lookups() {
		if id, ok := d.keys[l.key]; ok && d.sessions[id] != nil && l.fits(d.sessions[id]) {
			return d.sessions[id]
		}
	}
	d.nextID++
	s := &session{
		id: d.nextID, isNew: true, initiator: i.initiator, client: i.client, startedAt: i.startedAt,
		clientSession: sql.NullString{String: i.clientSession, Valid: i.clientSession != ""},
	}
	d.sessions[s.id] = s
	return s
}

// lead makes the keys of an interception lead to its session. Those of a client's session, and of a call whose result it brought,
// keep leading where they do. Those of its own calls lead to it from when they are known: of calls with one id, the last counts.
func (d *derivation) lead(i *interception, before *facts, s *session) {
	to := func(key sessionKey, replaces bool) {
		if old, ok := d.keys[key]; !ok || replaces && old != s.id {
			d.keys[key], d.newKeys[key] = s.id, s.id
		}
	}
	if i.clientSession != "" {
		for _, id := range i.clientSessions() {
			to(i.clientKey(id), false)
		}
		return
	}
	if i.answers != "" {
		to(i.callKey(i.answers), false)
	}
	for _, c := range i.calls {
		if c.id != "" {
			to(i.callKey(c.id), before == nil || before.sums[calls] == 0)
		}
	}
}

// readSessions reads the sessions that a step may change.
func (d *derivation) readSessions(ctx context.Context, tx querier, seen *records, old map[uuid.UUID]*facts) error {
	var keys []uuid.UUID
	for _, i := range seen.interceptions {
		for _, l := range i.lookups() {
			keys = append(keys, uuid.UUID(l.key))
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

// byClientSession is the kind of the ids that clients have for a session. It is no dimension of sums.
const byClientSession Dimension = 7

// clientSessionValue returns the id that a client has for a session as a value.
func clientSessionValue(id string) string { return storable.Cut(id, longestClientSession) }

// longestClientSession bounds an id of a client's session by which one is found, in bytes.
const longestClientSession = 1024

// sessionValue is something by which a session is found.
type sessionValue struct {
	session int64
	kind    Dimension
	value   string
}

// note notes by what the session of an interception is found.
func (d *derivation) note(i *interception, f *facts, s *session) {
	add := func(kind Dimension, value string) {
		if value != "" {
			d.values[sessionValue{s.id, kind, value}] = s.startedAt
		}
	}
	add(ByModel, f.model)
	add(ByClient, f.client)
	add(ByProvider, f.provider)
	add(byClientSession, clientSessionValue(i.clientSession))
	add(byClientSession, clientSessionValue(i.agent.ID))
	if f.outcome != Running {
		add(ByOutcome, f.outcome)
	}
	for tool := range f.tools {
		add(ByTool, tool)
	}
}
