package reports

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Timeline is a session with a part of what happened in it.
type Timeline struct {
	Session Session `json:"session"`
	// Turns each begin with what a person typed, but perhaps the first one.
	Turns []Turn `json:"turns"`
	// Next is the place of the next part. Empty: there is none.
	Next string `json:"next"`
}

// Turn is what a prompt began.
type Turn struct {
	Prompt string `json:"prompt"` // Empty: the part begins in the middle of a turn, or nobody typed anything.
	Steps  []Step `json:"steps"`
	Figures
}

// Step is an interception of a session. Texts are cut to 16,384 characters.
type Step struct {
	InterceptionID string     `json:"interception_id"`
	StartedAt      time.Time  `json:"started_at"`
	EndedAt        *time.Time `json:"ended_at"` // Nil: it runs.
	Provider       string     `json:"provider"`
	Model          string     `json:"model"`
	Outcome        string     `json:"outcome"`
	ErrorMessage   string     `json:"error_message"`
	// AgentID, ParentAgentID and AgentKind say which sub-agent asked, and for which agent. Empty: the main agent did.
	AgentID       string `json:"agent_id"`
	ParentAgentID string `json:"parent_agent_id"`
	AgentKind     string `json:"agent_kind"`
	Prompt        string `json:"prompt"`
	Generated     bool   `json:"generated"` // The client wrote the prompt, or a sub-agent was given it.
	// AnswersCall is the id of the tool call whose result the request brought, and AnswersStep the interception that made
	// that call, if it is in this part.
	AnswersCall string     `json:"answers_call"`
	AnswersStep string     `json:"answers_step"`
	Thoughts    []string   `json:"thoughts"`
	Calls       []ToolCall `json:"calls"`
	// IsCut says that a text was longer. The interception has all of it.
	IsCut bool `json:"is_cut"`
	Figures
}

// ToolCall is a call that the model made.
type ToolCall struct {
	ID       string `json:"id"`
	Tool     string `json:"tool"`
	Input    string `json:"input"`
	Injected bool   `json:"injected"` // The gateway ran it.
	Error    string `json:"error"`
	// ResultStep is the interception that brought the result, if it is in this part.
	ResultStep string `json:"result_step"`
}

const (
	// stepsAPart is how many interceptions a part of a timeline has.
	stepsAPart = 200
	// longestText is how many characters a timeline shows of a text.
	longestText = 16 << 10
)

// session returns a session that a viewer may see.
func (r *Reports) session(ctx context.Context, v Viewer, id int64) (s Session, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		found, err := all(ctx, tx, query{selectSessions() + ` FROM sessions s WHERE s.id = $1`, arguments{id}}, scanSessionRow)
		if err != nil {
			return err
		}
		if len(found) == 0 || !v.sees(found[0].UserID) {
			return ErrNotFound
		}
		err = completeSessions(ctx, tx, found)
		s = found[0]
		return err
	})
	return s, err
}

// Timeline returns a part of what happened in a session, the first one if after is empty. If the session is another user's,
// the access log notes it.
func (r *Reports) Timeline(ctx context.Context, v Viewer, session int64, after string) (*Timeline, error) {
	for part, err := range r.Timelines(ctx, v, session, after) {
		return part, err
	}
	return nil, ErrNotFound // It is never reached: there is a part, or an error.
}

// Timelines returns the parts of what happened in a session, from a place on. If the session is another user's, the access log
// notes it, once.
func (r *Reports) Timelines(ctx context.Context, v Viewer, session int64, after string) iter.Seq2[*Timeline, error] {
	return func(yield func(*Timeline, error) bool) {
		s, err := r.session(ctx, v, session)
		if err == nil {
			err = r.noteAccess(ctx, v, s.UserID, "session", strconv.FormatInt(session, 10))
		}
		for first := true; err == nil && (first || after != ""); first = false {
			var part *Timeline
			if part, err = r.part(ctx, s, after); err != nil {
				break
			}
			if !yield(part, nil) {
				return
			}
			after = part.Next
		}
		switch {
		case errors.Is(err, ErrPlace):
			yield(nil, err)
		case err != nil:
			yield(nil, fmt.Errorf("session %d: %w", session, err))
		}
	}
}

