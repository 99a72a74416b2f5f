package console

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/visible"
)

// answer is what a view has found.
type answer struct {
	view  string // Names its template.
	title string
	data  any // For the template.
	// file names the files that the view can be saved as, without an ending. Empty: it cannot.
	file  string
	table *table // What is saved as CSV.
	json  any    // What is saved as JSON.
	rest  *rest  // What a file of it does not have. Nil: nothing.
	chosen
}

// rest is what a file does not have.
type rest struct {
	// After is the place behind the last row, for the address of a file that goes on. Empty: there is none.
	After string
}

// String says what a file lacks, for its last row.
func (r *rest) String() string {
	if r.After == "" {
		return "more rows are not in this file"
	}
	return "more rows are in the file whose address has after=" + r.After
}

// restBehind returns what a file lacks whose next row is at a place. Empty: nothing.
func restBehind(place string) *rest {
	if place == "" {
		return nil
	}
	return &rest{place}
}

// table is a list that a page shows and that can be saved.
type table struct {
	Caption string
	Columns []column
	Rows    [][]cell
	// Saved is the address at which it can be saved, without a format. Empty: nowhere.
	Saved string
}

type column struct {
	Name   string
	Number bool // Its cells are numbers.
	// OnlySaved says that only files have it.
	OnlySaved bool
}

// cell is a cell of a table.
type cell struct {
	Text string
	Href string // Empty: it is no link.
	Raw  string // What is saved. Empty: the text.
	Note string // Says more, beside the text.
	// IsUnknown says that there is nothing to be saved: nobody knows it.
	IsUnknown bool
}

func columns(texts []string, numbers ...string) (all []column) {
	for _, name := range texts {
		all = append(all, column{Name: name})
	}
	for _, name := range numbers {
		all = append(all, column{Name: name, Number: true})
	}
	return all
}

