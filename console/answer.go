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
	chosen
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
}

// cell is a cell of a table.
type cell struct {
	Text string
	Href string // Empty: it is no link.
	Raw  string // What is saved. Empty: the text.
	Note string // Says more, beside the text.
}

func columns(texts []string, numbers ...string) (all []column) {
	for _, name := range texts {
		all = append(all, column{name, false})
	}
	for _, name := range numbers {
		all = append(all, column{name, true})
	}
	return all
}

// csv returns the table as comma-separated values. A spreadsheet computes nothing of them.
func (t *table) csv() ([]byte, error) {
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
			line = append(line, reports.CSVCell(text))
		}
		if err := w.Write(line); err != nil {
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
		content, err := a.table.csv()
		if err != nil {
			return err
		}
		sendFile(w, a.file+".csv", "text/csv; charset=utf-8", []byte(withoutTokens(string(content))))
		return nil
	case format == "json":
		content, err := json.MarshalIndent(a.json, "", "  ")
		if err != nil {
			return err
		}
		sendFile(w, a.file+".json", "application/json", []byte(withoutTokens(string(content))))
		return nil
	default:
		return askedWrongly{"The format is csv or json."}
	}
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
	}
	var out bytes.Buffer
	if err := c.templates[a.view].ExecuteTemplate(&out, "layout", p); err != nil {
		return fmt.Errorf("page %q: %w", a.view, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, withoutTokens(out.String())) // The browser may have left.
	return nil
}

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
		"money": money, "cost": costText, "count": count, "short": short, "share": share, "millis": millis, "took": took, "pretty": pretty, "told": told, "texts": texts,
		"add": func(a, b int) int { return a + b }, "on": func(p *page, n node) nodeOfPage { return nodeOfPage{p, n} },
	}
	common, err := template.New("").Funcs(functions).ParseFS(embedded, "templates/layout.html", "templates/table.html")
	if err != nil {
		return nil, err
	}
	all := map[string]*template.Template{}
	for _, view := range []string{
		"overview", "usage", "sessions", "session", "interceptions", "interception", "access", "live", "health", "sign_in", "failure",
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

// Save returns the address at which the view can be saved in a format, or nothing.
func (p *page) Save(format string) string {
	if p.file == "" || format == "csv" && p.table == nil {
		return ""
	}
	return changed(p.visit.URL, "format", format)
}

// changed returns an address with another value of a parameter.
func changed(of *url.URL, name, value string) string {
	q := of.Query()
	q.Set(name, value)
	return of.Path + "?" + q.Encode()
}
