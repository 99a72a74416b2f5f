package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Live tells what a gateway is serving. It is safe for concurrent use.
type Live interface {
	// Running returns the requests that are being served.
	Running() []Request
	// End ends a request, and reports whether it was still there.
	End(id uint64) bool
}

// Request is a request that is being served.
type Request struct {
	ID       uint64    `json:"id"` // Which no other request of the gateway has.
	Since    time.Time `json:"since"`
	UserID   string    `json:"user_id"`
	User     string    `json:"user"`
	APIKeyID string    `json:"api_key_id"`
	Provider string    `json:"provider"` // What the request asks for it by.

	// InterceptionID, Model and Client are empty if the request has not begun to be recorded, or is not.
	InterceptionID string `json:"interception_id"`
	Model          string `json:"model"`
	Client         string `json:"client"`
}

// livePage is what runs now.
type livePage struct {
	Users []liveUser
	Total int
}

// liveUser is what runs of one user.
type liveUser struct {
	Name     string
	Requests []Request
}

// For returns how long a request has run.
func (p *page) For(r Request) string { return took(p.visit.now.Sub(r.Since)) }

// running returns what runs and a viewer may see, the longest first.
func (c *Console) running(v reports.Viewer) []Request {
	all := slices.DeleteFunc(c.options.Live.Running(), func(r Request) bool { return !v.Admin && r.UserID != v.UserID })
	slices.SortFunc(all, func(a, b Request) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return all
}

// live shows what runs now, by user.
func (c *Console) live(v *visit) (*answer, error) {
	running := c.running(v.viewer)
	t := &table{Caption: "Running", Columns: columns([]string{"User", "Token", "Provider", "Model", "Client", "Interception", "Since"})}
	page := &livePage{Total: len(running)}
	for _, r := range running {
		name := userName(r.User, r.UserID)
		n := slices.IndexFunc(page.Users, func(u liveUser) bool { return u.Name == name })
		if n < 0 {
			n = len(page.Users)
			page.Users = append(page.Users, liveUser{Name: name})
		}
		page.Users[n].Requests = append(page.Users[n].Requests, r)
		t.Rows = append(t.Rows, []cell{
			{Text: name}, {Text: r.APIKeyID}, {Text: r.Provider}, {Text: r.Model}, {Text: r.Client}, {Text: r.InterceptionID}, v.time(r.Since),
		})
	}
	slices.SortStableFunc(page.Users, func(a, b liveUser) int { return cmp.Compare(len(b.Requests), len(a.Requests)) })
	return &answer{view: "live", title: "Live", data: page, file: "live", table: t, json: notNil(running)}, nil
}

// end ends a request that runs, of one's own or, for administrators, of anybody.
func (c *Console) end(w http.ResponseWriter, v *visit) {
	id, err := strconv.ParseUint(v.PostFormValue("id"), 10, 64)
	all := c.running(v.viewer)
	n := slices.IndexFunc(all, func(r Request) bool { return r.ID == id })
	if err != nil || n < 0 {
		c.fail(w, v, askedWrongly{"This request has ended already."})
		return
	}
	if c.options.Live.End(id) {
		c.options.Logger.Info(v.Context(), "a request was ended from the page", slog.F("by", v.key.Username), slog.F("by_key_id", v.key.ID),
			slog.F("user", all[n].User), slog.F("interception_id", all[n].InterceptionID))
	}
	http.Redirect(w, v.Request, c.options.Path+"live", http.StatusSeeOther)
}
