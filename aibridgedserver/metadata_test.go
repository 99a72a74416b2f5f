package aibridgedserver_test

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"cdr.dev/slog/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/coder/aibridged/aibridgedserver"
)

// sinkFunc is called with each log entry.
type sinkFunc func(slog.SinkEntry)

func (f sinkFunc) LogEntry(_ context.Context, entry slog.SinkEntry) { f(entry) }
func (sinkFunc) Sync()                                              {}

func packed(tb testing.TB, value any) *anypb.Any {
	tb.Helper()
	v, err := structpb.NewValue(value)
	if err != nil {
		tb.Fatal(err)
	}
	packed, err := anypb.New(v)
	if err != nil {
		tb.Fatal(err)
	}
	return packed
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	duration, err := anypb.New(durationpb.New(5))
	if err != nil {
		t.Fatal(err)
	}
	deep := any("bottom")
	for range 2000 {
		deep = []any{deep}
	}
	deepText := strings.Repeat("[", 2000) + `"bottom"` + strings.Repeat("]", 2000)

	for name, test := range map[string]struct {
		metadata map[string]*anypb.Any
		want     string
		warnings int
	}{
		"none":  {nil, `{}`, 0},
		"empty": {map[string]*anypb.Any{}, `{}`, 0},
		"all kinds": {map[string]*anypb.Any{
			"z_text": packed(t, "<b> & \u2028\x00"), "number": packed(t, 1234567.0), "float": packed(t, 0.25),
			"yes": packed(t, true), "null": packed(t, nil), "list": packed(t, []any{1, "two"}),
			"object": packed(t, map[string]any{"k": map[string]any{}}), "": packed(t, "no name"),
		}, `{"":"no name","float":0.25,"list":[1,"two"],"null":null,"number":1234567,"object":{"k":{}},"yes":true,` +
			`"z_text":"<b> & \u2028\u0000"}`, 0},
		"unreadable ones": {map[string]*anypb.Any{
			"good": packed(t, 1), "nil": nil, "another message": duration, "not a number": packed(t, math.NaN()),
			"garbage":     {TypeUrl: "type.googleapis.com/google.protobuf.Value", Value: []byte{0xff}},
			"nowhere":     {TypeUrl: "x", Value: []byte{1}},
			"empty value": {TypeUrl: "type.googleapis.com/google.protobuf.Value"},
		}, `{"empty value":null,"good":1,"not a number":"NaN"}`, 1},
		"deep": {map[string]*anypb.Any{"deep": packed(t, deep)}, `{"deep":` + deepText + `}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var warnings []slog.SinkEntry
			logger := slog.Make(sinkFunc(func(entry slog.SinkEntry) { warnings = append(warnings, entry) }))
			c := openControlPlane(t, filepath.Join(t.TempDir(), "control.db"), aibridgedserver.Options{Logger: logger})
			id := newID()
			first := start(id, newID(), 0)
			first.GetInterception().Metadata = test.metadata
			c.mustStore(t, first)
			got := c.report(t, aibridgedserver.InterceptionFilter{})[0]
			if string(got.Metadata) != test.want {
				t.Errorf("got  %s\nwant %s", got.Metadata, test.want)
			}
			if len(warnings) != test.warnings {
				t.Errorf("%d warnings, want %d: %v", len(warnings), test.warnings, warnings)
			}
		})
	}
}
