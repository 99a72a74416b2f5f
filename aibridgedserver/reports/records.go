package reports

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

// interception is what is recorded of one, as far as something is derived of it.
type interception struct {
	id            uuid.UUID
	initiator     uuid.UUID
	provider      prices.Provider
	model         string
	client        string
	clientSession string // Empty: the client told none.
	answers       string // The id of the tool call whose result the request brought. Empty: none.
	byok          bool
	agent         agent
	startedAt     int64
	endedAt       sql.NullInt64
	responseBytes int64
	firstByte     int64
	errorType     sql.NullString
	background    uuid.NullUUID
	started       bool // Else only records that belong to it have come yet.

	prompt *prompt
	usages []usage
	calls  []call
}

// agent is what a client says of its sub-agent.
type agent struct {
	ID     string `json:"agent_id"`
	Parent string `json:"parent_agent_id"`
}

type prompt struct {
	text      string
	generated bool // By the client itself.
}

type call struct {
	tool, id string
	message  string      // The id of the answer that it is in.
	hosted   prices.Kind // What a call costs that the upstream itself ran. Empty: nothing, or the client runs it.
}

// pricer computes costs.
type pricer interface {
	Cost(usage prices.Usage) prices.Cost
}

// facts returns what is derived of an interception, but for its session.
func (i *interception) facts(of pricer) *facts {
	f := &facts{
		id: i.id, initiator: i.initiator, startedAt: i.startedAt, provider: i.provider.Name, model: i.model, client: i.client,
		outcome: i.outcome(), tools: map[string]int64{},
	}
	f.sums[requests], f.sums[calls] = 1, int64(len(i.calls))
	if i.errorType.Valid {
		f.sums[failed] = 1
	}
	f.setFirstByte(i.firstByte)
	for _, c := range i.calls {
		f.tools[c.tool]++
	}
	for n, c := range i.costs(of) {
		f.add(i.usages[n], c)
	}
	if i.isUnmetered() {
		f.add(usage{}, i.unmeteredCost(of))
	} else if len(i.usages) == 0 && f.outcome == OK {
		f.sums[unpriced] = 1 // It cost something, but the upstream told no usage, or has not told that of a background response yet.
	}
	return f
}

// isUnmetered reports whether an answer was cut, or given up by its client, before the upstream told what it used: the only one,
// or the last one of several rounds. An upstream goes on with one that the client has not waited for. An answer that failed as a
// whole costs nothing.
func (i *interception) isUnmetered() bool {
	cut := i.errorType.String == truncated || i.errorType.String == clientClosed || len(i.usages) == 0 && len(i.calls) > 0
	isPartial := func(u usage) bool { return prices.IsPartial(u.metadata) } // That of the answer that was cut.
	begun := i.responseBytes > 0 || i.errorType.String == clientClosed
	return cut && i.errorType.Valid && begun && !i.background.Valid && !slices.ContainsFunc(i.usages, isPartial)
}

// The error types of answers that were cut.
const (
	truncated    = "truncated"
	clientClosed = "client_closed"
)

// unmeteredCost returns what is known of the cost of an answer without a usage. Of the last one of several rounds, nobody knows
// which bytes are its own, or whether it had begun.
func (i *interception) unmeteredCost(of pricer) prices.Cost {
	u := prices.Usage{Provider: i.provider, Model: i.model, At: time.UnixMicro(i.startedAt), BYOK: i.byok, Unmetered: true}
	if len(i.usages) == 0 {
		u.Delivered, u.Hosted = i.responseBytes, i.hosted(func(string) bool { return true })
	}
	return of.Cost(u)
}

// hosted counts the calls in some answers that the upstream itself ran, those with one id once. It is nil if there are none.
func (i *interception) hosted(in func(message string) bool) (counts map[prices.Kind]int64) {
	type seen struct{ message, id string }
	known := map[seen]bool{}
	for _, c := range i.calls {
		if c.hosted != "" && in(c.message) && (c.id == "" || !known[seen{c.message, c.id}]) {
			known[seen{c.message, c.id}] = true
			if counts == nil {
				counts = map[prices.Kind]int64{}
			}
			counts[c.hosted]++
		}
	}
	return counts
}