// csv returns the table as comma-separated values. A spreadsheet computes nothing of them.
func (t *table) csv(lacks *rest) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	line := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		line[i] = c.Name
	}
	if err := w.Write(line); err != nil {
		return nil, err
	}
	for _, row := range t.Rows {
		line = line[:0]
		for _, c := range row {
			text := c.Raw
			if text == "" {
				text = c.Text
			}
			if c.IsUnknown {
				text = ""
			}
			line = append(line, reports.CSVCell(text))
		}
		if err := w.Write(line); err != nil {
			return nil, err
		}
	}
	if lacks != nil {
		line = append(line[:0], lacks.String())
		if err := w.Write(append(line, make([]string, max(len(t.Columns)-1, 0))...)); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// send answers with a view, in the format that the query asks for.
func (c *Console) send(w http.ResponseWriter, v *visit, a *answer) error {
	format := v.format()
	switch {
	case format == "":
		return c.write(w, v, http.StatusOK, a)
	case a.file == "":
		return reports.ErrNotFound
	case format == "csv" && a.table != nil:
		content, err := a.table.csv(a.rest)
		if err != nil {
			return err
		}
		sendFile(w, a.fileName("csv"), "text/csv; charset=utf-8", []byte(shown(string(content))))
		return nil
	case format == "json":
		content, err := json.MarshalIndent(a.json, "", "  ")
		if err != nil {
			return err
		}
		sendFile(w, a.fileName("json"), "application/json", []byte(shownJSON(content)))
		return nil
	default:
		return askedWrongly{"The format is csv or json."}
	}
}

// fileName returns the name of a file with what the view has found, and of which range that is.
func (a *answer) fileName(ending string) string {
	name := a.file
	if over := a.chosen.Range; over != (reports.Range{}) && a.chosen.Preset != "all" {
		const stamp = "20060102T1504Z"
		name += "-" + over.From.UTC().Format(stamp) + "-" + over.To.UTC().Format(stamp)
	}
	return name + "." + ending
}

// listOf returns a list as it is saved as JSON. If there is more than a file has, its last element says so.
func listOf[T any](rows []T, lacks *rest) any {
	if lacks == nil {
		return notNil(rows)
	}
	all := make([]any, 0, len(rows)+1)
	for _, row := range rows {
		all = append(all, row)
	}
	return append(all, map[string]string{"more": lacks.String(), "after": lacks.After})
}

// format is the format that a query asks for. Empty: a page.
func (v *visit) format() string { return v.URL.Query().Get("format") }

// sendFile sends what a browser saves, and never shows: what is in it may be anybody's.
func sendFile(w http.ResponseWriter, name, kind string, content []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	_, _ = w.Write(content) // The browser may have left.
}

// page is what a template gets.
type page struct {
	*answer

	base, static string
	visit        *visit
	Nav          []link
	texts        int // How many bytes of texts the page may still show.
}

// link is a link to a view.
type link struct {
	Name, Href string
	Current    bool
}

// write writes a view as a page.
func (c *Console) write(w http.ResponseWriter, v *visit, status int, a *answer) error {
	p := &page{
		answer: a, base: c.options.Path, static: c.options.Path + "static/" + c.assets.version + "/", visit: v, Nav: c.nav(v, a),
		texts: mostTexts,
	}
	var out bytes.Buffer
	if err := c.templates[a.view].ExecuteTemplate(&out, "layout", p); err != nil {
		return fmt.Errorf("page %q: %w", a.view, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, shown(out.String())) // The browser may have left.
	return nil
}

// shown returns all of a page or a file as it may be shown: without secrets, and without characters that command a terminal or
// change the direction of text. What is written into a page is escaped for its place before, and this leaves no text out.
func shown(text string) string { return visible.Text(withoutSecrets(text)) }

// shownJSON is the same for JSON, where such characters are escaped.
func shownJSON(content []byte) string { return withoutSecrets(string(visible.Escaped(content))) }

// withoutSecrets returns a text without the secrets of tokens of the gateway, and without what looks like a provider's key.
func withoutSecrets(text string) string { return credential.HideKeys(withoutTokens(text)) }

// isShownWhole reports whether a page shows a text unchanged, so that a form that has it sends it.
func isShownWhole(text string) bool { return shown(text) == text }

// withoutTokens returns a text in which each token of the gateway has lost its secret: a person may have typed one into a
// prompt.
func withoutTokens(text string) string {
	var out strings.Builder
	for {
		start, end := aibridgedserver.FindToken(text)
		if start < 0 || end <= start {
			out.WriteString(text)
			return out.String()
		}
		id, _, _ := strings.Cut(text[start:end], "-")
		out.WriteString(text[:start] + id + "-redacted")
		text = text[end:]
	}
}

// nav returns the views that somebody may see.
func (c *Console) nav(v *visit, a *answer) (links []link) {
	if v.signIn == nil {
		return nil
	}
	add := func(name, path string, views ...string) {
		one := link{Name: name, Href: c.options.Path + path}
		for _, view := range views {
			one.Current = one.Current || view == a.view
		}
		links = append(links, one)
	}
	add("Overview", "", "overview", "usage")
	add("Sessions", "sessions", "sessions", "session")
	add("Interceptions", "interceptions", "interceptions", "interception")
	add("Budgets", "budgets", "budgets")
	if c.options.Live != nil {
		add("Live", "live", "live")
	}
	if v.viewer.Admin && c.options.Health != nil {
		add("Health", "health", "health")
	}
	if v.viewer.Admin {
		add("Access log", "access", "access")
	}
	return links
}

// parseTemplates returns the templates of the views: each with what all have in common.
func parseTemplates() (map[string]*template.Template, error) {
	functions := template.FuncMap{
		"money": money, "cost": costText, "price": priceText, "count": count, "short": short, "millis": millis, "texts": texts,
		"add": func(a, b int) int { return a + b }, "on": func(p *page, n node) nodeOfPage { return nodeOfPage{p, n} },
	}
	common, err := template.New("").Funcs(functions).ParseFS(embedded, "templates/layout.html", "templates/table.html")
	if err != nil {
		return nil, err
	}
	all := map[string]*template.Template{}
	for _, view := range []string{
		"overview", "usage", "sessions", "session", "interceptions", "interception", "access", "budgets", "live", "health", "sign_in", "failure",
	} {
		one, err := common.Clone()
		if err == nil {
			one, err = one.ParseFS(embedded, "templates/"+view+".html")
		}
		if err != nil {
			return nil, err
		}
		all[view] = one
	}
	return all, nil
}

// The methods of a page are for templates.

// Title returns the view's title.
func (p *page) Title() string { return p.title }

// Data returns what the view has found.
func (p *page) Data() any { return p.data }

// Static returns the address of an asset.
func (p *page) Static(name string) string { return p.static + name }

// User returns the name of who is signed in, or nothing.
func (p *page) User() string { return p.visit.key.Username }

// IsAdmin reports whether who is signed in sees what others did.
func (p *page) IsAdmin() bool { return p.visit.viewer.Admin }

// IsSignedIn reports whether somebody is signed in.
func (p *page) IsSignedIn() bool { return p.visit.signIn != nil }

// Secret returns what forms must send.
func (p *page) Secret() string { return p.visit.signIn.secret }

// Zone returns the name of the time zone.
func (p *page) Zone() string { return p.visit.zone.String() }

// Shown returns a time as a page shows it.
func (p *page) Shown(at time.Time) string { return at.In(p.visit.zone).Format(time.DateTime) }

// Machine returns a time as machines read it.
func (p *page) Machine(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// To returns the address of a path of the console.
func (p *page) To(path ...string) string { return p.base + strings.Join(path, "") }

// Within returns the address of a list of what is in the range of the view, with further parameters: names and values.
func (p *page) Within(path string, pairs ...string) string {
	return p.base + path + "?" + p.with(pairs...)
}

// Field returns a parameter of the query.
func (p *page) Field(name string) string { return p.visit.URL.Query().Get(name) }

// Next returns the address of the next page of a list.
func (p *page) Next(after string) string { return changed(p.visit.URL, "after", after) }

// Save returns the address at which the view can be saved in a format, from its beginning, or nothing.
func (p *page) Save(format string) string {
	if p.file == "" || format == "csv" && p.table == nil {
		return ""
	}
	q := p.visit.URL.Query()
	q.Del("after")
	q.Set("format", format)
	return p.visit.URL.Path + "?" + q.Encode()
}

// changed returns an address with another value of a parameter.
func changed(of *url.URL, name, value string) string {
	q := of.Query()
	q.Set(name, value)
	return of.Path + "?" + q.Encode()
}
