package aibridged_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// away is a control plane that authorises but fails to store anything, until the test brings it back.
type away struct {
	testkit.ControlPlane

	back atomic.Bool
}

func newAway() *away {
	a := &away{}
	a.Record = func(context.Context, *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
		if a.back.Load() {
			return &proto.RecordBatchResponse{}, nil
		}
		return nil, drpcerr.WithCode(errors.New("database is locked"), 14)
	}
	return a
}

// TestRecordsWait is behaviour 3 while the database is away: requests are served, and all are recorded once it is back.
func TestRecordsWait(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]aibridged.RecordOptions{
		"memory": {},
		"kernel": {Directory: t.TempDir(), Durability: aibridged.DurabilityKernel},
		"sync":   {Directory: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			control := newAway()
			s, _ := newFine(t, testkit.GatewayOptions{Control: &control.ControlPlane, Records: records})
			var sent []*http.Request
			for _, q := range questions() {
				r := s.request(t, q, fine)
				response, err := s.client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				want := answered(q)
				s.checkAnswer(t, r, response, want)
				sent = append(sent, r)
			}
			if n := len(control.Records()); n != 0 {
				t.Fatalf("%d records were stored", n)
			}
			control.back.Store(true)
			for i, q := range questions() {
				s.checkRecords(t, sent[i], answered(q))
			}
		})
	}
}

// TestFault078NoRoom is fault 78: without room for its records no request is sent; earlier requests lose no record.
func TestFault078NoRoom(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]aibridged.RecordOptions{
		"memory": {MaxBytes: 16 << 10},
		"disk":   {MaxBytes: 16 << 10, Directory: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			control := newAway()
			s, up := newFine(t, testkit.GatewayOptions{Control: &control.ControlPlane, Records: records})
			q := question{messagesFormat(), true}
			served := 0
			for ; ; served++ {
				response, err := s.client.Do(s.request(t, q, fine))
				if err != nil {
					t.Fatal(err)
				}
				if response.StatusCode == http.StatusOK && served < 1000 {
					checkBody(t, response, q.answer())
					continue
				}
				if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
					t.Fatalf("after %d requests: status %d, Retry-After %q", served, response.StatusCode, response.Header.Get("Retry-After"))
				}
				checkBody(t, response, `{"type":"error","error":{"type":"overloaded_error","message":"there is no room for records at the moment"}}`)
				break
			}
			if n := len(up.requests()); n != served {
				t.Errorf("%d requests were served, and %d sent upstream", served, n)
			}
			control.back.Store(true)
			control.WaitEnds(t, served)
			s.serves(t)
			records := control.WaitEnds(t, served+1)
			testkit.CheckPairs(t, records)
		})
	}
}

// TestFault078GoOn is fault 78 where the operator chose to go on without records: each lost record is counted and
// logged.
func TestFault078GoOn(t *testing.T) {
	t.Parallel()
	control := newAway()
	s, up := newFine(t, testkit.GatewayOptions{Control: &control.ControlPlane, Records: aibridged.RecordOptions{
		MaxBytes: 1, WhenFull: aibridged.WhenFullGoOn,
	}})
	for _, q := range questions() {
		response, err := s.client.Do(s.request(t, q, fine))
		if err != nil {
			t.Fatal(err)
		}
		checkBody(t, response, q.answer())
	}
	if n := len(up.requests()); n != len(questions()) {
		t.Errorf("%d requests were sent upstream", n)
	}
	if n := strings.Count(s.Log.String(), "records dropped, as configured"); n < len(questions()) {
		t.Errorf("the log tells of %d of %d drops", n, len(questions()))
	}
}