func (i *interception) outcome() string {
	switch {
	case i.errorType.Valid:
		return i.errorType.String
	case i.endedAt.Valid:
		return OK
	default:
		return Running
	}
}

// costs returns the cost of each usage.
func (i *interception) costs(of pricer) []prices.Cost {
	costs := make([]prices.Cost, len(i.usages))
	var before int64
	known := map[string]bool{}
	for _, u := range i.usages {
		known[u.message] = true
	}
	counted := map[string]bool{}
	for n, u := range i.usages {
		first, last := !counted[u.message], n == len(i.usages)-1
		counted[u.message] = true
		hosted := i.hosted(func(message string) bool { return first && message == u.message || last && !known[message] })
		costs[n] = of.Cost(prices.Usage{
			Provider: i.provider, Model: i.model, At: time.UnixMicro(i.startedAt), BYOK: i.byok, Input: u.input, Output: u.output,
			CacheRead: u.cacheRead, CacheWrite: u.cacheWrite, Metadata: u.metadata, Delivered: i.responseBytes, Before: before,
			Hosted: hosted,
		})
		before += max(u.output, 0)
	}
	return costs
}

// records are the interceptions of some ids that have started, with what belongs to them.
type records struct {
	ids           []uuid.UUID // Those that were asked for, and those of interceptions that began background responses of them.
	interceptions map[uuid.UUID]*interception
	homes         map[uuid.UUID][]*interception // By the ids under which their records are.
}

// inOrder returns the interceptions in the order of their starts.
func (r *records) inOrder() []*interception {
	ordered := make([]*interception, 0, len(r.interceptions))
	for _, i := range r.interceptions {
		ordered = append(ordered, i)
	}
	slices.SortFunc(ordered, func(a, b *interception) int {
		return cmp.Or(cmp.Compare(a.startedAt, b.startedAt), slices.Compare(a.id[:], b.id[:]))
	})
	return ordered
}

// The providers that are set up tell where a request went. One that was removed since is known by its type alone.
const selectInterceptions = `SELECT i.id, coalesce(i.initiator_id, i.id), i.provider, i.provider_name, coalesce(p.base_url, ''),
	coalesce(nullif(i.model, ''), i.answer_model), i.client, coalesce(i.client_session_id, ''),
	coalesce(i.correlating_tool_call_id, ''), i.credential_kind = 'byok', i.metadata, i.started_at, i.ended_at,
	coalesce(i.response_bytes, 0), coalesce(i.first_byte, 0), i.error_type, i.background_id, i.started
	FROM interceptions i LEFT JOIN providers p ON p.name = i.provider_name AND p.type = i.provider
	WHERE i.`

func scanInterception(rows *sql.Rows) (*interception, error) {
	var i interception
	var metadata []byte
	err := rows.Scan(&i.id, &i.initiator, &i.provider.Type, &i.provider.Name, &i.provider.BaseURL, &i.model, &i.client,
		&i.clientSession, &i.answers, &i.byok, &metadata, &i.startedAt, &i.endedAt, &i.responseBytes, &i.firstByte, &i.errorType,
		&i.background, &i.started)
	_ = json.Unmarshal(metadata, &i.agent) // A host may have other values of these names: then there is no agent.
	return &i, err
}

// mostPlaceholders is how many ids a query has at most.
const mostPlaceholders = 128

// byIDs calls do with queries that have text and then a list of ids.
func byIDs(ids []uuid.UUID, text string, do func(query) error) error {
	for chunk := range slices.Chunk(ids, mostPlaceholders) {
		var args arguments
		var in []string
		for _, id := range chunk {
			in = append(in, args.add(id[:]))
		}
		if err := do(query{text + ` IN (` + strings.Join(in, ", ") + `)`, args}); err != nil {
			return err
		}
	}
	return nil
}

