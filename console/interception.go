package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/storable"
)

// Exchanges reads the bytes that a gateway has kept of interceptions. It is called by a few requests at a time.
type Exchanges interface {
	// Kept returns what was kept of an interception. Without rounds, nothing was.
	Kept(ctx context.Context, of *aibridgedserver.Interception) (Kept, error)
}

// Kept is what was kept of an interception.
type Kept struct {
	Rounds []Round
	// Verdict says in a line whether the records are what the bytes say, and Differences where they are not.
	Verdict     string
	Differences []string
}

// Round is a request that went upstream, and its answer.
type Round struct {
	Request, Response Body
	Status            int    // Of the answer. Zero: there is none.
	Ending            string // How the answer ended, in a line.
}

// Body is one direction of a round.
type Body struct {
	Header http.Header
	Bytes  []byte // As they went over the wire.
	Plain  []byte // The same without its content coding. Nil: it could not be removed.
}

// interceptionPage is an interception with all that is recorded of it.
type interceptionPage struct {
	*reports.Detail

	Facts   []fact
	Usages  []usage
	Kept    *Kept
	Bodies  []shownBody
	HasKept bool // The gateway can keep bytes.

	Prompts                              []aibridgedserver.Prompt
	Thoughts                             []aibridgedserver.ModelThought
	Calls                                []aibridgedserver.ToolUsage
	MorePrompts, MoreThoughts, MoreCalls int // Which the page does not show.
}

type fact struct{ Name, Value, Href string }

// usage is a token usage with its cost.
type usage struct {
	*aibridgedserver.TokenUsage // Nil: the answer was cut before its usage came.

	Cost *prices.Cost
}

// shownBody is a body as a page shows it.
type shownBody struct {
	Name, Head, Pretty, Raw, Href string
	Bytes                         int
	IsCut                         bool
}

// mostRounds is how many rounds a page shows the bytes of. To others it leads.
const mostRounds = 4