// TestFault083Poison is fault 83: a record that the control plane cannot store is set aside and delays no other.
func TestFault083Poison(t *testing.T) {
	t.Parallel()
	for name, dialer := range map[string]func(*testkit.ControlPlane) aibridged.Dialer{
		"batches": func(c *testkit.ControlPlane) aibridged.Dialer {
			c.Record = func(_ context.Context, r *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
				response := &proto.RecordBatchResponse{}
				for i, record := range r.GetRecords() {
					if isPoison(record) {
						response.Failures = append(response.Failures, &proto.RecordFailure{Index: int32(i), Error: "poison", Permanent: true})
					}
				}
				return response, nil
			}
			return controlplane.InProcess(c)
		},
		"one by one": func(c *testkit.ControlPlane) aibridged.Dialer {
			return controlplane.InProcess(&oldControl{ControlPlane: c})
		},
		"one by one, with a code": func(c *testkit.ControlPlane) aibridged.Dialer {
			return controlplane.InProcess(&oldControl{ControlPlane: c, code: 3})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			control := &testkit.ControlPlane{}
			reg := prometheus.NewRegistry()
			s, _ := newFine(t, testkit.GatewayOptions{Control: control, Dialer: dialer(control), Metrics: aibridged.NewMetrics(reg)})
			for _, q := range questions() {
				response, err := s.client.Do(s.withBody(t, q, []byte(q.bodyWith(fine, poisonPrompt))))
				if err != nil {
					t.Fatal(err)
				}
				checkBody(t, response, q.answer())
			}
			records := control.WaitEnds(t, len(questions()))
			testkit.CheckPairs(t, records)
			if slices.ContainsFunc(records, isPoison) {
				t.Error("the poison was stored")
			}
			// The other records of the batch are stored a moment before it is set aside.
			if err := s.Server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if dead := gather(t, reg)["records_dead"]; dead != float64(len(questions())) {
				t.Errorf("%g records are said to be dead, want %d", dead, len(questions()))
			}
		})
	}
}

const poisonPrompt = "the prompt that no database stores"

func isPoison(record *proto.Record) bool {
	return strings.Contains(record.GetPromptUsage().GetPrompt(), poisonPrompt)
}

// oldControl is a control plane from before batches. Its errors have only a text, or a code as well.
type oldControl struct {
	*testkit.ControlPlane

	code uint64
}

func (*oldControl) RecordBatch(context.Context, *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	return nil, drpcerr.WithCode(errors.New("unknown rpc"), drpcerr.Unimplemented)
}

func (c *oldControl) one(ctx context.Context, record *proto.Record) error {
	if isPoison(record) {
		return drpcerr.WithCode(errors.New("insert prompt: poison"), c.code)
	}
	_, err := c.ControlPlane.RecordBatch(ctx, &proto.RecordBatchRequest{Records: []*proto.Record{record}})
	return err
}

func (c *oldControl) RecordInterception(ctx context.Context, r *proto.RecordInterceptionRequest) (*proto.RecordInterceptionResponse, error) {
	return &proto.RecordInterceptionResponse{}, c.one(ctx, &proto.Record{Record: &proto.Record_Interception{Interception: r}})
}

func (c *oldControl) RecordInterceptionEnded(ctx context.Context, r *proto.RecordInterceptionEndedRequest) (*proto.RecordInterceptionEndedResponse, error) {
	return &proto.RecordInterceptionEndedResponse{}, c.one(ctx, &proto.Record{Record: &proto.Record_InterceptionEnded{InterceptionEnded: r}})
}

func (c *oldControl) RecordTokenUsage(ctx context.Context, r *proto.RecordTokenUsageRequest) (*proto.RecordTokenUsageResponse, error) {
	return &proto.RecordTokenUsageResponse{}, c.one(ctx, &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: r}})
}

func (c *oldControl) RecordPromptUsage(ctx context.Context, r *proto.RecordPromptUsageRequest) (*proto.RecordPromptUsageResponse, error) {
	return &proto.RecordPromptUsageResponse{}, c.one(ctx, &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: r}})
}

func (c *oldControl) RecordToolUsage(ctx context.Context, r *proto.RecordToolUsageRequest) (*proto.RecordToolUsageResponse, error) {
	return &proto.RecordToolUsageResponse{}, c.one(ctx, &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: r}})
}

func (c *oldControl) RecordModelThought(ctx context.Context, r *proto.RecordModelThoughtRequest) (*proto.RecordModelThoughtResponse, error) {
	return &proto.RecordModelThoughtResponse{}, c.one(ctx, &proto.Record{Record: &proto.Record_ModelThought{ModelThought: r}})
}

