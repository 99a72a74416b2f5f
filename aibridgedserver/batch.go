package aibridgedserver

import "github.com/google/uuid"

// batch holds records as rows, grouped by the statement that inserts them.
type batch struct {
	rows [insertions][]any // For each insertion the values of all its rows, one row after the other.
	// whole are the interceptions whose start and end are both in the batch, in the order of their rows.
	whole []*interceptionRow
	// records is the number of records, including those that are in the batch twice.
	records int
	touched []byte // The ids of their interceptions, one behind the other.
}

// interceptionRow holds the start and the end of one interception, as far as a batch has them.
type interceptionRow struct {
	start, end *record // Nil: not in the batch.
	at         int64   // The time of the record that came first.
}

// newBatch returns the rows of records. None of the records may have a failure.
func newBatch(records []*record) *batch {
	b := &batch{records: len(records)}
	seen := make(map[uuid.UUID]*interceptionRow, len(records)/2)
	order := make([]uuid.UUID, 0, len(records)/2)
	for _, r := range records {
		row := seen[r.interception]
		if row == nil {
			row = &interceptionRow{at: r.at}
			seen[r.interception] = row
			order = append(order, r.interception)
		}
		switch {
		case r.into == insertStart && row.start == nil:
			row.start = r
		case r.into == insertEnd && row.end == nil:
			row.end = r
		case r.into == insertStart, r.into == insertEnd: // A second start or end of an interception is ignored.
		default:
			b.rows[r.into] = append(b.rows[r.into], r.values...)
		}
	}
	b.touched = make([]byte, 0, len(order)*len(uuid.UUID{}))
	for _, id := range order {
		b.addInterception(id, seen[id])
		b.touched = append(b.touched, id[:]...)
	}
	return b
}

func (b *batch) addInterception(id uuid.UUID, row *interceptionRow) {
	switch {
	case row.start != nil && row.end != nil:
		b.whole = append(b.whole, row)
		b.rows[insertWhole] = append(append(b.rows[insertWhole], row.start.values...), row.end.values[endPrefix:]...)
	case row.start != nil:
		b.rows[insertStart] = append(b.rows[insertStart], row.start.values...)
	case row.end != nil:
		b.rows[insertEnd] = append(b.rows[insertEnd], row.end.values...)
	default:
		b.rows[insertMention] = append(b.rows[insertMention], id[:], row.at)
	}
}

// store inserts the rows, and returns how many of the records had been stored before. The function insert returns how
// many of the rows it has inserted, without those that already existed.
func (b *batch) store(insert func(into insertion, values []any) (int64, error)) (duplicates int, err error) {
	stored := 0
	if len(b.whole) > 0 {
		inserted, err := insert(insertWhole, b.rows[insertWhole])
		if err != nil {
			return 0, err
		}
		stored += 2 * int(inserted)
		if int(inserted) < len(b.whole) {
			// Some of these interceptions had a row already. Their start or their end may still be new, so both are
			// inserted once more, one by one. For the others that does nothing, since both are stored now.
			for _, row := range b.whole {
				b.rows[insertStart] = append(b.rows[insertStart], row.start.values...)
				b.rows[insertEnd] = append(b.rows[insertEnd], row.end.values...)
			}
		}
	}
	for into := insertStart; into < insertions; into++ {
		if len(b.rows[into]) == 0 {
			continue
		}
		inserted, err := insert(into, b.rows[into])
		if err != nil {
			return 0, err
		}
		if into != insertMention {
			stored += int(inserted)
		}
	}
	return b.records - stored, nil
}
