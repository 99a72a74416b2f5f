package postgres

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// registerValues lets a connection bind the values of package aibridgedserver: ids as bytes, times as microseconds since
// 1970, any text, and metadata as JSON text.
func registerValues(m *pgtype.Map) {
	for _, t := range []struct {
		name       string
		oid, array uint32
		codec      pgtype.Codec
	}{
		{"uuid", pgtype.UUIDOID, pgtype.UUIDArrayOID, idCodec{}},
		{"timestamptz", pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID, &timeCodec{}},
		{"text", pgtype.TextOID, pgtype.TextArrayOID, textCodec{}},
		{"jsonb", pgtype.JSONBOID, pgtype.JSONBArrayOID, metadataCodec{&pgtype.JSONBCodec{}}},
	} {
		element := &pgtype.Type{Name: t.name, OID: t.oid, Codec: t.codec}
		m.RegisterType(element)
		m.RegisterType(&pgtype.Type{Name: "_" + t.name, OID: t.array, Codec: &pgtype.ArrayCodec{ElementType: element}})
	}
}

// idCodec binds the 16 bytes of a UUID.
type idCodec struct{ pgtype.UUIDCodec }

func (c idCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.([]byte); ok && format == pgtype.BinaryFormatCode {
		return encode(func(value any, buf []byte) ([]byte, error) { return append(buf, value.([]byte)...), nil })
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

// timeCodec binds microseconds since 1970. Those that PostgreSQL cannot hold stand for a time before or after all others.
type timeCodec struct{ pgtype.TimestamptzCodec }

func (c *timeCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(int64); ok && format == pgtype.BinaryFormatCode {
		return encode(encodeMicros)
	}
	return c.TimestamptzCodec.PlanEncode(m, oid, format, value)
}

// textCodec binds any text: see [storable].
type textCodec struct{ pgtype.TextCodec }

func (c textCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(string); ok {
		return encode(func(value any, buf []byte) ([]byte, error) { return append(buf, storable(value.(string))...), nil })
	}
	return c.TextCodec.PlanEncode(m, oid, format, value)
}

// metadataCodec binds JSON text: see [storableJSON].
type metadataCodec struct{ *pgtype.JSONBCodec }

func (c metadataCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(string); !ok {
		return c.JSONBCodec.PlanEncode(m, oid, format, value)
	}
	return encode(func(value any, buf []byte) ([]byte, error) {
		if format == pgtype.BinaryFormatCode {
			buf = append(buf, jsonbVersion)
		}
		return append(buf, storableJSON(value.(string))...), nil
	})
}

// jsonbVersion begins a jsonb in the binary format.
const jsonbVersion = 1

// epochMicros is when PostgreSQL's times begin: at the start of the year 2000.
const epochMicros = 946_684_800_000_000

// leastMicros and mostMicros bound the times that PostgreSQL can hold: the years from -4000 to 294000. Gateways record none
// beyond, but a query may ask for all before or after such a time.
const (
	leastMicros = -188_000_000_000_000_000
	mostMicros  = 9_215_000_000_000_000_000
)

func encodeMicros(value any, buf []byte) ([]byte, error) {
	micros := value.(int64)
	switch {
	case micros < leastMicros:
		micros = math.MinInt64 // Which is PostgreSQL's -infinity.
	case micros > mostMicros:
		micros = math.MaxInt64 // Its infinity.
	default:
		micros -= epochMicros
	}
	return binary.BigEndian.AppendUint64(buf, uint64(micros)), nil
}

// encode is a [pgtype.EncodePlan].
type encode func(value any, buf []byte) ([]byte, error)

func (e encode) Encode(value any, buf []byte) ([]byte, error) { return e(value, buf) }

// returned returns a column's value, of the type with that name, as package aibridgedserver reads it.
func returned(kind string, value driver.Value) (driver.Value, error) {
	switch value := value.(type) {
	case string:
		if kind == "TEXT" {
			return original(value), nil
		}
	case []byte:
		if kind == "JSONB" {
			return originalJSON(value)
		}
	case time.Time:
		return value.UnixMicro(), nil
	}
	return value, nil
}
