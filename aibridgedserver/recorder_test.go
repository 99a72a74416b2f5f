package aibridgedserver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// one stores a record by the RPC of its kind.
func (c controlPlane) one(ctx context.Context, record *proto.Record) error {
	var err error
	switch in := record.GetRecord().(type) {
	case *proto.Record_Interception:
		_, err = c.RecordInterception(ctx, in.Interception)
	case *proto.Record_InterceptionEnded:
		_, err = c.RecordInterceptionEnded(ctx, in.InterceptionEnded)
	case *proto.Record_TokenUsage:
		_, err = c.RecordTokenUsage(ctx, in.TokenUsage)
	case *proto.Record_PromptUsage:
		_, err = c.RecordPromptUsage(ctx, in.PromptUsage)
	case *proto.Record_ToolUsage:
		_, err = c.RecordToolUsage(ctx, in.ToolUsage)
	case *proto.Record_ModelThought:
		_, err = c.RecordModelThought(ctx, in.ModelThought)
	}
	return err
}

// sixKinds returns one record of each kind, all of one interception.
func sixKinds(id string) []*proto.Record {
	return []*proto.Record{
		start(id, uuid.NewString(), 0), prompt(id, "hello", 1), tokens(id, 10, 2), tool(id, "Bash", `{"a":1}`, 3),
		thought(id, "hm", 4), end(id, 5),
	}
}

