package rederive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rederive"
)

// played is what happened in one exchange through the gateway.
type played struct {
	request  ask
	coding   string // The request's content coding.
	sent     []byte // What the client sent.
	upstream upstream
	// upstreamGot is the request that the upstream got, nil for none.
	upstreamGot *http.Request
	upstreamSaw []byte
	handed      int  // How many bytes of the answer the gateway has read.
	ended       bool // The gateway has read the end of the answer.
	left        bool

	status  int
	header  http.Header
	body    []byte
	aborted bool
	records []aibridge.Record
}

// gateway is a bridge that takes its upstream and its records from the exchange that is played.
type gateway struct{ providers []aibridge.Provider }

type playedKey struct{}

func newGateway(t testing.TB) *gateway {
	g := &gateway{}
	options := aibridge.ProviderOptions{Key: "sk-provider-0123456789", Transport: g}
	anthropic, err := aibridge.NewAnthropicProvider("anthropic", options)
	if err != nil {
		t.Fatal(err)
	}
	openai, err := aibridge.NewOpenAIProvider("openai", options)
	if err != nil {
		t.Fatal(err)
	}
	g.providers = []aibridge.Provider{anthropic, openai}
	return g
}

// bridge returns a bridge that knows of no key that was refused before, since each exchange stands alone.
func (g *gateway) bridge(t testing.TB) *aibridge.RequestBridge {
	t.Helper()
	providers, err := aibridge.NewProviderSet(g.providers...)
	if err != nil {
		t.Fatal(err)
	}
	return aibridge.NewRequestBridge(providers, g, aibridge.BridgeOptions{})
}

// Record implements [aibridge.Recorder].
func (*gateway) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	p := ctx.Value(playedKey{}).(*played)
	p.records = append(p.records, records...)
	return nil, nil
}

// RoundTrip implements [http.RoundTripper]. It is the upstream.
func (*gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	var err error
	p := r.Context().Value(playedKey{}).(*played)
	p.upstreamGot = r
	if p.upstreamSaw, err = io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: p.upstream.status, Header: p.upstream.header.Clone(), Body: &answering{p}, ContentLength: -1, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// play sends a request through the gateway, and has the upstream give the answer.
func (g *gateway) play(t testing.TB, d dice, format string, request ask, answer upstream) *played {
	p := &played{request: request, coding: d.coding(), upstream: answer}
	p.sent = d.coded(p.coding, []byte(request.body))
	if request.refused && p.coding != "" && d.oneIn(2) {
		p.sent = append([]byte("x"), p.sent...)
	}
	g.exchange(t, p, format)
	return p
}

// playPlain is play for a request without a content coding.
func (g *gateway) playPlain(t testing.TB, format string, request ask, answer upstream) *played {
	p := &played{request: request, sent: []byte(request.body), upstream: answer}
	g.exchange(t, p, format)
	return p
}

// exchange sends the request of an exchange, and notes what the client gets.
func (g *gateway) exchange(t testing.TB, p *played, format string) {
	path := map[string]string{
		rederive.FormatMessages:  "/anthropic/v1/messages?beta=true",
		rederive.FormatChat:      "/openai/v1/chat/completions",
		rederive.FormatResponses: "/openai/v1/responses",
	}[format]

	ctx := context.WithValue(context.WithValue(aibridge.AsActor(t.Context(), aibridge.Actor{ID: "ada"}), http.ServerContextKey, &http.Server{}), playedKey{}, p)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(p.sent))
	maps.Copy(r.Header, p.request.header)
	if p.coding != "" {
		r.Header.Set("Content-Encoding", p.coding)
	}
	w := &client{ResponseRecorder: httptest.NewRecorder(), played: p, leave: cancel}
	func() {
		defer func() {
			if reason := recover(); reason != nil {
				if reason != http.ErrAbortHandler {
					panic(reason)
				}
				p.aborted = true
			}
		}()
		g.bridge(t).ServeHTTP(w, r)
	}()
	p.status, p.header, p.body = w.Code, w.Result().Header, w.Body.Bytes()
}

// answering is the body of an answer, which returns it in pieces.
type answering struct{ *played }

