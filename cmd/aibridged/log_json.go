package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"cdr.dev/slog/v3"
)

// jsonSink writes entries as JSON, one object a line and one Write a line. It writes the members of slogjson, but
// caller and func only if an entry has them:
//
//	{"ts":"2026-01-02T15:04:05.123456Z","level":"INFO","logger_names":["gateway"],"msg":"…","caller":"file.go:12",
//	 "func":"…","trace":"…","span":"…","fields":{"name":"value"}}
//
// slogjson itself uses encoding/json and reflection for each field, and takes nine times as long. Every line is valid
// JSON, for any entry.
type jsonSink struct {
	out   io.Writer
	lines sync.Pool // Of *[]byte.
}

func newJSONSink(out io.Writer) *jsonSink {
	return &jsonSink{out: out, lines: sync.Pool{New: func() any { return new(make([]byte, 0, 1024)) }}}
}

// LogEntry implements [slog.Sink].
func (s *jsonSink) LogEntry(_ context.Context, entry slog.SinkEntry) {
	line := s.lines.Get().(*[]byte)
	*line = append(appendEntry((*line)[:0], entry), '\n')
	_, _ = s.out.Write(*line) // A log cannot report its own failure.
	if cap(*line) <= 64<<10 { // A huge buffer would stay in the pool.
		s.lines.Put(line)
	}
}

// Sync implements [slog.Sink].
func (*jsonSink) Sync() {}

func appendEntry(b []byte, entry slog.SinkEntry) []byte {
	b = append(b, `{"ts":`...)
	b = appendTime(b, entry.Time)
	b = append(b, `,"level":`...)
	b = appendText(b, entry.Level.String())
	if len(entry.LoggerNames) > 0 {
		b = append(b, `,"logger_names":`...)
		b = appendTexts(b, entry.LoggerNames)
	}
	b = append(b, `,"msg":`...)
	b = appendText(b, entry.Message)
	if entry.File != "" {
		b = append(b, `,"caller":`...)
		b = appendText(b, entry.File+":"+strconv.Itoa(entry.Line))
	}
	if entry.Func != "" {
		b = append(b, `,"func":`...)
		b = appendText(b, entry.Func)
	}
	if entry.SpanContext.IsValid() {
		b = append(b, `,"trace":"`...)
		b = append(b, entry.SpanContext.TraceID().String()...)
		b = append(b, `","span":"`...)
		b = append(b, entry.SpanContext.SpanID().String()...)
		b = append(b, '"')
	}
	if len(entry.Fields) > 0 {
		b = append(b, `,"fields":`...)
		b = appendFields(b, entry.Fields, 0)
	}
	return append(b, '}')
}

// deepest is how deeply maps of fields may be nested.
const deepest = 10

func appendFields(b []byte, fields slog.Map, depth int) []byte {
	if depth == deepest {
		return append(b, `"…"`...)
	}
	b = append(b, '{')
	for i, field := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, field.Name)
		b = append(b, ':')
		b = appendValue(b, field.Value, depth)
	}
	return append(b, '}')
}

// appendValue appends a value as JSON. It handles the types that are logged often; appendOther handles the rest.
// Durations are texts with a unit, as in slogjson.
func appendValue(b []byte, value any, depth int) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendText(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		return appendFloat(b, v)
	case time.Duration:
		return appendText(b, v.String())
	case time.Time:
		return appendTime(b, v)
	case []string:
		return appendTexts(b, v)
	case slog.Map:
		return appendFields(b, v, depth+1)
	}
	return appendOther(b, value)
}

// appendOther appends a value by its Error, MarshalJSON or String method, if it has one of them, else by its kind or
// through encoding/json. A method may panic, for example on a nil pointer: then the line says that the value cannot be
// written.
func appendOther(b []byte, value any) (out []byte) {
	defer func() {
		if recover() != nil {
			out = appendUnloggable(b, value)
		}
	}()
	switch v := value.(type) {
	case error:
		return appendText(b, v.Error())
	case json.Marshaler:
		return appendMarshaled(b, value)
	case fmt.Stringer:
		return appendText(b, v.String())
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String:
		return appendText(b, v.String())
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return appendFloat(b, v.Float())
	default:
		return appendMarshaled(b, value)
	}
}

func appendMarshaled(b []byte, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		return appendUnloggable(b, value)
	}
	return append(b, text...)
}

// appendUnloggable appends only the type: printing a value that encoding/json refuses may never end, for example if it
// contains itself.
func appendUnloggable(b []byte, value any) []byte {
	return appendText(b, fmt.Sprintf("(a %T that cannot be written)", value))
}

func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return appendText(b, strconv.FormatFloat(v, 'g', -1, 64)) // JSON has no such number.
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendTexts(b []byte, texts []string) []byte {
	b = append(b, '[')
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, text)
	}
	return append(b, ']')
}

// appendText appends a JSON string. Each byte that is not UTF-8 becomes U+FFFD, as in encoding/json.
func appendText(b []byte, text string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	copied := 0 // text[:copied] is in b.
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, text[copied:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\uFFFD"...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, digits[c>>4], digits[c&15])
		}
		i++
		copied = i
	}
	b = append(b, text[copied:]...)
	return append(b, '"')
}
