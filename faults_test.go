package aibridged_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// Tests named TestFaultNNN show what a client of the whole gateway sees of a fault, and what is recorded of it. Beside
// its own rule, each of them checks that errors have the shape of the API that was called, that every interception has
// one start and one end, and that no error and no log line holds a credential or a prompt. Tests that call
// [site.serves] also check that the next request on the same gateway is served as if the fault had not happened.

// canaryPrompt is the prompt of the requests. Only the upstream and the record of the prompt may hold it.
const canaryPrompt = "canary of a prompt: what is in the attic?"

// The models that requests are for.
const (
	faulty = "faulty" // The upstream plays its fault.
	fine   = "fine"   // The upstream answers without a fault.
)

// site is a gateway under test. It is safe for concurrent use.
type site struct {
	*testkit.Gateway

	client   *http.Client
	upstream string // The upstream's host and port, which no client may learn.
	requests atomic.Int64
}

// newSite returns a gateway whose providers are at upstreamURL. When the gateway has been shut down, the test checks
// its log and its records.
func newSite(t *testing.T, upstreamURL string, options testkit.GatewayOptions) *site {
	t.Helper()
	s := &site{client: testkit.NewClient(t), upstream: strings.TrimPrefix(upstreamURL, "http://")}
	t.Cleanup(func() {
		if s.Gateway == nil {
			return
		}
		s.checkSecrets(t, "the log", s.Log.String())
		testkit.CheckPairs(t, s.Control.Records())
	})
	s.Gateway = testkit.NewGateway(t, upstreamURL, options)
	if _, err := s.Server.Client(); err != nil { // Waits for the connection: on a busy machine it may take a while.
		t.Fatal(err)
	}
	return s
}

// newFaulty returns a gateway and its upstream, which plays a fault to requests for the model [faulty].
func newFaulty(t *testing.T, options testkit.GatewayOptions, play func(c *rawserver.Conn, q question)) (*site, *scripted) {
	t.Helper()
	up := newScripted(t, play)
	return newSite(t, up.URL(), options), up
}

// request returns a request with a user agent that no other request has.
func (s *site) request(t *testing.T, q question, model string) *http.Request {
	t.Helper()
	r := s.Request(t, http.MethodPost, q.format.path, q.body(model))
	r.Header.Set("User-Agent", s.agent())
	return r
}

func (s *site) agent() string { return "fault/" + strconv.FormatInt(s.requests.Add(1), 10) }

// want says what the client gets for a request, and what is recorded of it.
type want struct {
	status int
	body   string // Byte for byte; for an error of the gateway's own, the error's text.
	own    bool   // The answer is an error of the gateway's own.
	cut    bool   // The connection breaks off after the body.

	unrecorded bool // The request began no interception.
	ended      aibridge.ErrorType
	usage      string // In the form of usageOf.
}

// answered returns the want of a request that succeeds.
func answered(q question) want { return want{status: http.StatusOK, body: q.answer(), usage: "12/2"} }

// broken returns the want of a stream that breaks off after its first n events.
func broken(q question, n int) want {
	w := want{status: http.StatusOK, body: strings.Join(q.format.events[:n], ""), cut: true, ended: aibridge.ErrorTruncated}
	if q.format.name == "messages" {
		w.usage = "12/1 partial" // The other formats report usage at the end only.
	}
	return w
}

// failed returns the want of an interception that ends in an error of the gateway's own.
func failed(status int, text string, ended aibridge.ErrorType) want {
	return want{status: status, body: text, own: true, ended: ended}
}

// refused returns the want of a request that never becomes an interception.
func refused(status int, text string) want {
	return want{status: status, body: text, own: true, unrecorded: true}
}

// check sends a request, reads the answer to its end, and compares.
func (s *site) check(t *testing.T, r *http.Request, want want) {
	t.Helper()
	response, err := s.client.Do(r)
	if err != nil {
		t.Errorf("%s: %v", r.URL.Path, err)
		return
	}
	s.checkAnswer(t, r, response, want)
	s.checkRecords(t, r, want)
}

// checkAnswer reads the rest of an answer and compares it.
func (s *site) checkAnswer(t *testing.T, r *http.Request, response *http.Response, want want) {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if (err != nil) != want.cut {
		t.Errorf("%s: the answer ended with %v, want it cut: %t", r.URL.Path, err, want.cut)
	}
	if response.StatusCode != want.status {
		t.Errorf("%s: status %d, want %d; body %.200q", r.URL.Path, response.StatusCode, want.status, body)
	}
	got := string(body)
	if want.own {
		s.checkSecrets(t, "the answer", fmt.Sprint(response.Header)+got)
		got = shapes()[strings.TrimPrefix(r.URL.Path, aibridge.RootPath)](t, body)
	}
	if got != want.body {
		t.Errorf("%s: client got\n%.2000q\nwant\n%.2000q", r.URL.Path, got, want.body)
	}
}

func (s *site) checkRecords(t *testing.T, r *http.Request, want want) {
	t.Helper()
	if want.unrecorded {
		if got := recordsOf(s.Control.Records(), r.UserAgent()); len(got) != 0 {
			t.Errorf("%s: recorded %d records of a request that was refused", r.URL.Path, len(got))
		}
		return
	}
	records := s.interception(t, r.UserAgent())
	end := records[len(records)-1].GetInterceptionEnded()
	if end.GetErrorType() != string(want.ended) {
		t.Errorf("%s: ended as %q (%s), want %q", r.URL.Path, end.GetErrorType(), end.GetErrorMessage(), want.ended)
	}
	s.checkSecrets(t, "the record of the end", end.GetErrorMessage())
	if usage := usageOf(records); usage != want.usage {
		t.Errorf("%s: recorded usage %q, want %q", r.URL.Path, usage, want.usage)
	}
}

