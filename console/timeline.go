package console

import (
	"strconv"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// sessionPage is a part of the timeline of a session.
type sessionPage struct {
	Session reports.Session
	User    string
	Turns   []turn
	Next    string
	After   string // The place of this part. Empty: it is the first one.
	// Namesakes are other sessions that the text in the address names, too.
	Namesakes []reports.Session
}

// turn is what a prompt began.
type turn struct {
	reports.Turn

	Nodes []node
}

// node is a step, or a sub-agent with its steps.
type node struct {
	Step  *step
	Agent *agent
}

// nodeOfPage is a node with its page, for a template that calls itself.
type nodeOfPage struct {
	Page *page
	Node node
}

// step is an interception in a timeline.
type step struct {
	reports.Step

	MoreThoughts, MoreCalls int // Which the page does not show.
}

func newStep(of reports.Step) *step {
	s := &step{Step: of}
	s.Thoughts, s.MoreThoughts = firstOf(of.Thoughts)
	s.Calls, s.MoreCalls = firstOf(of.Calls)
	return s
}

// agent is a sub-agent. It stands where it was first seen.
type agent struct {
	ID, Kind string
	Nodes    []node
	Figures  reports.Figures
}

// Took returns how long the step took, or that it runs.
func (s *step) Took() string {
	if s.EndedAt == nil {
		return "running"
	}
	return took(s.EndedAt.Sub(s.StartedAt))
}

// Began returns the time of day at which a step began.
func (p *page) Began(at time.Time) string { return at.In(p.visit.zone).Format(time.TimeOnly) }

// HasFailed reports whether the step ended with an error.
func (s *step) HasFailed() bool { return s.Outcome != reports.OK && s.Outcome != reports.Running }

// session shows what happened in a session.
func (c *Console) session(v *visit) (*answer, error) {
	named, err := c.reports.FindSessions(v.Context(), v.viewer, v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	id, after := named[0].ID, v.URL.Query().Get("after")
	found, err := c.timeline(v, id, after)
	if err != nil {
		return nil, err
	}
	data := &sessionPage{
		Session: found.Session, User: userName(found.Session.User, found.Session.UserID), Next: found.Next, After: after, Namesakes: named[1:],
	}
	for _, t := range found.Turns {
		data.Turns = append(data.Turns, turn{t, branches(t.Steps)})
	}
	title := found.Session.Title
	if title == "" {
		title = "Session " + strconv.FormatInt(id, 10)
	}
	return &answer{
		view: "session", title: title, data: data, file: "session-" + strconv.FormatInt(id, 10), table: c.stepsTable(v, found), json: found,
		rest: restBehind(found.Next),
	}, nil
}

// mostSavedText bounds the texts of a file of a timeline, in bytes.
const mostSavedText = 64 << 20

// timeline returns a part of a timeline or, for a file, as many as a file may have.
func (c *Console) timeline(v *visit, id int64, after string) (all *reports.Timeline, err error) {
	if v.format() == "" {
		return c.reports.Timeline(v.Context(), v.viewer, id, after)
	}
	steps, size := 0, 0
	for part, err := range c.reports.Timelines(v.Context(), v.viewer, id, after) {
		if err != nil {
			return nil, err
		}
		more, bytes := sizeOf(part)
		steps, size = steps+more, size+bytes
		if all == nil {
			all = part
		} else {
			join(all, part)
		}
		if steps >= mostSaved || size >= mostSavedText {
			break
		}
	}
	return all, nil
}

// join adds the next part of a timeline to those before it. It may begin within a turn.
func join(all, part *reports.Timeline) {
	turns := part.Turns
	if len(turns) > 0 && turns[0].Prompt == "" && len(all.Turns) > 0 {
		last := &all.Turns[len(all.Turns)-1]
		last.Steps = append(last.Steps, turns[0].Steps...)
		last.Add(turns[0].Figures)
		turns = turns[1:]
	}
	all.Turns, all.Next = append(all.Turns, turns...), part.Next
}

// sizeOf returns how many steps a timeline has, and about how many bytes of texts.
func sizeOf(t *reports.Timeline) (steps, bytes int) {
	for _, turn := range t.Turns {
		for _, s := range turn.Steps {
			steps++
			bytes += len(s.Prompt)
			for _, thought := range s.Thoughts {
				bytes += len(thought)
			}
			for _, call := range s.Calls {
				bytes += len(call.Input)
			}
		}
	}
	return steps, bytes
}

// branches returns the steps of a turn in their order, those of each sub-agent below it, and sub-agents of sub-agents below
// these.
func branches(steps []reports.Step) (nodes []node) {
	agents := map[string]*agent{}
	parents := map[string]string{}
	for i := range steps {
		if s := &steps[i]; s.AgentID != "" && parents[s.AgentID] == "" {
			parents[s.AgentID] = s.ParentAgentID
		}
	}
	var at func(id string) *[]node
	at = func(id string) *[]node {
		if id == "" {
			return &nodes
		}
		if agents[id] == nil {
			agents[id] = &agent{ID: id}
			above := parents[id]
			if _, known := parents[above]; !known || isBelow(parents, above, id) {
				above = "" // The main agent, one of another turn, or a circle that a client made up.
			}
			list := at(above)
			*list = append(*list, node{Agent: agents[id]})
		}
		return &agents[id].Nodes
	}
	for i := range steps {
		s := newStep(steps[i])
		list := at(s.AgentID)
		*list = append(*list, node{Step: s})
		if a := agents[s.AgentID]; a != nil {
			a.Figures.Add(s.Figures)
			if a.Kind == "" {
				a.Kind = s.AgentKind
			}
		}
	}
	return nodes
}

// isBelow reports whether an agent is another one, or below it.
func isBelow(parents map[string]string, id, other string) bool {
	for range len(parents) + 1 {
		if id == other {
			return true
		}
		if id = parents[id]; id == "" {
			return false
		}
	}
	return true
}

// stepsTable returns a timeline as a table.
func (c *Console) stepsTable(v *visit, of *reports.Timeline) *table {
	t := &table{Caption: "Steps", Columns: append(columns(
		[]string{"Turn", "Began", "Interception", "Agent", "Model", "Outcome", "Prompt", "Tools"}), figureColumns()...)}
	for n, turn := range of.Turns {
		for _, s := range turn.Steps {
			tools := map[string]int64{}
			for _, call := range s.Calls {
				tools[call.Tool]++
			}
			row := []cell{
				{Text: strconv.Itoa(n + 1)}, v.time(s.StartedAt), {Text: s.InterceptionID}, {Text: s.AgentID}, {Text: s.Model}, {Text: s.Outcome},
				{Text: s.Prompt}, toolsCell(tools),
			}
			t.Rows = append(t.Rows, append(row, figureCells(s.Figures, nil)...))
		}
	}
	return t
}