// part returns the part of a session's timeline behind a place.
func (r *Reports) part(ctx context.Context, s Session, after string) (*Timeline, error) {
	t := &Timeline{Session: s, Turns: []Turn{}}
	from, last := int64(-1)<<62, uuid.Nil
	if after != "" {
		at, id, _ := strings.Cut(after, ".")
		var errAt, errID error
		from, errAt = strconv.ParseInt(at, 10, 64)
		last, errID = uuid.Parse(id)
		if errAt != nil || errID != nil {
			return nil, ErrPlace
		}
	}
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		steps, err := all(ctx, tx, stepsQuery(s.ID, from, last), scanStep)
		if err != nil {
			return err
		}
		if len(steps) > stepsAPart {
			steps = steps[:stepsAPart]
			end := steps[stepsAPart-1]
			t.Next = fmt.Sprintf("%d.%s", end.StartedAt.UnixMicro(), end.InterceptionID)
		}
		if err := readTexts(ctx, tx, steps); err != nil {
			return err
		}
		link(steps)
		t.Turns = turns(steps)
		return nil
	})
	return t, err
}

// step is a step with what is needed to complete it.
type step struct {
	Step

	home uuid.NullUUID // Of the records of the background response that it began.
}

func selectSteps() string {
	return `SELECT i.id, i.started_at, i.ended_at, f.provider, f.model, f.outcome, coalesce(i.error_message, ''), i.metadata,
	coalesce(i.correlating_tool_call_id, ''), i.background_id, f.first_byte, ` + columnList(sessionWide, "f.") + `
	FROM facts f JOIN interceptions i ON i.id = f.interception_id
	WHERE f.session = $1 AND (f.started_at, f.interception_id) > ($2, $3) ORDER BY f.started_at, f.interception_id LIMIT $4`
}

func stepsQuery(session, from int64, last uuid.UUID) query {
	return query{selectSteps(), arguments{session, from, last[:], stepsAPart + 1}}
}

func scanStep(rows *sql.Rows) (*step, error) {
	var s step
	var id uuid.UUID
	var started int64
	var ended sql.NullInt64
	var metadata []byte
	var f facts
	targets := []any{
		&id, &started, &ended, &s.Provider, &s.Model, &s.Outcome, &s.ErrorMessage, &metadata, &s.AnswersCall, &s.home, &f.firstByte,
	}
	err := rows.Scan(append(targets, f.sums.targets(sessionWide)...)...)
	var told struct {
		agent

		Kind string `json:"agent_kind"`
	}
	_ = json.Unmarshal(metadata, &told) // A host may have other values of these names: then there is no agent.
	f.setFirstByte(f.firstByte)
	s.InterceptionID, s.StartedAt, s.EndedAt = id.String(), time.UnixMicro(started).UTC(), timeOf(ended)
	s.AgentID, s.ParentAgentID, s.AgentKind = told.ID, told.Parent, told.Kind
	s.Figures, s.Thoughts, s.Calls = f.sums.figures(), []string{}, []ToolCall{}
	s.FirstByte = Milliseconds(f.firstByte / 1000)
	return &s, err
}

func timeOf(micros sql.NullInt64) *time.Time {
	if !micros.Valid {
		return nil
	}
	at := time.UnixMicro(micros.Int64).UTC()
	return &at
}

