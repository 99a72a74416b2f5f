package aibridgedserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// TestBackgroundRecords is about what a background response did: it belongs to the interception whose end names the
// response, in whatever order both come, and is stored once, whoever sent it.
func TestBackgroundRecords(t *testing.T) {
	t.Parallel()
	id, background, stranger := newID(), uuid.NewString(), newID()
	begun := start(id, uuid.NewString(), 0)
	ended := end(id, 5)
	ended.GetInterceptionEnded().BackgroundId = &background
	usage, call, thinking := tokens(id, 10, 9), tool(background, "Bash", "{}", 9), thought(background, "hm", 9)
	usage.GetTokenUsage().BackgroundId = &background
	call.GetToolUsage().BackgroundId = &background
	thinking.GetModelThought().BackgroundId = &background
	again := tokens(background, 10, 10) // From another gateway, which does not know the interception.
	again.GetTokenUsage().BackgroundId, again.GetTokenUsage().RecordId = &background, usage.GetTokenUsage().GetRecordId()
	other := start(stranger, uuid.NewString(), 1)

	for name, order := range map[string][]*proto.Record{
		"after the end":  {begun, ended, usage, call, thinking, other, again},
		"before the end": {again, call, thinking, other, begun, ended, usage},
		"between":        {other, begun, thinking, usage, again, ended, call},
	} {
		for _, together := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, together %t", name, together), func(t *testing.T) {
				t.Parallel()
				c := newControlPlane(t)
				for range 2 {
					var err error
					if together {
						var response *proto.RecordBatchResponse
						response, err = c.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: order})
						if len(response.GetFailures()) > 0 {
							t.Error(response.GetFailures())
						}
					} else {
						for _, record := range order {
							if err == nil {
								err = c.one(t.Context(), record)
							}
						}
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				all := c.report(t, aibridgedserver.InterceptionFilter{})
				if len(all) != 2 || all[0].ID != id || len(all[1].TokenUsages)+len(all[1].ToolUsages) > 0 {
					t.Fatalf("got %d interceptions", len(all))
				}
				if i := all[0]; len(i.TokenUsages) != 1 || len(i.ToolUsages) != 1 || len(i.ModelThoughts) != 1 || i.TokenUsages[0].InputTokens != 10 {
					t.Errorf("got %+v", i)
				}
				if _, err := c.Prune(t.Context(), second(60).AsTime().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				for _, table := range []string{"interceptions", "token_usages", "tool_usages", "model_thoughts"} {
					if n := c.number(t, "SELECT count(*) FROM "+table); n != 0 {
						t.Errorf("%d rows of %s are left", n, table)
					}
				}
			})
		}
	}
}

// TestAnswerModel is about a request that named no model: the report has the one that answered.
func TestAnswerModel(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for n, first := range []bool{true, false} {
		id := newID()
		begun, ended := start(id, uuid.NewString(), n), end(id, 5)
		begun.GetInterception().Model, ended.GetInterceptionEnded().Model = "", "up-1"
		order := []*proto.Record{begun, ended}
		if !first {
			order = []*proto.Record{ended, begun}
		}
		for _, record := range order {
			if err := c.one(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
	}
	named := newID()
	if err := c.one(t.Context(), start(named, uuid.NewString(), 3)); err != nil {
		t.Fatal(err)
	}
	all := c.report(t, aibridgedserver.InterceptionFilter{})
	if len(all) != 3 || all[0].Model != "up-1" || all[1].Model != "up-1" || all[2].Model != "claude" {
		t.Errorf("got %+v", all)
	}
}

func TestBackgroundIDIsChecked(t *testing.T) {
	t.Parallel()
	c, bad := newControlPlane(t), "resp_1"
	ended, usage := end(newID(), 1), tokens(newID(), 1, 1)
	ended.GetInterceptionEnded().BackgroundId, usage.GetTokenUsage().BackgroundId = &bad, &bad
	for _, record := range []*proto.Record{ended, usage} {
		if err := c.one(t.Context(), record); err == nil {
			t.Errorf("%v was taken", record)
		}
	}
}

// TestUnreadEvents is about an answer of which something was not understood: the report says how many events that were,
// whether the start or the end came first.
func TestUnreadEvents(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for n, first := range []bool{true, false} {
		id := newID()
		begun, ended := start(id, uuid.NewString(), n), end(id, 5)
		ended.GetInterceptionEnded().Unread = int64(n + 3)
		order := []*proto.Record{begun, ended}
		if !first {
			order = []*proto.Record{ended, begun}
		}
		for _, record := range order {
			if err := c.one(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.one(t.Context(), start(newID(), uuid.NewString(), 2)); err != nil {
		t.Fatal(err)
	}
	all := c.report(t, aibridgedserver.InterceptionFilter{})
	if len(all) != 3 || all[0].Unread == nil || *all[0].Unread != 3 || all[1].Unread == nil || *all[1].Unread != 4 || all[2].Unread != nil {
		t.Errorf("got %+v", all)
	}
}
