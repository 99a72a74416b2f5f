package console

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

const (
	// pageSize is how many rows a page of a list shows, and filePage how many are read at a time for a file.
	pageSize, filePage = 50, 200
	// mostSaved bounds a file.
	mostSaved = 10_000
)

// listPage is a list of sessions or of interceptions.
type listPage struct {
	Table  *table
	Next   string // The place of the next page.
	Filter filterForm
}

// filterForm is what a list was filtered by, and values that it could be.
type filterForm struct {
	Text, User, Group, Model, Client, Provider, Tool, Outcome string
	Ungrouped, Failed, Unpriced, Dearest                      bool
	Models, Clients, Providers, Tools, Outcomes               []string
}

// filter returns the filter that a query asks for. A user is told by name or by id.
func (c *Console) filter(v *visit) (form filterForm, userID string, err error) {
	q := v.URL.Query()
	form = filterForm{
		Text: strings.TrimSpace(q.Get("q")), User: q.Get("user"), Group: q.Get("group"), Model: q.Get("model"), Client: q.Get("client"),
		Provider: q.Get("provider"), Tool: q.Get("tool"), Outcome: q.Get("outcome"), Ungrouped: q.Get("ungrouped") != "",
		Failed: q.Get("failed") != "", Unpriced: q.Get("unpriced") != "", Dearest: q.Get("sort") == "cost",
	}
	userID, err = c.userID(v, form.User)
	return form, userID, err
}

// userID returns the id of the user whom a text names, by name or by id. Who is no administrator finds nobody but themselves.
func (c *Console) userID(v *visit, text string) (string, error) {
	if text == "" || text == v.key.Username || text == v.key.UserID {
		if text != "" {
			text = v.key.UserID
		}
		return text, nil
	}
	if !v.viewer.Admin {
		return "", reports.ErrNotFound
	}
	if _, err := uuid.Parse(text); err == nil {
		return text, nil
	}
	id, err := c.reports.UserID(v.Context(), text)
	if errors.Is(err, reports.ErrNotFound) {
		return "", askedWrongly{"No user has this name."}
	}
	return id, err
}

// offer adds to a form what was there in the last 90 days.
func (c *Console) offer(v *visit, form *filterForm) error {
	query := reports.Query{Range: reports.Range{From: v.now.AddDate(0, 0, -90), To: v.now.Add(grain)}, Limit: 100}
	if !v.viewer.Admin {
		return nil // The sums of one user are not kept, and reading them takes longer than a list.
	}
	for by, list := range map[string]*[]string{
		"model": &form.Models, "client": &form.Clients, "provider": &form.Providers, "tool": &form.Tools, "outcome": &form.Outcomes,
	} {
		found, err := c.reports.Breakdown(v.Context(), v.viewer, query, by)
		if err != nil {
			return err
		}
		for _, row := range found.Rows {
			if isShownWhole(row.Value) { // Else it would filter by another value.
				*list = append(*list, row.Value)
			}
		}
	}
	return nil
}

// sessions lists sessions.
func (c *Console) sessions(v *visit) (*answer, error) {
	chosen, err := v.choose("all")
	if err != nil {
		return nil, err
	}
	form, userID, err := c.filter(v)
	if err != nil {
		return nil, err
	}
	filter := reports.SessionFilter{
		UserID: userID, Model: form.Model, Client: form.Client, Provider: form.Provider, Tool: form.Tool, Outcome: form.Outcome,
		Text: form.Text, Dearest: form.Dearest && form.Text == "",
	}
	chosen.AllTime = true
	if chosen.Preset != "all" {
		filter.Range = chosen.Range
	}
	var found []reports.Session
	next, err := v.readPages(func(limit int, after string) (int, string, error) {
		filter.After = after
		filter.Limit = limit
		page, err := c.reports.Sessions(v.Context(), v.viewer, filter)
		if err != nil {
			return 0, "", err
		}
		found = append(found, page.Sessions...)
		return len(found), page.Next, nil
	})
	if err != nil {
		return nil, err
	}
	lacks := restBehind(next)
	t := &table{Caption: "Sessions", Columns: append([]column{
		{Name: "Title"}, {Name: "Session", OnlySaved: true}, {Name: "Session of the client", OnlySaved: true}, {Name: "User"}, {Name: "Client"},
		{Name: "Models"}, {Name: "Began"},
	}, withoutFirstByte(figureColumns())...)}
	for _, s := range found {
		title := s.Title
		if title == "" {
			title = "without a prompt"
		}
		row := []cell{
			{Text: title, Href: c.options.Path + "sessions/" + strconv.FormatInt(s.ID, 10)}, {Text: strconv.FormatInt(s.ID, 10)},
			{Text: s.ClientSessionID}, {Text: userName(s.User, s.UserID)}, {Text: s.Client}, {Text: texts(s.Models), Raw: strings.Join(s.Models, ", ")},
			v.time(s.StartedAt),
		}
		t.Rows = append(t.Rows, append(row, withoutFirstByte(figureCells(s.Figures, nil))...))
	}
	if err := c.offer(v, &form); err != nil {
		return nil, err
	}
	data := &listPage{Table: t, Next: next, Filter: form}
	return &answer{view: "sessions", title: "Sessions", data: data, file: "sessions", table: t, json: listOf(found, lacks), rest: lacks, chosen: chosen}, nil
}