// A lost acknowledgement makes a gateway, or a second one on the same outbox, deliver again.
func TestFault074SameRecordTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	elsewhere := openControlPlane(t, c.path, aibridgedserver.Options{})
	id := newID()
	records := sixKinds(id)
	for _, record := range records {
		if err := c.one(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	want := c.report(t, aibridgedserver.InterceptionFilter{})
	if len(want) != 1 || len(want[0].Prompts) != 1 || len(want[0].TokenUsages) != 1 || len(want[0].ToolUsages) != 1 ||
		len(want[0].ModelThoughts) != 1 || want[0].EndedAt == nil {
		t.Fatalf("delivered once: %+v", want)
	}
	for _, record := range records {
		if err := elsewhere.one(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere.mustStore(t, records...)
	c.mustStore(t, append(records, records...)...)
	checkJSON(t, c.report(t, aibridgedserver.InterceptionFilter{}), want)
	for _, table := range []string{"interceptions", "prompt_usages", "token_usages", "tool_usages", "model_thoughts"} {
		if n := c.number(t, `SELECT count(*) FROM `+table); n != 1 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

// A gateway that delivers a batch again learns how many of its records had arrived.
func TestFault074DuplicatesAreCounted(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	records := sixKinds(id)
	nameless := tokens(id, 1, 1)
	nameless.GetTokenUsage().RecordId = ""
	refused := tokens("no UUID", 1, 1)
	pair := func() []*proto.Record {
		id := newID()
		return []*proto.Record{start(id, newID(), 1), end(id, 2)}
	}
	started, ended, fresh, twice := pair(), pair(), pair(), pair()
	for _, test := range []struct {
		records []*proto.Record
		want    int32
	}{
		{records[:2], 0},
		{records, 2},
		{records, 6},
		{[]*proto.Record{nameless, refused}, 0},
		{[]*proto.Record{nameless, refused, records[0]}, 1},
		{append(sixKinds(newID()), records...), 6},
		{[]*proto.Record{started[0]}, 0},
		{started, 1}, // Of the start and the end in this batch, the start is stored already.
		{[]*proto.Record{ended[1]}, 0},
		{ended, 1}, // Here the end is.
		{append(append(fresh, started...), ended...), 4},
		{append(twice, twice...), 2},
		{append(twice[:1:1], nameless), 1},
	} {
		response, err := c.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: test.records})
		if err != nil {
			t.Fatal(err)
		}
		if response.GetDuplicates() != test.want {
			t.Errorf("%d records, %d duplicates, want %d", len(test.records), response.GetDuplicates(), test.want)
		}
	}
}

// An id is the same however it is written.
func TestFault074SpellingOfAnIDDoesNotMatter(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	first := tokens(id, 1, 1)
	c.mustStore(t, start(id, newID(), 0), first)
	usage := first.GetTokenUsage()
	usage.RecordId = strings.ToUpper(usage.GetRecordId())
	usage.InterceptionId = "urn:uuid:" + id
	c.mustStore(t, first, start(strings.ToUpper(id), newID(), 0), end("{"+id+"}", 2))
	got := c.report(t, aibridgedserver.InterceptionFilter{})
	if len(got) != 1 || len(got[0].TokenUsages) != 1 || got[0].EndedAt == nil {
		t.Errorf("got %+v", got)
	}
}

// An older client sends no record id: then each delivery is stored as a record.
func TestRecordWithoutIDIsStored(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	usage := tokens(newID(), 1, 1)
	usage.GetTokenUsage().RecordId = ""
	c.mustStore(t, usage, usage)
	if n := c.number(t, `SELECT count(DISTINCT record_id) FROM token_usages`); n != 2 {
		t.Errorf("%d are stored, want 2", n)
	}
	if usage.GetTokenUsage().GetRecordId() != "" {
		t.Error("the request was changed")
	}
}

// Each order in which the records of an interception can arrive leads to the same report.
func TestFault084OrderOfArrivalDoesNotMatter(t *testing.T) {
	t.Parallel()
	id := newID()
	records := sixKinds(id)
	c := newControlPlane(t)
	c.mustStore(t, records...)
	want := c.report(t, aibridgedserver.InterceptionFilter{})

	for name, order := range map[string][]int{
		"children before the start": {1, 2, 3, 4, 0, 5},
		"end before the children":   {0, 5, 1, 2, 3, 4},
		"end first":                 {5, 0, 1, 2, 3, 4},
		"backwards":                 {5, 4, 3, 2, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			for _, i := range order {
				if err := c.one(t.Context(), records[i]); err != nil {
					t.Fatal(err)
				}
				if started := slices.Index(order, 0) <= slices.Index(order, i); !started {
					if got := c.report(t, aibridgedserver.InterceptionFilter{}); len(got) != 0 {
						t.Errorf("before its start the report has %+v", got)
					}
				}
			}
			checkJSON(t, c.report(t, aibridgedserver.InterceptionFilter{}), want)
		})
	}
}

func TestFault084FirstEndWins(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	errorType := "truncated"
	later := end(id, 9)
	later.GetInterceptionEnded().ErrorType = &errorType
	c.mustStore(t, start(id, newID(), 0), end(id, 5), later)
	got := c.report(t, aibridgedserver.InterceptionFilter{})[0]
	if !got.EndedAt.Equal(second(5).AsTime()) || got.ErrorType != nil {
		t.Errorf("ended at %v with %v", got.EndedAt, got.ErrorType)
	}
}

func TestFault065BadRequestsAreFinal(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	badRecordID := tokens(newID(), 1, 1)
	badRecordID.GetTokenUsage().RecordId = "12"
	badInitiator := start(newID(), "root", 1)
	good := tokens(newID(), 1, 1)
	bad := map[string]*proto.Record{
		"empty":              {},
		"nil request":        {Record: &proto.Record_Interception{}},
		"nil end":            {Record: &proto.Record_InterceptionEnded{}},
		"nil tokens":         {Record: &proto.Record_TokenUsage{}},
		"nil prompt":         {Record: &proto.Record_PromptUsage{}},
		"nil tool":           {Record: &proto.Record_ToolUsage{}},
		"nil thought":        {Record: &proto.Record_ModelThought{}},
		"no interception id": tokens("", 1, 1),
		"odd interception":   prompt("'; DROP TABLE users; --", "", 1),
		"odd id":             start("1234", newID(), 1),
		"odd initiator":      badInitiator,
		"odd record id":      badRecordID,
		"odd end":            end("x", 1),
	}
	for name, record := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, err := c.RecordBatch(t.Context(), &proto.RecordBatchRequest{
				Records: []*proto.Record{good, record, good},
			})
			if err != nil {
				t.Fatal(err)
			}
			failures := response.GetFailures()
			if len(failures) != 1 || failures[0].GetIndex() != 1 || !failures[0].GetPermanent() ||
				failures[0].GetError() == "" {
				t.Errorf("failures %v", failures)
			}
			if record.GetRecord() == nil {
				return
			}
			if err := c.one(t.Context(), record); err == nil || drpcerr.Code(err) != 0 {
				t.Errorf("alone: %v with code %d", err, drpcerr.Code(err))
			}
		})
	}
	t.Run("nil record and nil batch", func(t *testing.T) {
		t.Parallel()
		response, err := c.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: []*proto.Record{nil}})
		if err != nil || len(response.GetFailures()) != 1 {
			t.Errorf("nil record: %v, %v", response, err)
		}
		response, err = c.RecordBatch(t.Context(), nil)
		if err != nil || len(response.GetFailures()) != 0 {
			t.Errorf("nil batch: %v, %v", response, err)
		}
	})
}

