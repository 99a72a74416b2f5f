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

// timeOrNil returns a time that a column may hold.
func timeOrNil(micros sql.NullInt64) *time.Time {
	if !micros.Valid {
		return nil
	}
	at := time.UnixMicro(micros.Int64).UTC()
	return &at
}

// micros returns a time as it is stored. One that is missing or out of range becomes the time of its arrival: a record
// without its time is worth more than none.
func micros(at *timestamppb.Timestamp) int64 {
	if at.CheckValid() != nil {
		return time.Now().UnixMicro()
	}
	return at.AsTime().UnixMicro()
}