// TestRecoveryEndsWhatWasCut opens a server on the directory of another that was killed in the middle of a stream: the
// interception ends as truncated, once.
func TestRecoveryEndsWhatWasCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	began, goOn := make(chan struct{}), make(chan struct{})
	s, _ := newFaulty(t, testkit.GatewayOptions{Records: aibridged.RecordOptions{Directory: dir}}, func(c *rawserver.Conn, q question) {
		c.Write(q.chunkedHead() + chunk(q.format.events[0]))
		close(began)
		<-goOn
		c.Close()
	})
	s.serves(t)
	q := question{messagesFormat(), true}
	r := s.request(t, q, faulty)
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	s.checkAnswer(t, r, response, broken(q, 1))

	for life := range 2 {
		after := &testkit.ControlPlane{}
		server, err := aibridged.NewServer(t.Context(), serving(nil), controlplane.InProcess(after), aibridged.ServerOptions{
			Records: aibridged.RecordOptions{Directory: left},
		})
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			id := s.interception(t, r.UserAgent())[0].GetInterception().GetId()
			records := after.WaitEnds(t, 1)
			end := records[len(records)-1].GetInterceptionEnded()
			if end.GetId() != id || end.GetErrorType() != string(aibridge.ErrorTruncated) || end.GetEndedAt().AsTime().IsZero() {
				t.Errorf("recovery recorded %v, want the end of %s", end, id)
			}
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if n := len(after.Records()); life == 1 && n != 0 {
			t.Errorf("the life after that recorded %d more", n)
		}
	}
}

func TestRecordOptions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options aibridged.RecordOptions
		want    string
	}{
		"durability": {aibridged.RecordOptions{Durability: "disk"}, `records: durability "disk": use sync, kernel or memory`},
		"directory":  {aibridged.RecordOptions{Durability: aibridged.DurabilitySync}, "records: durability sync needs a directory: name one, or use memory"},
		"when full":  {aibridged.RecordOptions{WhenFull: "drop"}, `records: "drop" when full: use refuse or go-on`},
		"limit":      {aibridged.RecordOptions{MaxBytes: -1}, "records: a limit of -1 bytes: use a positive one"},
	} {
		t.Run(name, func(t *testing.T) {
			dialer := controlplane.InProcess(&testkit.ControlPlane{})
			_, err := aibridged.NewServer(t.Context(), serving(nil), dialer, aibridged.ServerOptions{Records: test.options})
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// checkBody reads an answer to its end.
func checkBody(t *testing.T, response *http.Response, want string) {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || string(body) != want {
		t.Errorf("got %q, %v, want %q", body, err, want)
	}
}

// forgetfulOfAnswers is a control plane that stores every batch, but whose first answers are lost.
type forgetfulOfAnswers struct {
	testkit.ControlPlane

	lost atomic.Int64 // How many more answers will be lost.
}

func (c *forgetfulOfAnswers) RecordBatch(ctx context.Context, r *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	response, err := c.ControlPlane.RecordBatch(ctx, r)
	if c.lost.Add(-1) >= 0 {
		return nil, drpcerr.WithCode(errors.New("connection lost"), 14)
	}
	return response, err
}

// TestFault074LostAcknowledgement is fault 74: records that are sent again because an answer was lost are stored once,
// and counted.
func TestFault074LostAcknowledgement(t *testing.T) {
	t.Parallel()
	control := &forgetfulOfAnswers{}
	control.lost.Store(2)
	registry := prometheus.NewRegistry()
	s, _ := newFine(t, testkit.GatewayOptions{
		Control: &control.ControlPlane, Dialer: controlplane.InProcess(control), Metrics: aibridged.NewMetrics(registry),
	})
	s.serves(t)
	stored := len(control.Records())
	if err := s.Server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := gather(t, registry)
	if got["records_duplicates_total"] < 2 || int(got["records_delivered_total"]) != stored {
		t.Errorf("%g duplicates of %g delivered, %d stored", got["records_duplicates_total"], got["records_delivered_total"], stored)
	}
	for _, name := range []string{"records_pending", "records_pending_bytes", "records_oldest_age_seconds", "records_dead", "records_append_errors_total", "records_dropped_total", "records_damaged_total"} {
		if value, ok := got[name]; !ok || value != 0 {
			t.Errorf("%s is %g, and there: %t", name, value, ok)
		}
	}
}
