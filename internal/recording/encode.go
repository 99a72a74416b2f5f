package recording

import (
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/coder/aibridged/aibridge"
)

var errNotText = errors.New("a record has text that is not UTF-8")

// The numbers of the contract's records in its message Record.
const (
	recordStart   protowire.Number = 1
	recordEnd     protowire.Number = 2
	recordTokens  protowire.Number = 3
	recordPrompt  protowire.Number = 4
	recordTool    protowire.Number = 5
	recordThought protowire.Number = 6
)

// encoder writes entries. Equal records are equal bytes. It is not safe for concurrent use.
type encoder struct {
	b       []byte
	entries [][]byte
	ends    []int // Of the entries, in b.
	names   []string
	invalid bool // There was a text that is not UTF-8, which no message may have.
}

// encoders keeps used encoders, and so their buffers. It is a pool because a request encodes twice, and 64 requests may
// do so at a time.
type encoders struct{ pool sync.Pool }

// largestKept is the largest buffer that is kept, in bytes: few records are larger.
const largestKept = 64 << 10

func (e *encoders) get() *encoder {
	if kept, ok := e.pool.Get().(*encoder); ok {
		return kept
	}
	return &encoder{}
}

// put takes an encoder back. Its entries must not be used any more.
func (e *encoders) put(used *encoder) {
	if cap(used.b) <= largestKept {
		e.pool.Put(used)
	}
}

// encode returns the entries of records, which are valid until the next call.
func (e *encoder) encode(records []aibridge.Record) ([][]byte, error) {
	e.b, e.entries, e.ends, e.invalid = e.b[:0], e.entries[:0], e.ends[:0], false
	for _, record := range records {
		e.record(record)
		e.ends = append(e.ends, len(e.b))
	}
	if e.invalid {
		return nil, errNotText
	}
	begin := 0
	for _, end := range e.ends {
		e.entries = append(e.entries, e.b[begin:end:end])
		begin = end
	}
	return e.entries, nil
}

// record appends an entry: a head, and the message Record with the fields of the record's own message in the order of
// their numbers.
func (e *encoder) record(record aibridge.Record) {
	switch r := record.(type) {
	case *aibridge.InterceptionStart:
		e.head(entryStart, r.ID, r.ID)
		begin := e.begin(recordStart)
		e.id(1, r.ID)
		e.text(2, r.InitiatorID)
		e.text(3, r.Provider)
		e.text(4, r.Model)
		e.metadata(5, r.Metadata)
		e.time(6, r.StartedAt)
		e.text(7, r.APIKeyID)
		e.text(8, r.Client)
		e.text(9, r.UserAgent)
		e.text(10, r.CorrelatingToolCallID)
		e.text(11, r.ClientSessionID)
		e.text(12, r.ProviderName)
		e.text(13, string(r.CredentialKind))
		e.text(14, r.CredentialHint)
		e.number(101, r.RequestBytes)
		e.bytes(102, r.RequestSHA256)
		e.end(begin)
	case *aibridge.InterceptionEnd:
		e.head(entryEnd, r.InterceptionID, r.RecordID)
		begin := e.begin(recordEnd)
		e.id(1, r.InterceptionID)
		e.time(2, r.EndedAt)
		e.text(3, r.CredentialHint)
		e.text(4, string(r.ErrorType))
		e.text(5, r.ErrorMessage)
		e.id(100, r.RecordID)
		e.number(101, r.ResponseBytes)
		e.bytes(102, r.ResponseSHA256)
		e.text(103, r.Model)
		e.optionalID(104, r.BackgroundID)
		e.number(105, r.Unread)
		e.number(106, r.FirstByte.Microseconds())
		e.end(begin)
	case *aibridge.TokenUsage:
		e.head(entryWithin, r.InterceptionID, r.RecordID)
		begin := e.begin(recordTokens)
		e.id(1, r.InterceptionID)
		e.text(2, r.MessageID)
		e.number(3, r.InputTokens)
		e.number(4, r.OutputTokens)
		e.metadata(5, r.Metadata)
		e.time(6, r.CreatedAt)
		e.number(7, r.CacheReadInputTokens)
		e.number(8, r.CacheWriteInputTokens)
		e.id(100, r.RecordID)
		e.optionalID(101, r.BackgroundID)
		e.end(begin)
	case *aibridge.PromptUsage:
		e.head(entryWithin, r.InterceptionID, r.RecordID)
		begin := e.begin(recordPrompt)
		e.id(1, r.InterceptionID)
		e.text(2, r.MessageID)
		e.text(3, r.Prompt)
		e.metadata(4, r.Metadata)
		e.time(5, r.CreatedAt)
		e.id(100, r.RecordID)
		e.end(begin)
	case *aibridge.ToolUsage:
		e.head(entryWithin, r.InterceptionID, r.RecordID)
		begin := e.begin(recordTool)
		e.id(1, r.InterceptionID)
		e.text(2, r.MessageID)
		e.text(3, r.ServerURL)
		e.text(4, r.Tool)
		e.text(5, r.Input)
		e.number(6, int64(protowire.EncodeBool(r.Injected)))
		e.text(7, r.InvocationError)
		e.metadata(8, r.Metadata)
		e.time(9, r.CreatedAt)
		e.text(10, r.ToolCallID)
		e.text(11, r.ItemID)
		e.id(100, r.RecordID)
		e.optionalID(101, r.BackgroundID)
		e.end(begin)
	case *aibridge.ModelThought:
		e.head(entryWithin, r.InterceptionID, r.RecordID)
		begin := e.begin(recordThought)
		e.id(1, r.InterceptionID)
		e.text(2, r.Content)
		e.metadata(3, r.Metadata)
		e.time(4, r.CreatedAt)
		e.id(100, r.RecordID)
		e.optionalID(101, r.BackgroundID)
		e.end(begin)
	}
}

