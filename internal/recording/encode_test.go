package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/coder/aibridged/aibridge"
)

// checkEncoding compares the entry of a record with the message that is built the plain way.
func checkEncoding(t *testing.T, record aibridge.Record) {
	t.Helper()
	want := plainRecord(record)
	entries, err := new(encoder).encode([]aibridge.Record{record})
	if _, plainErr := protobuf.Marshal(want); plainErr != nil {
		if !errors.Is(err, errNotText) {
			t.Errorf("encoding %v: %v, want %v: %v", record, err, errNotText, plainErr)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeEntry(entries[0])
	if err != nil || !protobuf.Equal(got, want) {
		t.Fatalf("encoded %v, %v, want %v", got, err, want)
	}
	if len(got.ProtoReflect().GetUnknown()) > 0 || len(entries[0])-entryHeadBytes != protobuf.Size(want) {
		t.Errorf("%d bytes, want %d", len(entries[0])-entryHeadBytes, protobuf.Size(want))
	}
	again, err := new(encoder).encode([]aibridge.Record{record})
	if err != nil || !bytes.Equal(again[0], entries[0]) {
		t.Errorf("encoded again: other bytes, %v", err)
	}
}

// seeded makes records of all kinds from a seed.
type seeded struct{ *rand.Rand }

func (s seeded) text(most int) string {
	return strings.Repeat(string(rune('a'+s.IntN(500))), s.IntN(most)*s.IntN(2))
}

func (s seeded) number() int64 { return int64(s.Uint64()) >> s.IntN(64) * int64(s.IntN(2)) }

func (s seeded) id() (id uuid.UUID) {
	for i := range id {
		id[i] = byte(s.Uint32())
	}
	return id
}

func (s seeded) optionalID() uuid.UUID {
	if s.IntN(2) == 0 {
		return uuid.Nil
	}
	return s.id()
}

func (s seeded) time() time.Time {
	if s.IntN(4) == 0 {
		return time.Time{}
	}
	return time.Unix(s.number()%1e11, s.Int64N(1e9)*s.Int64N(2))
}

func (s seeded) hash() []byte { return []byte(s.text(40)) }

func (s seeded) metadata() aibridge.Metadata {
	metadata := aibridge.Metadata{}
	for range s.IntN(6) {
		metadata[s.text(200)] = s.value(2)
	}
	return metadata
}

func (s seeded) value(depth int) any {
	switch s.IntN(12) {
	case 0:
		return nil
	case 1:
		return s.IntN(2) == 0
	case 2:
		return s.number()
	case 3:
		return math.Float64frombits(s.Uint64())
	case 4:
		return int(s.number())
	case 5:
		return make(chan int)
	case 6:
		return json.Number("12.5")
	case 7:
		if depth > 0 {
			return []any{s.value(depth - 1), s.value(depth - 1)}
		}
	case 8:
		if depth > 0 {
			return map[string]any{"b": s.value(depth - 1), "a": s.value(depth - 1), "c\xff"[:1+s.IntN(2)]: "c"}
		}
	case 9:
		return "not text \xff"
	}
	return s.text(300)
}

// records returns one record of each kind, with texts of a client's in them.
func (s seeded) records(client string) []aibridge.Record {
	hint, kind := s.text(12), aibridge.CredentialKind(s.text(12))
	return []aibridge.Record{
		&aibridge.InterceptionStart{
			ID: s.id(), InitiatorID: s.text(40), APIKeyID: s.text(40), Provider: s.text(20), ProviderName: s.text(20),
			Model: client, Metadata: s.metadata(), StartedAt: s.time(), Client: s.text(30), ClientSessionID: s.text(200),
			UserAgent: s.text(300), CorrelatingToolCallID: s.text(40), CredentialKind: kind, CredentialHint: hint,
			RequestBytes: s.number(), RequestSHA256: s.hash(),
		},
		&aibridge.PromptUsage{
			RecordID: s.id(), InterceptionID: s.id(), MessageID: s.text(40), Prompt: client, Metadata: s.metadata(), CreatedAt: s.time(),
		},
		&aibridge.TokenUsage{
			RecordID: s.id(), InterceptionID: s.id(), MessageID: s.text(40), InputTokens: s.number(), OutputTokens: s.number(),
			CacheReadInputTokens: s.number(), CacheWriteInputTokens: s.number(), Metadata: s.metadata(), CreatedAt: s.time(), BackgroundID: s.optionalID(),
		},
		&aibridge.ToolUsage{
			RecordID: s.id(), InterceptionID: s.id(), MessageID: s.text(40), ToolCallID: s.text(40), ItemID: s.text(40), Tool: s.text(300),
			Input: client, Injected: s.IntN(2) == 0, ServerURL: s.text(100), InvocationError: s.text(100), Metadata: s.metadata(),
			CreatedAt: s.time(), BackgroundID: s.optionalID(),
		},
		&aibridge.ModelThought{
			RecordID: s.id(), InterceptionID: s.id(), Content: client, Metadata: s.metadata(), CreatedAt: s.time(),
			BackgroundID: s.optionalID(),
		},
		&aibridge.InterceptionEnd{
			RecordID: s.id(), InterceptionID: s.id(), EndedAt: s.time(), CredentialHint: hint, ErrorType: aibridge.ErrorType(s.text(20)),
			ErrorMessage: s.text(1000), ResponseBytes: s.number(), ResponseSHA256: s.hash(), Model: s.text(200), BackgroundID: s.optionalID(),
			Unread: s.number(), FirstByte: time.Duration(s.number()) * time.Microsecond,
		},
	}
}

// FuzzEncode checks that the entry of any record is the message that is built the plain way, and the same bytes each time.
func FuzzEncode(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, strings.Repeat("p", int(seed*seed)))
	}
	f.Add(uint64(1), "not text \xff")
	f.Add(uint64(2), strings.Repeat("\u00e9", 200_000))
	f.Fuzz(func(t *testing.T, seed uint64, client string) {
		for _, record := range (seeded{rand.New(rand.NewPCG(seed, 0))}).records(client) {
			checkEncoding(t, record)
		}
	})
}