// readRecords reads the records of interceptions.
func readRecords(ctx context.Context, tx querier, ids []uuid.UUID) (*records, error) {
	r := &records{ids: slices.Clone(ids), interceptions: map[uuid.UUID]*interception{}, homes: map[uuid.UUID][]*interception{}}
	add := func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (*interception, error) {
			i, err := scanInterception(rows)
			if err == nil && i.started && r.interceptions[i.id] == nil {
				r.add(i)
			}
			return i, err
		})
		return err
	}
	if err := byIDs(ids, selectInterceptions+`id`, add); err != nil {
		return nil, err
	}
	// The records of a background response are under its id, and so is their touch.
	var homes []uuid.UUID
	for _, id := range ids {
		if r.interceptions[id] == nil {
			homes = append(homes, id)
		}
	}
	if err := byIDs(homes, selectInterceptions+`background_id`, add); err != nil {
		return nil, err
	}
	return r, r.readChildren(ctx, tx)
}

func (r *records) add(i *interception) {
	r.interceptions[i.id] = i
	if !slices.Contains(r.ids, i.id) {
		r.ids = append(r.ids, i.id)
	}
	r.homes[i.id] = append(r.homes[i.id], i)
	if i.background.Valid {
		r.homes[i.background.UUID] = append(r.homes[i.background.UUID], i)
	}
}

// readChildren reads what belongs to the interceptions.
func (r *records) readChildren(ctx context.Context, tx querier) error {
	ids := make([]uuid.UUID, 0, len(r.homes))
	for id := range r.homes {
		ids = append(ids, id)
	}
	err := byIDs(ids, `SELECT interception_id, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens,
		metadata, created_at, msg_id FROM token_usages WHERE interception_id`, func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (id uuid.UUID, err error) {
			var u usage
			err = rows.Scan(&id, &u.input, &u.output, &u.cacheRead, &u.cacheWrite, &u.metadata, &u.createdAt, &u.message)
			for _, i := range r.homes[id] {
				i.usages = append(i.usages, u)
			}
			return id, err
		})
		return err
	})
	if err != nil {
		return err
	}
	for _, i := range r.interceptions {
		slices.SortStableFunc(i.usages, func(a, b usage) int { return cmp.Compare(a.createdAt, b.createdAt) })
	}
	err = byIDs(ids, `SELECT interception_id, tool, tool_call_id, item_id, msg_id,
		CASE WHEN tool = 'web_search_call' THEN substr(input, 1, 4096) ELSE '' END FROM tool_usages WHERE interception_id`, func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (id uuid.UUID, err error) {
			var c call
			var itemID, input string
			err = rows.Scan(&id, &c.tool, &c.id, &itemID, &c.message, &input)
			c.hosted = prices.HostedKind(c.tool, c.id, itemID, input)
			for _, i := range r.homes[id] {
				i.calls = append(i.calls, c)
			}
			return id, err
		})
		return err
	})
	if err != nil {
		return err
	}
	return byIDs(ids, `SELECT interception_id, substr(prompt, 1, 65536), metadata FROM prompt_usages WHERE interception_id`, func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (id uuid.UUID, err error) {
			var p prompt
			var metadata []byte
			err = rows.Scan(&id, &p.text, &metadata)
			p.generated = isGenerated(metadata)
			for _, i := range r.homes[id] {
				i.prompt = &p
			}
			return id, err
		})
		return err
	})
}

// readFacts reads what was derived of interceptions before.
func readFacts(ctx context.Context, tx querier, ids []uuid.UUID) (map[uuid.UUID]*facts, error) {
	found := map[uuid.UUID]*facts{}
	err := byIDs(ids, `SELECT `+factsColumns()+` FROM facts WHERE interception_id`, func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (*facts, error) {
			f, err := scanFacts(rows)
			if err == nil {
				found[f.id] = f
			}
			return f, err
		})
		return err
	})
	return found, err
}