// serves fails the test unless further requests on the same gateway succeed: a fault spoils no other request.
func (s *site) serves(t *testing.T) {
	t.Helper()
	for _, q := range questions() {
		s.check(t, s.request(t, q, fine), answered(q))
	}
}

// interception returns the records of the request with a user agent, once it has ended.
func (s *site) interception(t *testing.T, agent string) []*proto.Record {
	t.Helper()
	for n := 1; ; n++ {
		records := recordsOf(s.Control.WaitEnds(t, n), agent)
		if len(records) > 0 && records[len(records)-1].GetInterceptionEnded() != nil {
			testkit.CheckPairs(t, records)
			return records
		}
	}
}

// checkSecrets fails the test if text contains anything that only upstreams and records may hold.
func (s *site) checkSecrets(t *testing.T, where, text string) {
	t.Helper()
	secrets := []string{testkit.ProviderKey, testkit.Token, canaryPrompt}
	if where != "the log" { // Operators may know where their upstream is.
		secrets = append(secrets, s.upstream, "127.0.0.1", ".go:")
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%s holds %q:\n%.2000s", where, secret, text)
		}
	}
}

// recordsOf returns the records of the interception that a request with a user agent began.
func recordsOf(records []*proto.Record, agent string) []*proto.Record {
	var (
		own []*proto.Record
		id  string
	)
	for _, record := range records {
		if start := record.GetInterception(); start != nil && start.GetUserAgent() == agent {
			id = start.GetId()
		}
		if id != "" && interceptionID(record) == id {
			own = append(own, record)
		}
	}
	return own
}

func interceptionID(record *proto.Record) string {
	switch r := record.GetRecord().(type) {
	case *proto.Record_Interception:
		return r.Interception.GetId()
	case *proto.Record_InterceptionEnded:
		return r.InterceptionEnded.GetId()
	case *proto.Record_PromptUsage:
		return r.PromptUsage.GetInterceptionId()
	case *proto.Record_TokenUsage:
		return r.TokenUsage.GetInterceptionId()
	case *proto.Record_ToolUsage:
		return r.ToolUsage.GetInterceptionId()
	case *proto.Record_ModelThought:
		return r.ModelThought.GetInterceptionId()
	}
	return ""
}

// usageOf returns the usage of an interception as input/output, and whether it is partial; "" where there is none.
func usageOf(records []*proto.Record) string {
	var rows []string
	for _, record := range records {
		if usage := record.GetTokenUsage(); usage != nil {
			row := fmt.Sprintf("%d/%d", usage.GetInputTokens(), usage.GetOutputTokens())
			if usage.GetMetadata()["partial"] != nil {
				row += " partial"
			}
			rows = append(rows, row)
		}
	}
	return strings.Join(rows, ", ")
}

// promptOf returns the record of an interception's prompt, or nil.
func promptOf(records []*proto.Record) *proto.RecordPromptUsageRequest {
	for _, record := range records {
		if prompt := record.GetPromptUsage(); prompt != nil {
			return prompt
		}
	}
	return nil
}

// scripted is an upstream that plays a fault for requests that name the model [faulty], and answers all others without
// one. It keeps a connection open unless the fault closes it.
type scripted struct {
	*rawserver.Server

	mu   sync.Mutex
	sent []testkit.Message // Guarded by mu.
}

func newScripted(t *testing.T, play func(c *rawserver.Conn, q question)) *scripted {
	t.Helper()
	u := &scripted{}
	t.Cleanup(func() {
		for _, sent := range u.requests() {
			if text := sent.First + fmt.Sprint(sent.Header) + string(sent.Body); strings.Contains(text, testkit.Token) {
				t.Errorf("the gateway's token went upstream: %.2000s", text)
			}
		}
	})
	u.Server = rawserver.New(t, func(c *rawserver.Conn) {
		for {
			request, body := c.ReadRequest()
			if request == nil {
				return
			}
			u.mu.Lock()
			u.sent = append(u.sent, testkit.Message{
				First: request.Method + " " + request.RequestURI, Header: request.Header, Body: body,
			})
			u.mu.Unlock()
			q := questionOf(request, body)
			if strings.Contains(string(body), `"`+faulty+`"`) {
				play(c, q)
				continue // If the connection is closed, no further request comes.
			}
			c.Write(q.response())
		}
	})
	return u
}

// requests returns the requests that the upstream got, in order.
func (u *scripted) requests() []testkit.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]testkit.Message(nil), u.sent...)
}

// checkRequests fails the test unless the upstream got n requests for the model [faulty].
func (u *scripted) checkRequests(t *testing.T, n int) {
	t.Helper()
	got := 0
	for _, sent := range u.requests() {
		if strings.Contains(string(sent.Body), `"`+faulty+`"`) {
			got++
		}
	}
	if got != n {
		t.Errorf("the upstream was asked %d times, want %d", got, n)
	}
}

// questionOf returns the question that a request to an upstream asks.
func questionOf(r *http.Request, body []byte) question {
	var asks struct{ Stream bool }
	_ = json.Unmarshal(body, &asks) // A coded body is taken for one that asks for no stream.
	for _, f := range formats() {
		if strings.HasSuffix(f.path, r.URL.Path) {
			return question{f, asks.Stream}
		}
	}
	return question{format{}, asks.Stream}
}