// TestEncode has the records that a seed may miss: empty ones, and metadata of all kinds.
func TestEncode(t *testing.T) {
	t.Parallel()
	for _, record := range []aibridge.Record{
		&aibridge.InterceptionStart{}, &aibridge.PromptUsage{}, &aibridge.TokenUsage{}, &aibridge.ToolUsage{}, &aibridge.ModelThought{},
		&aibridge.InterceptionEnd{},
		&aibridge.TokenUsage{Metadata: aibridge.Metadata{
			"empty": "", "text": "Gr\u00fc\u00dfe", "true": true, "false": false, "zero": int64(0), "count": int64(-7), "large": int64(1) << 60,
			"part": 0.25, "infinite": math.Inf(1), "nothing": nil, "list": []any{"a", int64(1)}, "map": map[string]any{"b": false},
			"invalid": "\xff", "channel": make(chan int), "": "no name", "\xff": "invalid name",
		}},
		&aibridge.ModelThought{Metadata: aibridge.Metadata{"only": make(chan int)}},
	} {
		checkEncoding(t, record)
	}
}

// TestEncodeTogether checks that an encoder that is used again returns nothing of what it did before, and that entries do
// not reach into each other.
func TestEncodeTogether(t *testing.T) {
	t.Parallel()
	var e encoder
	for seed := range uint64(20) {
		records := seeded{rand.New(rand.NewPCG(seed, 1))}.records("client")[seed%3:]
		entries, err := e.encode(records)
		if err != nil || len(entries) != len(records) {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		for n, record := range records {
			if got, err := decodeEntry(entries[n]); err != nil || !protobuf.Equal(got, plainRecord(record)) {
				t.Errorf("%d: %v, %v", n, got, err)
			}
			_ = append(entries[n], "more"...)
		}
	}
}

// BenchmarkEncode has the four records of a short interception.
func BenchmarkEncode(b *testing.B) {
	records := shortInterception()
	var e encoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.encode(records); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode decodes the same.
func BenchmarkDecode(b *testing.B) {
	entries, err := new(encoder).encode(shortInterception())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, entry := range entries {
			if _, err := decodeEntry(entry); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func shortInterception() []aibridge.Record {
	id, now := uuid.Must(uuid.NewV7()), time.Now()
	return []aibridge.Record{
		&aibridge.InterceptionStart{
			ID: id, InitiatorID: id.String(), APIKeyID: "key", Provider: "anthropic", ProviderName: "anthropic", Model: "claude-x",
			Metadata: aibridge.Metadata{"Username": "ada"}, StartedAt: now, Client: "Claude Code", ClientSessionID: id.String(),
			UserAgent: "claude-cli/2.1.330 (external, sdk-cli)", CredentialKind: aibridge.CredentialCentralized, CredentialHint: "sk-a...WXYZ",
			RequestBytes: 1000, RequestSHA256: make([]byte, 32),
		},
		&aibridge.PromptUsage{RecordID: id, InterceptionID: id, Prompt: "What is in this directory?", CreatedAt: now},
		&aibridge.TokenUsage{
			RecordID: id, InterceptionID: id, MessageID: "msg_1", InputTokens: 100, OutputTokens: 200,
			Metadata: aibridge.Metadata{"model": "claude-x"}, CreatedAt: now,
		},
		&aibridge.InterceptionEnd{RecordID: id, InterceptionID: id, EndedAt: now, CredentialHint: "sk-a...WXYZ", ResponseSHA256: make([]byte, 32)},
	}
}
