package aibridgedserver

import "github.com/google/uuid"

// batch is records as rows, by the statement that inserts them.
type batch struct {
	rows [insertions][]any // Each the values of all rows, one row after the other.
	// whole are the interceptions whose start and end are both in the batch, in the order of their rows.
	whole []*interceptionRow
	// records is how many there are, those that are in the batch twice included.
	records int
}

// interceptionRow is what a batch holds of an interception.
type interceptionRow struct {
	start, end *record // Nil where the batch does not hold it.
	at         int64   // The time of the record that came first.
}

// newBatch returns the rows of records, all of which can be stored.
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
		case r.into == insertStart, r.into == insertEnd: // An interception starts once, and ends once.
		default:
			b.rows[r.into] = append(b.rows[r.into], r.values...)
		}
	}
	for _, id := range order {
		b.addInterception(id, seen[id])
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

// store inserts the rows, and returns how many of the records had been stored before. Insert returns how many rows of
// a statement were not there.
func (b *batch) store(insert func(into insertion, values []any) (int64, error)) (duplicates int, err error) {
	stored := 0
	if len(b.whole) > 0 {
		inserted, err := insert(insertWhole, b.rows[insertWhole])
		if err != nil {
			return 0, err
		}
		stored += 2 * int(inserted)
		if int(inserted) < len(b.whole) {
			// Of some there was a row. Each half of these may be new; of the others, neither is any more.
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
