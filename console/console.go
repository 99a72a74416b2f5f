// Package console is a page that shows who spent what, and why: an overview of costs, the sessions of clients with what
// happened in them, each interception, and what runs now.
//
//	page, err := console.New(reports, server, console.Options{})
//	if err != nil {
//		return err
//	}
//	http.Handle("/console/", page)
//
// People sign in with a token of the control plane. They see what they did; administrators see what others did, and each
// look of theirs at others' prompts is noted in the access log. The page needs no network but its own server, and writes
// nothing into the database but the access log.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/strangers"
)

//go:embed static templates
var embedded embed.FS

// Keys says who presents a token. [aibridgedserver.Server] implements it.
type Keys interface {
	// SignIn returns the key of a token. For one that is not valid, the error is [aibridgedserver.ErrNotSignedIn].
	SignIn(ctx context.Context, token string) (aibridgedserver.APIKey, error)
	// SignedIn returns the key of that id while it is valid. Then the error is [aibridgedserver.ErrNotSignedIn].
	SignedIn(ctx context.Context, id string) (aibridgedserver.APIKey, error)
}

// Options are the optional settings of a console. The zero value works.
type Options struct {
	// Path is where the console is served. It begins and ends with a slash. Empty: "/console/".
	Path string
	// Live tells what runs now. Nil: there is no such view.
	Live Live
	// Exchanges reads bytes that a gateway has kept. Nil: there are none.
	Exchanges Exchanges
	// Held tells what budgets hold. Nil: it is not known.
	Held Held
	// Health tells how the gateway does. Nil: there is no such view.
	Health func(ctx context.Context) Health
	// Logger gets what goes wrong. The zero Logger writes nothing.
	Logger slog.Logger
}

// Console serves the page. It is safe for concurrent use, and has nothing to close.
type Console struct {
	reports   *reports.Reports
	keys      Keys
	options   Options
	templates map[string]*template.Template // By the name of the view.
	assets    assets
	visits    *visits
	routes    *http.ServeMux
	foreign   *http.CrossOriginProtection
	turns     chan struct{}
	strangers *strangers.Gate
}

// mostAtATime is how many requests are worked on at a time: the page must not take the database from the traffic.
const mostAtATime = 2

// patience is how long a request waits for its turn and for the database.
const patience = 20 * time.Second

// slowest is how long a browser may take to read an answer.
const slowest = time.Minute

// New returns a console. The reports and keys are those of one control plane.
func New(of *reports.Reports, keys Keys, options Options) (*Console, error) {
	if options.Path == "" {
		options.Path = "/console/"
	}
	if !strings.HasPrefix(options.Path, "/") || !strings.HasSuffix(options.Path, "/") || strings.ContainsAny(options.Path, "{}?#% ") {
		return nil, fmt.Errorf("console: the path %q does not begin and end with a slash, or holds more than a path", options.Path)
	}
	c := &Console{
		reports: of, keys: keys, options: options, assets: readAssets(), visits: newVisits(), routes: http.NewServeMux(),
		foreign: http.NewCrossOriginProtection(), turns: make(chan struct{}, mostAtATime),
		strangers: strangers.New(isRefusal),
	}
	var err error
	if c.templates, err = parseTemplates(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.route()
	return c, nil
}

func (c *Console) route() {
	path := c.options.Path
	c.routes.HandleFunc("GET "+path+"static/{version}/{name}", c.serveAsset)
	c.routes.HandleFunc("GET "+path+"sign-in", c.signInPage)
	c.routes.HandleFunc("POST "+path+"sign-in", c.signIn)
	c.routes.HandleFunc("POST "+path+"sign-out", c.signedIn(c.signOut))
	for pattern, look := range map[string]func(*visit) (*answer, error){
		"{$}": c.overview, "usage": c.usage, "sessions": c.sessions, "sessions/{id}": c.session, "interceptions": c.interceptions,
		"interceptions/{id}": c.interception, "access": c.access, "budgets": c.budgets,
	} {
		c.routes.HandleFunc("GET "+path+pattern, c.view(look))
	}
	if c.options.Exchanges != nil {
		c.routes.HandleFunc("GET "+path+"interceptions/{id}/bytes/{round}/{body}", c.signedIn(c.keptBytes))
	}
	if c.options.Live != nil {
		c.routes.HandleFunc("GET "+path+"live", c.view(c.live))
		c.routes.HandleFunc("POST "+path+"live/end", c.signedIn(c.end))
	}
	if c.options.Health != nil {
		c.routes.HandleFunc("GET "+path+"health", c.view(c.health))
	}
	c.routes.HandleFunc(path, c.signedIn(func(w http.ResponseWriter, v *visit) { c.fail(w, v, reports.ErrNotFound) }))
}

// contentPolicy allows what the console itself serves, and nothing that is written into a page.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler]. It serves what is below [Options.Path].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	if err := c.foreign.Check(r); err != nil {
		http.Error(w, "pages of other sites may not do this", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	connection := http.NewResponseController(w)
	_ = connection.SetWriteDeadline(time.Now().Add(patience + slowest)) // A connection without deadlines is a host's own matter.
	defer func() { _ = connection.SetWriteDeadline(time.Time{}) }()
	c.routes.ServeHTTP(w, r.WithContext(ctx))
}

// view serves a view to who is signed in: as a page or, if the query has a format, as a file.
func (c *Console) view(look func(*visit) (*answer, error)) http.HandlerFunc {
	return c.signedIn(func(w http.ResponseWriter, v *visit) {
		a, err := inTurn(v.Context(), c, func() (*answer, error) { return look(v) })
		if err == nil {
			err = c.send(w, v, a)
		}
		if err != nil {
			c.fail(w, v, err)
		}
	})
}

// inTurn runs do as one of a few at a time. What it returns is sent later: a browser that reads slowly keeps no others waiting.
func inTurn[T any](ctx context.Context, c *Console, do func() (T, error)) (found T, err error) {
	select {
	case c.turns <- struct{}{}:
	case <-ctx.Done():
		return found, errBusy
	}
	defer func() { <-c.turns }()
	return do()
}

// errBusy is the error of a request that had no turn in time.
var errBusy = errors.New("too many look at once, try again")

// askedWrongly is an error whose text is for who asked.
type askedWrongly struct{ text string }

func (e askedWrongly) Error() string { return e.text }

// fail answers with an error. Only what was asked wrongly is told.
func (c *Console) fail(w http.ResponseWriter, v *visit, err error) {
	status, text := http.StatusInternalServerError, "This could not be read. The log of the gateway says more."
	wrong, isWrong := errors.AsType[askedWrongly](err)
	switch {
	case isWrong:
		status, text = http.StatusBadRequest, wrong.text
	case errors.Is(err, reports.ErrPlace):
		status, text = http.StatusBadRequest, err.Error()
	case errors.Is(err, reports.ErrNotFound):
		status, text = http.StatusNotFound, "There is nothing here, or nothing that you may see."
	case errors.Is(err, errBusy), errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusServiceUnavailable, "This takes too long at the moment. Try again, or choose a shorter range."
	case v.Request.Context().Err() != nil: // The browser has left.
		return
	default:
		c.options.Logger.Error(v.Context(), "a page could not be made", slog.F("path", v.URL.Path), slog.Error(err))
	}
	if err := c.write(w, v, status, &answer{view: "failure", title: http.StatusText(status), data: text}); err != nil {
		c.options.Logger.Error(v.Context(), "the page of an error could not be made", slog.Error(err))
		http.Error(w, text, status)
	}
}