// interception shows an interception.
func (c *Console) interception(v *visit) (*answer, error) {
	found, err := c.reports.Interception(v.Context(), v.viewer, v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	i := found.Interception
	p := &interceptionPage{Detail: found, Facts: c.factsOf(v, found), HasKept: c.options.Exchanges != nil}
	for n, u := range i.TokenUsages {
		one := usage{TokenUsage: &u}
		if n < len(found.Costs) {
			one.Cost = &found.Costs[n]
		}
		p.Usages = append(p.Usages, one)
	}
	for n := len(i.TokenUsages); n < len(found.Costs); n++ { // Of an answer that was cut before its usage came.
		p.Usages = append(p.Usages, usage{Cost: &found.Costs[n]})
	}
	p.Prompts, p.MorePrompts = firstOf(i.Prompts)
	p.Thoughts, p.MoreThoughts = firstOf(i.ModelThoughts)
	p.Calls, p.MoreCalls = firstOf(i.ToolUsages)
	if c.options.Exchanges != nil && v.format() == "" {
		kept, err := c.options.Exchanges.Kept(v.Context(), i)
		if err != nil {
			return nil, fmt.Errorf("kept bytes of %s: %w", i.ID, err)
		}
		p.Kept, p.Bodies = &kept, c.bodiesOf(i.ID, kept)
	}
	return &answer{
		view: "interception", title: "Interception " + i.ID, data: p, file: "interception-" + i.ID, table: p.table(), json: found,
	}, nil
}

// factsOf returns what is recorded of an interception, but for its lists.
func (c *Console) factsOf(v *visit, of *reports.Detail) (facts []fact) {
	i := of.Interception
	add := func(name, value, href string) {
		if value != "" {
			facts = append(facts, fact{name, value, href})
		}
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	number := func(n *int64, unit string) string {
		if n == nil {
			return ""
		}
		return count(*n) + unit
	}
	result := "ok"
	switch {
	case i.ErrorType != nil:
		result = *i.ErrorType
	case i.EndedAt == nil:
		result = "running"
	}
	add("Outcome", result, "")
	add("Error message", text(i.ErrorMessage), "")
	add("User", userName(i.Initiator, i.InitiatorID), "")
	if of.SessionID != 0 {
		id := strconv.FormatInt(of.SessionID, 10)
		add("Session", id, c.options.Path+"sessions/"+id+"#step-"+i.ID)
	}
	add("Model", i.Model, "")
	add("Provider", i.ProviderName+" ("+i.Provider+")", "")
	add("Client", i.Client, "")
	add("User agent", i.UserAgent, "")
	add("Session of the client", text(i.ClientSessionID), "")
	add("Began", v.time(i.StartedAt).Text, "")
	if i.EndedAt != nil {
		add("Took", took(i.EndedAt.Sub(i.StartedAt)), "")
	}
	if i.FirstByteMicros != nil {
		add("First byte after", millis(reports.Milliseconds(*i.FirstByteMicros/1000)), "")
	}
	add("Cost", priceText(of.Total), "")
	add("Token of the gateway", i.APIKeyID, "")
	add("Credential", i.CredentialKind, "")
	add("Credential hint", i.CredentialHint, "")
	add("Answers the tool call", text(i.CorrelatingToolCallID), "")
	add("Request", number(i.RequestBytes, " bytes"), "")
	add("Request SHA-256", text(i.RequestSHA256), "")
	add("Response", number(i.ResponseBytes, " bytes"), "")
	add("Response SHA-256", text(i.ResponseSHA256), "")
	add("Events not understood", number(i.Unread, ""), "")
	if metadata := pretty(i.Metadata); metadata != "{}" {
		add("Metadata", beginningOf(metadata), "")
	}
	return facts
}

// bodiesOf returns the bodies of what was kept, as a page shows them.
func (c *Console) bodiesOf(id string, kept Kept) (shown []shownBody) {
	for n, round := range kept.Rounds {
		for _, one := range []struct {
			name, path string
			body       Body
		}{{"Request", "request", round.Request}, {"Answer", "response", round.Response}} {
			body := shownBody{Name: one.name, Head: headText(one.body.Header), Bytes: len(one.body.Bytes)}
			if len(kept.Rounds) > 1 {
				body.Name = fmt.Sprintf("%s of round %d", one.name, n+1)
			}
			if one.path == "response" && round.Status != 0 {
				body.Head = strconv.Itoa(round.Status) + "\n" + body.Head
			}
			body.Href = fmt.Sprintf("%sinterceptions/%s/bytes/%d/%s", c.options.Path, id, n, one.path)
			plain := one.body.Plain
			most := longestText
			if n >= mostRounds {
				most = 0
			}
			body.IsCut = len(plain) > most
			plain = plain[:min(len(plain), most)]
			plain = []byte(credential.Hide(string(plain))) // An upstream may repeat its key.
			body.Raw, body.Pretty = string(plain), prettyBody(plain)
			shown = append(shown, body)
		}
	}
	return shown
}

// keptBytes sends a body as it went over the wire. Reading the interception notes the look at it.
func (c *Console) keptBytes(w http.ResponseWriter, v *visit) {
	body, err := inTurn(v.Context(), c, func() ([]byte, error) { return c.keptBody(v) })
	if err != nil {
		c.fail(w, v, err)
		return
	}
	// The parts of the path are those of an interception that was found.
	sendFile(w, v.PathValue("id")+"-"+v.PathValue("round")+"-"+v.PathValue("body"), "application/octet-stream", body)
}

func (c *Console) keptBody(v *visit) ([]byte, error) {
	found, err := c.reports.Interception(v.Context(), v.viewer, v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	kept, err := c.options.Exchanges.Kept(v.Context(), found.Interception)
	if err != nil {
		return nil, fmt.Errorf("kept bytes of %s: %w", found.Interception.ID, err)
	}
	round, err := strconv.ParseUint(v.PathValue("round"), 10, 16)
	if err != nil || round >= uint64(len(kept.Rounds)) {
		return nil, reports.ErrNotFound
	}
	switch v.PathValue("body") {
	case "request":
		return kept.Rounds[round].Request.Bytes, nil
	case "response":
		return kept.Rounds[round].Response.Bytes, nil
	default:
		return nil, reports.ErrNotFound
	}
}

// Items returns what a usage cost, by kind.
func (u usage) Items() []prices.Item {
	if u.Cost == nil {
		return nil
	}
	return u.Cost.Items
}

// beginningOf returns the beginning of a text that stands among others.
func beginningOf(text string) string {
	const longest = 16 << 10
	if kept := storable.Cut(text, longest); len(kept) < len(text) {
		return kept + "…"
	}
	return text
}

// table returns all that is recorded of an interception as a table, a value a row.
func (p *interceptionPage) table() *table {
	t := &table{Caption: "Interception", Columns: columns([]string{"What", "Which", "Value"})}
	add := func(what, which, value string) {
		t.Rows = append(t.Rows, []cell{{Text: what}, {Text: which}, {Text: value}})
	}
	for _, f := range p.Facts {
		add("fact", f.Name, f.Value)
	}
	i := p.Interception
	for _, prompt := range i.Prompts {
		add("prompt", prompt.RecordID, prompt.Prompt)
	}
	for _, u := range p.Usages {
		if u.TokenUsage != nil {
			for _, figure := range []struct {
				name  string
				count int64
			}{{"input", u.InputTokens}, {"from caches", u.CacheReadInputTokens}, {"into caches", u.CacheWriteInputTokens}, {"output", u.OutputTokens}} {
				add("tokens", figure.name, strconv.FormatInt(figure.count, 10))
			}
		}
		for _, item := range u.Items() {
			cost := item.USD.String()
			if item.State == prices.Unknown {
				cost = string(item.State)
			}
			add("cost in USD", string(item.Kind), cost)
		}
	}
	for _, thought := range i.ModelThoughts {
		add("thought", thought.RecordID, thought.Content)
	}
	for _, call := range i.ToolUsages {
		add("tool call", call.Tool, call.Input)
	}
	return t
}
