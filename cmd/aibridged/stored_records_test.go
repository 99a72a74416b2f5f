package main

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
)

// TestRecordedOf reads records that today's gateway does not write: metadata that is no JSON, and an id that is no
// UUID.
func TestRecordedOf(t *testing.T) {
	ended, id := time.Now(), uuid.Must(uuid.NewV7())
	i := &aibridgedserver.Interception{
		ID: id.String(), EndedAt: &ended, Prompts: []aibridgedserver.Prompt{{Prompt: "a", Metadata: []byte("{}")}, {Prompt: "b", Metadata: []byte("{}")}},
	}
	recorded, err := recordedOf(i)
	if err != nil || recorded.Unreadable != nil || recorded.ID != id || recorded.Prompts != 2 || recorded.Facts.Prompt.Text != "b" {
		t.Errorf("%+v, %v", recorded, err)
	}
	i.Prompts[0].Metadata = nil
	if recorded, err = recordedOf(i); err != nil || recorded.Unreadable == nil {
		t.Errorf("metadata of nothing: %+v, %v", recorded, err)
	}
	i.ID = "1"
	if _, err = recordedOf(i); err == nil {
		t.Error("an id that is none")
	}
}
