package reports

import (
	"database/sql"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

// facts is what is derived of an interception.
type facts struct {
	id        uuid.UUID
	session   int64
	searchID  int64 // Zero: its prompt is not in the search index.
	initiator uuid.UUID
	startedAt int64 // In microseconds.
	provider  string
	model     string
	client    string
	outcome   string
	tools     map[string]int64 // How often the model called each.
	sums      tally
	firstByte int64 // In microseconds. Zero: not known.
}

// Outcomes of an interception that have no error type.
const (
	Running = "running"
	OK      = "ok"
)

// Dimension is that by which sums are kept.
type Dimension int

// The dimensions. The database holds these numbers.
const (
	All Dimension = iota
	ByUser
	ByModel
	ByClient
	ByProvider
	ByTool
	ByOutcome
)

// part is what an interception adds to the sums of one value of a dimension.
type part struct {
	dimension Dimension
	value     string
	sums      tally
}

// parts returns what an interception adds to sums. A tool has requests and calls only.
func (f *facts) parts() []part {
	parts := make([]part, 0, 6+len(f.tools))
	for of := All; of <= ByOutcome; of++ {
		f.eachPart(of, func(value string, sums *tally) { parts = append(parts, part{of, value, *sums}) })
	}
	return parts
}

// eachPart calls add with each value that an interception has of a dimension, and with what it adds to it.
func (f *facts) eachPart(of Dimension, add func(value string, sums *tally)) {
	switch of {
	case All:
		add("", &f.sums)
	case ByUser:
		add(f.initiator.String(), &f.sums)
	case ByModel:
		add(f.model, &f.sums)
	case ByClient:
		add(f.client, &f.sums)
	case ByProvider:
		add(f.provider, &f.sums)
	case ByOutcome:
		add(f.outcome, &f.sums)
	case ByTool:
		for tool, times := range f.tools {
			add(tool, &tally{requests: 1, calls: times})
		}
	}
}

// setFirstByte sets how long the first byte took, in microseconds.
func (f *facts) setFirstByte(micros int64) {
	f.firstByte = micros
	if micros > 0 {
		f.sums[firstBytes+slot(time.Duration(micros)*time.Microsecond)] = 1
	}
}

// factsHead are the columns of facts before those of a tally.
const factsHead = `interception_id, session, search_id, initiator_id, started_at, provider, model, client, outcome, tools, `

func scanFacts(rows *sql.Rows) (*facts, error) {
	var f facts
	var tools []byte
	var firstByte int64
	targets := []any{&f.id, &f.session, &f.searchID, &f.initiator, &f.startedAt, &f.provider, &f.model, &f.client, &f.outcome, &tools}
	targets = append(append(targets, f.sums.targets(sessionWide)...), &firstByte)
	if err := rows.Scan(targets...); err != nil {
		return nil, err
	}
	f.setFirstByte(firstByte)
	if string(tools) == "{}" { // Most often.
		return &f, nil
	}
	return &f, json.Unmarshal(tools, &f.tools)
}

func (f *facts) values() ([]any, error) {
	tools, err := json.Marshal(f.tools)
	if err != nil {
		return nil, err
	}
	values := []any{f.id[:], f.session, f.searchID, f.initiator[:], f.startedAt, f.provider, f.model, f.client, f.outcome, string(tools)}
	for _, n := range f.sums[:sessionWide] {
		values = append(values, n)
	}
	return append(values, f.firstByte), nil
}

// usage is a recorded token usage.
type usage struct {
	input, output, cacheRead, cacheWrite int64
	metadata                             []byte
	createdAt                            int64
	message                              string // The id of the answer that it is of.
}

// What one interception adds to sums has limits, so that no upstream can claim figures that the sums cannot hold. What is
// beyond them has no price: see package prices.
const (
	mostTokens = 1_000_000_000_000
	mostCost   = 1_000_000_000_000_000_000 // A million dollars.
)

// raise adds to a sum, up to a limit.
func (f *facts) raise(column int, by, most int64) {
	f.sums[column] = min(f.sums[column]+min(max(by, 0), most), most)
}

// add adds a usage and its cost to the facts.
func (f *facts) add(u usage, c prices.Cost) {
	f.raise(input, u.input, mostTokens)
	f.raise(output, u.output, mostTokens)
	f.raise(cacheRead, u.cacheRead, mostTokens)
	f.raise(cacheWrite, u.cacheWrite, mostTokens)
	f.raise(cost, amount(c.USD), mostCost)
	if c.USD.GreaterThan(dollars(mostCost)) {
		f.sums[unpriced] = 1 // A part of it is not in the sum.
	}
	if c.Estimated {
		f.raise(estimated, amount(c.OutputUSD()), mostCost)
	}
	if c.HasUnknown() {
		f.sums[unpriced] = 1
		f.raise(unpricedTokens, c.UnknownTokens(), mostTokens)
	}
}