func (a *answering) Read(b []byte) (int, error) {
	rest := a.upstream.body[a.handed:]
	if a.ended = len(rest) == 0; a.ended {
		if !a.upstream.whole {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+(a.handed*7919+13)%a.upstream.chunk)], rest)
	a.handed += n
	return n, nil
}

func (*answering) Close() error { return nil }

// client reads an answer, and may leave before its end.
type client struct {
	*httptest.ResponseRecorder
	*played
	leave func()
}

func (c *client) Write(b []byte) (int, error) {
	if c.upstreamGot != nil && c.upstream.clientGone >= 0 && c.Body.Len() >= c.upstream.clientGone {
		c.left = true
		c.leave()
		return 0, errors.New("the client left")
	}
	return c.ResponseRecorder.Write(b)
}

// exchange returns the exchange as it went over the wire, for Derive.
func (p *played) exchange(format string) rederive.Exchange {
	header := p.request.header.Clone()
	if p.coding != "" {
		header.Set("Content-Encoding", p.coding)
	}
	left := p.left && !p.ended // A client that leaves later has not cut the answer.
	return rederive.Exchange{
		Format: format, RequestHeader: header, Request: p.sent,
		Status: p.upstream.status, ResponseHeader: p.upstream.header, Response: p.upstream.body[:p.handed],
		Whole: p.upstream.whole && p.ended, ClientLeft: left, Abandoned: left,
	}
}

// recorded returns what the gateway recorded, as Facts. It fails where the records are not in order.
func (p *played) recorded() (facts rederive.Facts, err error) {
	var order []string
	ids := map[uuid.UUID]bool{}
	start, ok := p.records[0].(*aibridge.InterceptionStart)
	if !ok {
		return facts, fmt.Errorf("the first record is a %T", p.records[0])
	}
	for _, record := range p.records {
		order = append(order, strings.TrimPrefix(fmt.Sprintf("%T", record), "*aibridge."))
		v := reflect.ValueOf(record).Elem()
		if id := v.FieldByName("InterceptionID"); id.IsValid() && id.Interface() != start.ID {
			return facts, fmt.Errorf("%T is of another interception", record)
		}
		if id := v.FieldByName("RecordID"); id.IsValid() && ids[id.Interface().(uuid.UUID)] {
			return facts, fmt.Errorf("two records have one id")
		} else if id.IsValid() {
			ids[id.Interface().(uuid.UUID)] = true
		}
		switch record := record.(type) {
		case *aibridge.InterceptionStart:
			facts.Model, facts.Client, facts.ClientSessionID = record.Model, record.Client, record.ClientSessionID
			facts.CorrelatingToolCallID, facts.UserAgent = record.CorrelatingToolCallID, record.UserAgent
		case *aibridge.PromptUsage:
			facts.Prompt = &rederive.Prompt{Text: record.Prompt, Metadata: record.Metadata}
		case *aibridge.TokenUsage:
			facts.TokenUsages = append(facts.TokenUsages, rederive.TokenUsage{
				MessageID: record.MessageID, Input: record.InputTokens, Output: record.OutputTokens,
				CacheRead: record.CacheReadInputTokens, CacheWrite: record.CacheWriteInputTokens, Metadata: record.Metadata,
			})
		case *aibridge.ToolUsage:
			facts.ToolUsages = append(facts.ToolUsages, rederive.ToolUsage{
				MessageID: record.MessageID, CallID: record.ToolCallID, ItemID: record.ItemID, Tool: record.Tool, Input: record.Input,
				Injected: record.Injected, Metadata: record.Metadata,
			})
		case *aibridge.ModelThought:
			facts.Thoughts = append(facts.Thoughts, rederive.Thought{Content: record.Content, Metadata: record.Metadata})
		case *aibridge.InterceptionEnd:
			facts.ErrorType, facts.ErrorMessage = string(record.ErrorType), record.ErrorMessage
		}
	}
	return facts, inOrder(order)
}

