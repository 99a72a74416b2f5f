package aibridgedserver

import (
	"database/sql"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// instant reads a time as the tables hold it: in microseconds since 1970, in UTC.
type instant time.Time

// Scan implements [sql.Scanner].
func (i *instant) Scan(value any) error {
	micros, ok := value.(int64)
	if !ok {
		return fmt.Errorf("time is a %T, not an integer", value)
	}
	*i = instant(time.UnixMicro(micros).UTC())
	return nil
}

// timeOrNil returns the time that a column holds, or nil if it is NULL.
func timeOrNil(micros sql.NullInt64) *time.Time {
	if !micros.Valid {
		return nil
	}
	at := time.UnixMicro(micros.Int64).UTC()
	return &at
}

// micros returns a time as it is stored. If the time is missing or out of range, it returns the present time: a record
// with a wrong time is better than no record.
func micros(at *timestamppb.Timestamp) int64 {
	if at.CheckValid() != nil {
		return time.Now().UnixMicro()
	}
	return at.AsTime().UnixMicro()
}