// A time that is missing or out of range becomes the time of arrival; numbers are stored as they come.
func TestFault065OddValuesAreStored(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	before := time.Now().Truncate(time.Microsecond)
	odd := tokens(id, -1<<63, 0)
	odd.GetTokenUsage().CreatedAt = &timestamppb.Timestamp{Seconds: 1 << 62, Nanos: -5}
	first := start(id, newID(), 0)
	first.GetInterception().StartedAt = nil
	c.mustStore(t, first, odd)
	after := time.Now()
	got := c.report(t, aibridgedserver.InterceptionFilter{})[0]
	for _, at := range []time.Time{got.StartedAt, got.TokenUsages[0].CreatedAt} {
		if at.Before(before) || at.After(after) {
			t.Errorf("time is %v, want one between %v and %v", at, before, after)
		}
	}
	if got.TokenUsages[0].InputTokens != -1<<63 {
		t.Errorf("%d input tokens", got.TokenUsages[0].InputTokens)
	}
}

// The client keeps to the limits of the wire; the server stores every record whole, however long.
func TestFault071LongTextsAreStoredWhole(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	records := []*proto.Record{start(id, newID(), 0)}
	sizes := []int{3_400_000, 4 << 20, 5 << 20}
	for i, size := range sizes {
		records = append(records, tool(id, "Write", fmt.Sprintf("%d", i)+strings.Repeat("x", size-1), i))
	}
	c.mustStore(t, records...)
	got := c.report(t, aibridgedserver.InterceptionFilter{})[0].ToolUsages
	for i, size := range sizes {
		if len(got[i].Input) != size || !strings.HasPrefix(got[i].Input, fmt.Sprintf("%dx", i)) {
			t.Errorf("tool input %d has %d bytes, want %d", i, len(got[i].Input), size)
		}
	}
}

// NUL bytes, and bytes that are no text at all (only a client in the same process can send them), come back as they
// were.
func TestFault083OddTextsAreStored(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	const odd = "a\x00b\xff\xfe'\"; \u2028😀\x1b"
	first := start(id, newID(), 0)
	first.GetInterception().UserAgent = odd
	c.mustStore(t, first, prompt(id, odd, 1), tool(id, odd, odd, 1), thought(id, odd, 1))
	got := c.report(t, aibridgedserver.InterceptionFilter{})[0]
	for _, text := range []string{
		got.UserAgent, got.Prompts[0].Prompt, got.ToolUsages[0].Tool, got.ToolUsages[0].Input, got.ModelThoughts[0].Content,
	} {
		if text != odd {
			t.Errorf("got %q, want %q", text, odd)
		}
	}
}
