package postgres

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// month is a month of UTC: twelve times the year, and the months of it that are over.
type month int

func monthAt(at time.Time) month {
	at = at.UTC()
	return month(12*at.Year() + int(at.Month()) - 1)
}

// monthOf returns the month of the time in an id, and false if the id has none: only UUIDs of version 7 do.
func monthOf(id []byte) (month, bool) {
	if len(id) != 16 || id[6]>>4 != 7 {
		return 0, false
	}
	return monthAt(time.UnixMilli(int64(binary.BigEndian.Uint64(id) >> 16))), true
}

// begin returns when the month begins.
func (m month) begin() time.Time {
	return time.Date(int(m)/12, time.Month(int(m)%12+1), 1, 0, 0, 0, 0, time.UTC)
}

// first returns the least id of the month.
func (m month) first() uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(m.begin().UnixMilli())<<16)
	return id
}

// partition returns the name of the partition of a table that has the month.
func (m month) partition(table string) string { return table + "_p" + m.begin().Format("200601") }

// String implements [fmt.Stringer].
func (m month) String() string { return m.begin().Format("2006-01") }

// parseMonth returns the month at the end of a partition's name.
func parseMonth(partition string) (month, error) {
	if len(partition) < 6 {
		return 0, fmt.Errorf("partition %q is not named for a month", partition)
	}
	at, err := time.Parse("200601", partition[len(partition)-6:])
	return monthAt(at), err
}
