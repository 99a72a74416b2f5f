package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/console"
	"github.com/coder/aibridged/internal/budget"
	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/verify"
)

// consolePath is where the page is served.
const consolePath = "/console/"

// withConsole serves the page beside the API. The origins that may use the API have no part in the page.
func (g *gateway) withConsole(api http.Handler, registry prometheus.Gatherer, keepDir string, logger slog.Logger) (http.Handler, error) {
	options := console.Options{Path: consolePath, Live: liveRequests{g.server}, Logger: logger}
	options.Health = func(ctx context.Context) console.Health { return g.consoleHealth(ctx, registry) }
	if keepDir != "" {
		options.Exchanges = keptExchanges(keepDir)
	}
	return g.plane.withConsole(api, options)
}

// withConsole serves the page beside another handler.
func (p *plane) withConsole(others http.Handler, options console.Options) (http.Handler, error) {
	options.Held = func(kind aibridgedserver.BudgetKind, id string) decimal.Decimal {
		return decimal.New(int64(p.budgets.ledger.Held(budget.Subject{Kind: budget.Kind(kind), ID: id})), -12)
	}
	page, err := console.New(p.reports, p.store, options)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == strings.TrimSuffix(consolePath, "/"):
			http.Redirect(w, r, consolePath, http.StatusSeeOther)
		case strings.HasPrefix(r.URL.Path, consolePath):
			page.ServeHTTP(w, r)
		default:
			others.ServeHTTP(w, r)
		}
	}), nil
}

// liveRequests are the requests of a server, for the page.
type liveRequests struct{ server *aibridged.Server }

// Running implements [console.Live].
func (l liveRequests) Running() []console.Request {
	running := l.server.Running()
	shown := make([]console.Request, len(running))
	for i, r := range running {
		shown[i] = console.Request{
			ID: r.ID, Since: r.Since, UserID: r.InitiatorID, User: r.Username, APIKeyID: r.APIKeyID, Provider: r.Provider,
			InterceptionID: r.InterceptionID, Model: r.Model, Client: r.Client,
		}
	}
	return shown
}

// End implements [console.Live].
func (l liveRequests) End(id uint64) bool { return l.server.End(id) }

// consoleHealth returns how the gateway does, for the page.
func (g *gateway) consoleHealth(ctx context.Context, registry prometheus.Gatherer) console.Health {
	h := console.Health{Providers: []console.ProviderHealth{}, Keys: []console.KeyHealth{}}
	if err := g.notReady(ctx); err != nil {
		h.NotReady = err.Error()
	}
	for _, p := range g.providers.current() {
		if p.status == aibridged.ProviderStatusError {
			p.state = "error: the log says why" // It may name files of the machine.
		}
		h.Providers = append(h.Providers, console.ProviderHealth{Name: p.name, Type: p.kind, State: p.state})
	}
	for _, k := range g.upstreams.Keys() {
		h.Keys = append(h.Keys, console.KeyHealth{Provider: k.Provider, Hint: k.Hint, State: k.State, Until: k.Until, Models: liveKey{Models: k.Models, Unnamed: k.Unnamed}.restsFor()})
	}
	h.Figures = append(queueFigures(registry), versions()...)
	return h
}

// queueFigures returns how many records wait, from the metrics that operators have.
func queueFigures(registry prometheus.Gatherer) (figures []console.Figure) {
	names := map[string]string{
		"aibridged_records_pending": "Records that wait", "aibridged_records_pending_bytes": "Bytes of records that wait",
		"aibridged_records_oldest_age_seconds": "Seconds that the oldest has waited", "aibridged_records_dead": "Records that were set aside",
		"aibridged_records_dropped_total": "Records that were given up", "aibridged_bodies_memory_bytes": "Bytes of bodies in memory",
	}
	families, _ := registry.Gather() // What could be gathered is there.
	for _, family := range families {
		name := names[family.GetName()]
		if name == "" || len(family.GetMetric()) == 0 {
			continue
		}
		metric := family.GetMetric()[0]
		value := metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		figures = append(figures, console.Figure{Name: name, Value: strconv.FormatFloat(value, 'f', -1, 64)})
	}
	return figures
}

