package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/slogjson"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

// jsonLine returns an entry's JSON, and checks that it is one line.
func jsonLine(t testing.TB, entry slog.SinkEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	newJSONSink(&out).LogEntry(t.Context(), entry)
	line, rest, ended := bytes.Cut(out.Bytes(), []byte("\n"))
	if !ended || len(rest) > 0 || !json.Valid(line) {
		t.Fatalf("not one line of JSON: %q", out.Bytes())
	}
	return line
}

type (
	namedText  string
	namedCount uint8
	panics     struct{}
	fallen     struct{ Text string }
	loop       struct{ Next *loop }
)

func (panics) String() string   { panic("no text") }
func (f *fallen) Error() string { return f.Text }

func TestJSONLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 123456000, time.UTC)
	id := uuid.MustParse("019ab1c2-0000-7000-8000-000000000001")
	got := string(jsonLine(t, slog.SinkEntry{
		Time: at, Level: slog.LevelWarn, LoggerNames: []string{"gateway", "http"}, Message: "say \"hi\"\n",
		File: "a/b.go", Line: 12, Func: "a.b",
		SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}),
		Fields: slog.M(
			slog.F("id", id), slog.F("took", 1500*time.Microsecond), slog.F("n", 7), slog.F("on", true),
			slog.F("none", nil), slog.F("kind", namedText("a<b")), slog.F("count", namedCount(3)), slog.F("ratio", 0.25),
			slog.F("when", at), slog.F("names", []string{"a", "b"}), slog.F("more", slog.M(slog.F("x", int64(-1)))),
			slog.F("url", &url.URL{Scheme: "https", Host: "h"}), slog.F("map", map[string]int{"k": 1}), slog.F("bytes", []byte{}),
			slog.F("infinite", math.Inf(-1)), slog.F("control", "\x00\x1b\t\x7f"), slog.F("broken", "é\xffé"),
			slog.F("panics", panics{}), slog.F("nil", (*fallen)(nil)), slog.F("func", func() {}),
			slog.Error(fmt.Errorf("outer: %w", errors.New("inner"))),
		),
	}))
	want := `{"ts":"2026-01-02T15:04:05.123456Z","level":"WARN","logger_names":["gateway","http"],"msg":"say \"hi\"\n",` +
		`"caller":"a/b.go:12","func":"a.b","trace":"01000000000000000000000000000000","span":"0200000000000000","fields":{` +
		`"id":"019ab1c2-0000-7000-8000-000000000001","took":"1.5ms","n":7,"on":true,` +
		`"none":null,"kind":"a<b","count":3,"ratio":0.25,` +
		`"when":"2026-01-02T15:04:05.123456Z","names":["a","b"],"more":{"x":-1},` +
		`"url":"https://h","map":{"k":1},"bytes":"",` +
		`"infinite":"-Inf","control":"\u0000\u001b\t` + "\x7f" + `","broken":"é` + "\uFFFD" + `é",` +
		`"panics":"(a main.panics that cannot be written)","nil":"(a *main.fallen that cannot be written)","func":"(a func() that cannot be written)",` +
		`"error":"outer: inner"}}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestJSONLineOfLittle checks that a line has no members for what its entry does not have.
func TestJSONLineOfLittle(t *testing.T) {
	if got, want := string(jsonLine(t, slog.SinkEntry{Message: "m"})), `{"ts":"0001-01-01T00:00:00Z","level":"DEBUG","msg":"m"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestJSONLineEnds checks that values which contain themselves do not make a line endless.
func TestJSONLineEnds(t *testing.T) {
	around := &loop{}
	around.Next = around
	fields := slog.M(slog.F("self", nil))
	fields[0].Value = fields
	inMap := map[string]any{}
	inMap["self"] = inMap
	jsonLine(t, slog.SinkEntry{Fields: slog.M(slog.F("loop", around), slog.F("fields", fields), slog.F("map", inMap), slog.F("list", []any{inMap}))})
}

// FuzzJSONLine puts any text in any place of an entry. Each text must come back as from encoding/json, and the line
// must be equivalent to that of slogjson.
func FuzzJSONLine(f *testing.F) {
	f.Add("message", "name", "value", 1.5, int64(7))
	f.Add("two\nlines", "\xff\xfe", "\u2028 \" \\ \x00 \U0001F600 \xed\xa0\x80", math.NaN(), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, message, name, value string, number float64, count int64) {
		entry := slog.SinkEntry{
			Time: time.Unix(count%1e9, 0).UTC(), Level: slog.LevelInfo, Message: message, LoggerNames: []string{name}, File: value,
			Fields: slog.M(
				slog.F("name"+name, value), slog.F("number", number), slog.F("count", count), slog.F("took", time.Duration(count)),
				slog.F("named", namedText(value)), slog.F("bytes", []byte(value)), slog.F("raw", json.RawMessage(value)),
				slog.F("list", []any{value, number, count}), slog.Error(errors.New(value)),
			),
		}
		var got struct {
			Msg    string         `json:"msg"`
			Names  []string       `json:"logger_names"`
			Caller string         `json:"caller"`
			Fields map[string]any `json:"fields"`
		}
		if err := json.Unmarshal(jsonLine(t, entry), &got); err != nil {
			t.Fatal(err)
		}
		asJSON := func(text string) string {
			var back string
			encoded, _ := json.Marshal(text)
			_ = json.Unmarshal(encoded, &back)
			return back
		}
		if got.Msg != asJSON(message) || got.Names[0] != asJSON(name) || got.Fields[asJSON("name"+name)] != asJSON(value) ||
			got.Fields["named"] != asJSON(value) || got.Fields["error"] != asJSON(value) {
			t.Errorf("%q, %q, %q became %+v", message, name, value, got)
		}
		if value != "" && got.Caller != asJSON(value+":0") {
			t.Errorf("caller %q became %q", value, got.Caller)
		}
		if !math.IsNaN(number) && !math.IsInf(number, 0) && got.Fields["number"] != number {
			t.Errorf("%v became %v", number, got.Fields["number"])
		}
	})
}