func inOrder(order []string) error {
	const prescribed = "InterceptionStart PromptUsage? TokenUsage? ToolUsage* ModelThought* InterceptionEnd"
	rest := order
	for step := range strings.FieldsSeq(prescribed) {
		kind := strings.TrimRight(step, "?*")
		n := 0
		for len(rest) > 0 && rest[0] == kind && (n == 0 || strings.HasSuffix(step, "*")) {
			rest = rest[1:]
			n++
		}
		if n == 0 && kind == step {
			return fmt.Errorf("records in the order %v", order)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("records in the order %v", order)
	}
	return nil
}

// check returns what is wrong with an exchange: with its bytes, or with its records.
func (p *played) check(format string) []string {
	derived, err := rederive.Derive(p.exchange(format))
	if err != nil {
		return p.checkRefused(err)
	}
	if len(p.records) == 0 {
		return []string{fmt.Sprintf("nothing was recorded, status %d: %s", p.status, p.body)}
	}
	wrong := p.checkBytes(format)
	recorded, err := p.recorded()
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	for _, difference := range derived.Diff(recorded) {
		wrong = append(wrong, difference.String())
	}
	return wrong
}

func (p *played) checkRefused(err error) []string {
	var wrong []string
	if !errors.Is(err, rederive.ErrNoRequest) || !p.request.refused {
		wrong = append(wrong, "no facts: "+err.Error())
	}
	if p.upstreamGot != nil || len(p.records) > 0 {
		wrong = append(wrong, fmt.Sprintf("sent and recorded, although: %v", err))
	}
	if p.status < 400 || p.status > 499 || !json.Valid(p.body) {
		wrong = append(wrong, fmt.Sprintf("refused with %d: %s", p.status, p.body))
	}
	return wrong
}

// checkBytes compares the bytes that went in with those that came out, in both directions.
func (p *played) checkBytes(format string) []string {
	var wrong []string
	asksForUsage := format == rederive.FormatChat && p.request.stream && !p.request.hasUsage
	if !asksForUsage && !bytes.Equal(p.upstreamSaw, p.sent) {
		wrong = append(wrong, "the upstream got another request than the client sent")
	}
	if asksForUsage && !asksLike(p.upstreamSaw, []byte(p.request.body)) {
		wrong = append(wrong, "the upstream got another question: "+string(p.upstreamSaw))
	}
	if !p.upstream.isStream && !p.upstream.whole {
		// White space before an answer is passed on at once: after it only a broken connection can show the failure.
		isBlank := len(p.body) > 0 && len(bytes.TrimSpace(p.body)) == 0 && p.aborted && p.status == p.upstream.status
		if !isBlank && (p.status != http.StatusBadGateway || !json.Valid(p.body) || p.aborted) {
			wrong = append(wrong, fmt.Sprintf("half an answer became a %d: %s", p.status, p.body))
		}
		return wrong
	}
	if p.upstream.status/100 == 3 {
		if p.status != http.StatusBadGateway || bytes.Contains(p.body, p.upstream.body) && len(p.upstream.body) > 0 {
			wrong = append(wrong, fmt.Sprintf("a redirect became a %d: %s", p.status, p.body))
		}
		return wrong
	}
	if p.status != p.upstream.status {
		wrong = append(wrong, fmt.Sprintf("status %d became %d", p.upstream.status, p.status))
	}
	want := p.upstream.body[:p.handed]
	if isCoded := p.upstream.coding != "" && p.upstream.coding != "identity"; asksForUsage && p.upstream.isStream && !isCoded {
		want = p.upstream.kept(p.handed)
	}
	if p.left {
		if !bytes.HasPrefix(want, p.body) {
			wrong = append(wrong, "other bytes until the client left")
		}
		return wrong
	}
	if p.handed != len(p.upstream.body) {
		wrong = append(wrong, fmt.Sprintf("%d of %d bytes were read", p.handed, len(p.upstream.body)))
	}
	if !bytes.Equal(want, p.body) {
		wrong = append(wrong, fmt.Sprintf("the client got\n%q\nnot\n%q", p.body, want))
	}
	return wrong
}

// asksLike reports whether got is the request asked with one change: it also asks for the usage of a stream.
func asksLike(got, asked []byte) bool {
	read := func(body []byte) map[string]any {
		var fields map[string]any
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		if decoder.Decode(&fields) != nil {
			return nil
		}
		return fields
	}
	had, has := read(asked), read(got)
	options, _ := had["stream_options"].(map[string]any)
	if options == nil {
		options = map[string]any{}
	}
	options["include_usage"] = true
	had["stream_options"] = options
	return has != nil && reflect.DeepEqual(had, has)
}