// versions returns of what the program is made.
func versions() []console.Figure {
	var figures []console.Figure
	if info, ok := debug.ReadBuildInfo(); ok {
		figures = append(figures, console.Figure{Name: "Program", Value: info.Main.Version}, console.Figure{Name: "Go", Value: info.GoVersion})
	}
	if book, err := prices.New(nil); err == nil {
		figures = append(figures, console.Figure{Name: "Prices", Value: book.Source()})
	}
	return figures
}

// keptExchanges is the directory of serve --keep-exchanges, for the page.
type keptExchanges string

// Kept implements [console.Exchanges].
func (dir keptExchanges) Kept(_ context.Context, i *aibridgedserver.Interception) (console.Kept, error) {
	id, err := uuid.Parse(i.ID)
	if err != nil {
		return console.Kept{}, err
	}
	var found console.Kept
	bytes := 0
	rounds, problem := verify.Rounds(string(dir), id)
	for _, exchange := range rounds {
		found.Rounds = append(found.Rounds, roundOf(exchange))
		bytes += len(exchange.Request) + len(exchange.Response)
	}
	switch {
	case len(rounds) == 0 && problem == nil:
	case i.EndedAt == nil:
		found.Verdict = "It has not ended, so its records are not compared with the bytes yet."
	case time.Since(*i.EndedAt) < keptSettled:
		found.Verdict = "It has only just ended: load the page anew to compare its records with the bytes."
	case bytes > mostCompared:
		found.Verdict = "These are too many bytes to be compared with the records here: aibridged verify does that."
	default:
		recorded, err := recordedOf(i)
		if err != nil {
			return found, err
		}
		found.Verdict, found.Differences = verdictOf(verify.Compare(recorded, rounds, problem))
	}
	return found, nil
}

// mostCompared is how many bytes of an interception the page compares with its records: few of its requests are worked on at a time.
const mostCompared = 8 << 20

// keptSettled is how long the last bytes of an exchange take to be kept.
const keptSettled = 2 * time.Second

func verdictOf(v verify.Verdict) (verdict string, differences []string) {
	for _, d := range v.Differences {
		text := d.Problem
		if text == "" {
			text = fmt.Sprintf("recorded %s, the bytes say %s", rederive.Shown(d.Recorded), rederive.Shown(d.Bytes))
		}
		differences = append(differences, d.Field+": "+text)
	}
	switch {
	case len(differences) > 0:
		return "The records differ from the bytes.", differences
	case v.Kept == verify.KeptInPart:
		return "The records are what the bytes say, of which a part was kept.", nil
	default:
		return "The records are what the bytes say.", nil
	}
}

func roundOf(e *kept.Exchange) console.Round {
	round := console.Round{Request: bodyOf(e.Head.Header, e.Request), Ending: "not ended"}
	if e.Answer != nil {
		round.Status, round.Response = e.Answer.Status, bodyOf(e.Answer.Header, e.Response)
	}
	if e.End != nil {
		round.Ending = strings.TrimSpace(string(e.End.Ending) + " " + e.End.Failure)
	}
	return round
}

// mostPlain is how many bytes of a body are shown at most.
const mostPlain = 1 << 20

// bodyOf returns a body. What is shown of it has no content coding.
func bodyOf(header http.Header, body []byte) console.Body {
	plain := body
	if coding := header.Get("Content-Encoding"); contentcoding.IsCoded(coding) {
		plain, _ = contentcoding.Decode(coding, body, mostPlain, nil) // What could be decoded is shown.
	}
	return console.Body{Header: header, Bytes: body, Plain: plain[:min(len(plain), mostPlain)]}
}