// interceptionEntry returns an entry like that of an interception.
func interceptionEntry() slog.SinkEntry {
	return slog.SinkEntry{
		Time: time.Date(2026, 1, 2, 15, 4, 5, 123456789, time.UTC), Level: slog.LevelInfo, LoggerNames: []string{"bridge"}, Message: "interception ended",
		Fields: slog.M(
			slog.F("interception_id", uuid.MustParse("019ab1c2-0000-7000-8000-000000000001")), slog.F("provider", "anthropic"),
			slog.F("format", "messages"), slog.F("model", "claude-sonnet-4-5-20250929"), slog.F("stream", false),
			slog.F("duration", 1234567*time.Nanosecond), slog.F("first_byte", 1200*time.Microsecond), slog.F("upstream_wait", 900*time.Microsecond),
			slog.F("rounds", 1), slog.F("records", 4), slog.F("status", 200), slog.F("error_type", namedText("client_closed")),
		),
	}
}

// TestJSONLineIsThatOfSlogjson compares the line of an interception with slogjson's.
func TestJSONLineIsThatOfSlogjson(t *testing.T) {
	var theirs bytes.Buffer
	slogjson.Sink(&theirs).LogEntry(t.Context(), interceptionEntry())
	var ours, want map[string]any
	if err := json.Unmarshal(jsonLine(t, interceptionEntry()), &ours); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(theirs.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	delete(want, "caller") // slogjson writes these also if they are empty.
	delete(want, "func")
	if !reflect.DeepEqual(ours, want) {
		t.Errorf("\n got %v\nwant %v", ours, want)
	}
}

// BenchmarkLogLine measures what a log line costs the goroutine of a request.
func BenchmarkLogLine(b *testing.B) {
	for _, form := range []string{logJSON, logText} {
		b.Run(form, func(b *testing.B) {
			log, err := newProgramLog(&discarded{}, form)
			if err != nil {
				b.Fatal(err)
			}
			defer log.close()
			logger := log.logger(slog.LevelInfo).Named("bridge")
			entry := interceptionEntry()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					logger.Log(b.Context(), entry)
				}
			})
		})
	}
}

// discarded discards what is written. Unlike [io.Discard] it has no method but Write.
type discarded struct{}

func (*discarded) Write(p []byte) (int, error) { return len(p), nil }

func TestLogFormat(t *testing.T) {
	for format, want := range map[string]string{"": `{"ts":"`, "json": `{"ts":"`, "text": "["} {
		var out bytes.Buffer
		log, err := newProgramLog(&out, format)
		if err != nil {
			t.Fatal(err)
		}
		log.logger(slog.LevelInfo).Info(t.Context(), "hello")
		log.close()
		if got := out.String(); !strings.Contains(got, want) || !strings.Contains(got, "hello") || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: %q", format, got)
		}
	}
	if _, err := newProgramLog(&bytes.Buffer{}, "xml"); err == nil || err.Error() != `--log-format "xml": use text or json` {
		t.Errorf("xml: %v", err)
	}
}
