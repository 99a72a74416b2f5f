package reports

import (
	"context"
	"database/sql"
)

// rarest returns the values of a filter, that of the fewest sessions in its range first, and how many these are, up to mostSorted
// and one more.
func (f SessionFilter) rarest(ctx context.Context, tx querier) (kinds []sessionValue, fewest int, err error) {
	kinds, fewest = f.kinds(), mostSorted+1
	for i, one := range kinds {
		n, err := count(ctx, tx, numberQuery(one, f.Range))
		if err != nil {
			return nil, 0, err
		}
		if n < fewest {
			kinds[0], kinds[i], fewest = kinds[i], kinds[0], n
		}
	}
	return kinds, fewest, nil
}

// numberQuery returns the query for how many sessions of a range have a value, up to mostSorted and one more.
func numberQuery(of sessionValue, over Range) query {
	var args arguments
	return query{`SELECT count(*) FROM (SELECT 1 FROM session_values v WHERE v.kind = ` + args.add(int(of.kind)) + ` AND v.value = ` + args.add(of.value) +
		` AND v.started_at >= ` + args.add(over.From.UnixMicro()) + ` AND v.started_at < ` + args.add(over.To.UnixMicro()) + ` LIMIT ` +
		args.add(mostSorted+1) + `) n`, args}
}

func count(ctx context.Context, tx querier, q query) (int, error) {
	found, err := all(ctx, tx, q, func(rows *sql.Rows) (n int, err error) {
		err = rows.Scan(&n)
		return n, err
	})
	if err != nil {
		return 0, err
	}
	return found[0], nil
}