// readTexts adds to steps their prompts, thoughts and calls.
func readTexts(ctx context.Context, tx querier, steps []*step) error {
	at := map[uuid.UUID]*step{}
	var ids []uuid.UUID
	for _, s := range steps {
		id := uuid.MustParse(s.InterceptionID)
		at[id] = s
		ids = append(ids, id)
		if s.home.Valid {
			at[s.home.UUID] = s
			ids = append(ids, s.home.UUID)
		}
	}
	read := func(text string, scan func(rows *sql.Rows) (uuid.UUID, error)) error {
		return byIDs(ids, text, func(q query) error {
			q.text += ` ORDER BY created_at, record_id`
			_, err := all(ctx, tx, q, scan)
			return err
		})
	}
	cut := func(column string) string { return `substr(` + column + `, 1, ` + strconv.Itoa(longestText+1) + `)` } // One more tells that there is more.
	err := read(`SELECT interception_id, `+cut("prompt")+`, metadata FROM prompt_usages WHERE interception_id`, func(rows *sql.Rows) (id uuid.UUID, err error) {
		var text string
		var metadata []byte
		err = rows.Scan(&id, &text, &metadata)
		if s := at[id]; s != nil {
			s.Prompt, s.Generated = s.cut(text), s.AgentID != "" || isGenerated(metadata)
		}
		return id, err
	})
	if err != nil {
		return err
	}
	err = read(`SELECT interception_id, `+cut("content")+` FROM model_thoughts WHERE interception_id`, func(rows *sql.Rows) (id uuid.UUID, err error) {
		var text string
		err = rows.Scan(&id, &text)
		if s := at[id]; s != nil {
			s.Thoughts = append(s.Thoughts, s.cut(text))
		}
		return id, err
	})
	if err != nil {
		return err
	}
	return read(`SELECT interception_id, tool_call_id, tool, `+cut("input")+`, injected, coalesce(invocation_error, '') FROM tool_usages WHERE interception_id`,
		func(rows *sql.Rows) (id uuid.UUID, err error) {
			var c ToolCall
			err = rows.Scan(&id, &c.ID, &c.Tool, &c.Input, &c.Injected, &c.Error)
			if s := at[id]; s != nil {
				c.Input = s.cut(c.Input)
				s.Calls = append(s.Calls, c)
			}
			return id, err
		})
}

// cut returns at most longestText characters of a text, and notes whether it had more.
func (s *step) cut(text string) string {
	if len(text) <= longestText {
		return text
	}
	n := 0
	for at := range text {
		if n == longestText {
			s.IsCut = true
			return text[:at]
		}
		n++
	}
	return text
}

// isGenerated reports whether a prompt's metadata says that the client wrote it, or that it may have.
func isGenerated(metadata []byte) bool {
	var told struct {
		Generated bool `json:"client_generated"`
		Beside    bool `json:"beside_tool_results"`
	}
	_ = json.Unmarshal(metadata, &told) // Else it is a person's.
	return told.Generated || told.Beside
}

// link links calls and the requests that brought their results. A request tells one of the calls whose results it brings: APIs
// want the results of all calls of an answer in the next request, so it brought the others, too.
func link(steps []*step) {
	made := map[string]*step{}
	for _, s := range steps {
		if by := made[s.AnswersCall]; s.AnswersCall != "" && by != nil {
			s.AnswersStep = by.InterceptionID
			for n := range by.Calls {
				if c := &by.Calls[n]; c.ResultStep == "" && c.isOfClient() {
					c.ResultStep = s.InterceptionID
				}
			}
		}
		for _, c := range s.Calls {
			if c.ID != "" {
				made[c.ID] = s
			}
		}
	}
}

// isOfClient reports whether the client brings the result of a call. The gateway has those of its own tools, and the upstream
// those of hosted ones.
func (c ToolCall) isOfClient() bool {
	return c.ID != "" && !c.Injected && !strings.HasPrefix(c.ID, "srvtoolu_")
}

// turns splits steps where a person typed something.
func turns(steps []*step) []Turn {
	all := []Turn{}
	for _, s := range steps {
		if typed := s.Prompt != "" && !s.Generated; typed || len(all) == 0 {
			turn := Turn{}
			if typed {
				turn.Prompt = s.Prompt
			}
			all = append(all, turn)
		}
		turn := &all[len(all)-1]
		turn.Steps = append(turn.Steps, s.Step)
		turn.Add(s.Figures)
	}
	return all
}