// interceptions lists interceptions.
func (c *Console) interceptions(v *visit) (*answer, error) {
	chosen, err := v.choose("30d")
	if err != nil {
		return nil, err
	}
	form, userID, err := c.filter(v)
	if err != nil {
		return nil, err
	}
	filter := reports.InterceptionFilter{
		Range: chosen.Range, UserID: userID, Model: form.Model, Client: form.Client, Provider: form.Provider, Tool: form.Tool,
		Outcome: form.Outcome, Group: form.Group, Ungrouped: form.Ungrouped, Failed: form.Failed, Unpriced: form.Unpriced,
	}
	var found []reports.InterceptionRow
	next, err := v.readPages(func(limit int, after string) (int, string, error) {
		filter.After, filter.Limit = after, limit
		page, err := c.reports.Interceptions(v.Context(), v.viewer, filter)
		if err != nil {
			return 0, "", err
		}
		found = append(found, page.Interceptions...)
		return len(found), page.Next, nil
	})
	if err != nil {
		return nil, err
	}
	figures := figureColumns()[2:] // Each row is one request.
	for n, c := range figures {
		figures[n].OnlySaved = c.OnlySaved || c.Name == "Unpriced"
	}
	t := &table{Caption: "Interceptions", Columns: append([]column{
		{Name: "Began"}, {Name: "Interception", OnlySaved: true}, {Name: "User"}, {Name: "Client"}, {Name: "Provider"}, {Name: "Model"}, {Name: "Tools"},
		{Name: "Outcome"}, {Name: "Session"},
	}, figures...)}
	for _, i := range found {
		began := v.time(i.StartedAt)
		began.Href = c.options.Path + "interceptions/" + i.ID
		session := cell{Text: "–", Raw: strconv.FormatInt(i.SessionID, 10)}
		if i.SessionID != 0 {
			session = cell{Text: session.Raw, Href: c.options.Path + "sessions/" + session.Raw + "#step-" + i.ID}
		}
		cells := figureCells(i.Figures, nil)
		if cost := &cells[5]; i.Unpriced > 0 && !i.NothingPriced() {
			cost.Note = strings.TrimPrefix(cost.Note+", a part has no price", ", ")
		}
		row := []cell{
			began, {Text: i.ID}, {Text: userName(i.User, i.UserID)}, {Text: i.Client}, {Text: i.Provider}, {Text: i.Model}, toolsCell(i.Tools),
			{Text: i.Outcome}, session,
		}
		t.Rows = append(t.Rows, append(row, cells[2:]...))
	}
	if err := c.offer(v, &form); err != nil {
		return nil, err
	}
	data := &listPage{Table: t, Next: next, Filter: form}
	return &answer{view: "interceptions", title: "Interceptions", data: data, file: "interceptions", table: t, json: listOf(found, restBehind(next)), rest: restBehind(next), chosen: chosen}, nil
}

// readPages reads one page of a list or, for a file, as many as a file may have. Read returns how many rows there are by
// then and the place of the next page.
func (v *visit) readPages(read func(limit int, after string) (rows int, next string, err error)) (next string, err error) {
	after := v.URL.Query().Get("after")
	if v.format() == "" {
		_, next, err = read(pageSize, after)
		return next, err
	}
	for {
		rows, next, err := read(filePage, after)
		if err != nil || next == "" || rows >= mostSaved {
			return next, err
		}
		after = next
	}
}

// time returns a time as a cell.
func (v *visit) time(at time.Time) cell {
	return cell{Text: at.In(v.zone).Format(time.DateTime), Raw: at.UTC().Format(time.RFC3339Nano)}
}

// userName returns what a page calls a user. An initiator who is no user has only an id.
func userName(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// toolsCell returns the tools that a model called, and how often.
func toolsCell(tools map[string]int64) cell {
	var names []string
	for name, n := range tools {
		if n > 1 {
			name += " ×" + strconv.FormatInt(n, 10)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return cell{Text: texts(names), Raw: strings.Join(names, ", ")}
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// access lists who looked at what others wrote.
func (c *Console) access(v *visit) (*answer, error) {
	limit := 200
	if v.format() != "" {
		limit = mostSaved
	}
	log, err := c.reports.AccessLog(v.Context(), v.viewer, limit)
	if err != nil {
		return nil, err
	}
	t := &table{Caption: "Access log", Columns: columns([]string{"At", "Who looked", "With token", "At what", "Of", "Which"})}
	for _, a := range log {
		of := userName(a.User, a.UserID)
		if of == "" {
			of = "several"
		}
		t.Rows = append(t.Rows, []cell{v.time(a.At), {Text: userName(a.Viewer, a.ViewerID)}, {Text: a.APIKeyID}, {Text: a.Kind}, {Text: of}, {Text: a.Subject}})
	}
	var lacks *rest
	if len(log) == mostSaved {
		lacks = &rest{}
	}
	return &answer{view: "access", title: "Access log", data: t, file: "access-log", table: t, json: listOf(log, lacks), rest: lacks}, nil
}