// head appends the head of an entry. A record whose interception has no id is marked as neither start nor end; the
// control plane refuses it.
func (e *encoder) head(kind byte, interception, record uuid.UUID) {
	if interception == uuid.Nil {
		kind = entryWithin
	}
	e.b = append(e.b, kind)
	e.b = append(e.b, interception[:]...)
	e.b = append(e.b, record[:]...)
}

// begin appends the beginning of a message, and returns where its body begins.
func (e *encoder) begin(number protowire.Number) int {
	e.b = append(protowire.AppendTag(e.b, number, protowire.BytesType), 0)
	return len(e.b)
}

// end puts the length of a message before its body. It moves the body if the length takes more than one byte.
func (e *encoder) end(begin int) {
	length := len(e.b) - begin
	more := protowire.SizeVarint(uint64(length)) - 1
	if more > 0 {
		e.b = append(e.b, make([]byte, more)...)
		copy(e.b[begin+more:], e.b[begin:begin+length])
	}
	protowire.AppendVarint(e.b[:begin-1], uint64(length))
}

// text appends a text that is not empty: an empty text is the default or, if a field is optional, absent.
func (e *encoder) text(number protowire.Number, text string) {
	if text == "" {
		return
	}
	e.invalid = e.invalid || !utf8.ValidString(text)
	e.b = protowire.AppendString(protowire.AppendTag(e.b, number, protowire.BytesType), text)
}

func (e *encoder) bytes(number protowire.Number, bytes []byte) {
	if len(bytes) > 0 {
		e.b = protowire.AppendBytes(protowire.AppendTag(e.b, number, protowire.BytesType), bytes)
	}
}

func (e *encoder) number(number protowire.Number, value int64) {
	if value != 0 {
		e.b = protowire.AppendVarint(protowire.AppendTag(e.b, number, protowire.VarintType), uint64(value))
	}
}

// idTextBytes is the length of a UUID as text.
const idTextBytes = 36

func (e *encoder) id(number protowire.Number, id uuid.UUID) {
	e.b = append(protowire.AppendTag(e.b, number, protowire.BytesType), idTextBytes)
	e.b = append(hex.AppendEncode(e.b, id[:4]), '-')
	e.b = append(hex.AppendEncode(e.b, id[4:6]), '-')
	e.b = append(hex.AppendEncode(e.b, id[6:8]), '-')
	e.b = append(hex.AppendEncode(e.b, id[8:10]), '-')
	e.b = hex.AppendEncode(e.b, id[10:])
}

// optionalID appends a UUID that is not zero.
func (e *encoder) optionalID(number protowire.Number, id uuid.UUID) {
	if id != uuid.Nil {
		e.id(number, id)
	}
}

// time appends a google.protobuf.Timestamp.
func (e *encoder) time(number protowire.Number, t time.Time) {
	begin := e.begin(number)
	e.number(1, t.Unix())
	e.number(2, int64(t.Nanosecond()))
	e.end(begin)
}

// anyValue is the type of metadata's values.
const anyValue = "type.googleapis.com/google.protobuf.Value"

// metadata appends a map to google.protobuf.Any, each of which holds a google.protobuf.Value, in the order of the
// names. A value that cannot be one is left out: metadata never makes a record fail.
func (e *encoder) metadata(number protowire.Number, metadata aibridge.Metadata) {
	if len(metadata) == 0 {
		return
	}
	e.names = e.names[:0]
	for name := range metadata {
		e.names = append(e.names, name)
	}
	slices.Sort(e.names)
	for _, name := range e.names {
		before := len(e.b)
		entry := e.begin(number)
		e.b = protowire.AppendString(protowire.AppendTag(e.b, 1, protowire.BytesType), name)
		packed := e.begin(2)
		e.text(1, anyValue)
		value := e.begin(2)
		if !utf8.ValidString(name) || !e.value(metadata[name]) {
			e.b = e.b[:before]
			continue
		}
		e.end(value)
		e.end(packed)
		e.end(entry)
	}
	clear(e.names)
}

// value appends the fields of a google.protobuf.Value, and reports whether there are any for this one. The plain kinds,
// which nearly all metadata has, are written here: to make a message of each costs ten times as much.
func (e *encoder) value(value any) bool {
	switch value := value.(type) {
	case string:
		e.b = protowire.AppendString(protowire.AppendTag(e.b, 3, protowire.BytesType), value)
		return utf8.ValidString(value)
	case bool:
		e.b = protowire.AppendVarint(protowire.AppendTag(e.b, 4, protowire.VarintType), protowire.EncodeBool(value))
		return true
	case int64:
		return e.value(float64(value))
	case float64:
		e.b = protowire.AppendFixed64(protowire.AppendTag(e.b, 2, protowire.Fixed64Type), math.Float64bits(value))
		return true
	}
	message, err := structpb.NewValue(value)
	if err != nil {
		return false
	}
	fields, err := protobuf.MarshalOptions{Deterministic: true}.Marshal(message)
	e.b = append(e.b, fields...)
	return err == nil
}
