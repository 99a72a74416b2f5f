package aibridgedserver

import "strings"

// An insertion is one of the statements that store records. It does nothing for a record that is already stored, and
// changes one row for each record that was not.
type insertion int

const (
	insertWhole   insertion = iota // The start and the end of an interception.
	insertStart                    // A start, also if other records of the interception came first.
	insertEnd                      // An end, whether the interception has started or not.
	insertMention                  // An interception that is known only from a record that belongs to it.
	insertTokenUsage
	insertPrompt
	insertToolUsage
	insertThought

	insertions // The number of insertions.
)

// insertTouched notes the interceptions whose records a transaction has stored or deleted, for what is derived of them.
const insertTouched = `INSERT INTO touched (ids) VALUES ($1)`

// rowCounts is how many statements are prepared for each insertion, each for another number of rows.
const rowCounts = 3

// rowsPerStatement returns how many rows each of the prepared statements inserts, the largest number first. Executing a
// statement costs as much as inserting a few rows, so statements of many more rows would save nothing.
func rowsPerStatement() [rowCounts]int { return [...]int{16, 4, 1} }

const (
	startColumns = `id, initiator_id, api_key_id, provider, provider_name, model, client, client_session_id, user_agent,
		correlating_tool_call_id, credential_kind, credential_hint, agent_firewall_session_id,
		agent_firewall_sequence_number, metadata, started_at, request_bytes, request_sha256`
	endColumns = `ended_at, end_credential_hint, error_type, error_message, response_bytes, response_sha256, answer_model,
		background_id, unread, first_byte`
)

// Insertion holds the parts of the SQL that inserts records.
type Insertion struct {
	Table string
	// Columns are separated by commas, in the order of the bound values. The first names the interception; the table is
	// keyed by it and by record_id, where there is one.
	Columns string
	// Started is the value of the column started, which is not bound. Empty: the table has no such column.
	Started string
	// Exists is what happens to a row that already exists, as it is written behind ON CONFLICT.
	Exists string
}

// texts returns the parts of the insertion's SQL. The end of an interception, or a record that belongs to it, may have
// made its row before; the start then fills the row in.
func (i insertion) texts() Insertion {
	t := i.parts()
	if t.Exists == "" {
		t.Exists = "DO NOTHING"
	}
	return t
}

// parts returns the parts of the insertion's SQL. Without Exists, a row that already exists stays as it is.
func (i insertion) parts() Insertion {
	switch i {
	case insertWhole:
		return Insertion{Table: "interceptions", Columns: startColumns + ", " + endColumns, Started: "TRUE"}
	case insertStart:
		return Insertion{
			Table: "interceptions", Columns: startColumns, Started: "TRUE",
			Exists: `(id) DO UPDATE SET started = TRUE, ` + excluded(startColumns) + ` WHERE NOT interceptions.started`,
		}
	case insertEnd:
		return Insertion{
			Table: "interceptions", Columns: "id, started_at, " + endColumns, Started: "FALSE",
			Exists: `(id) DO UPDATE SET ` + excluded(endColumns) + ` WHERE interceptions.ended_at IS NULL`,
		}
	case insertMention:
		return Insertion{Table: "interceptions", Columns: "id, started_at", Started: "FALSE"}
	case insertTokenUsage:
		return Insertion{Table: "token_usages", Columns: `interception_id, record_id, created_at, msg_id, input_tokens,
			output_tokens, cache_read_input_tokens, cache_write_input_tokens, metadata`}
	case insertPrompt:
		return Insertion{Table: "prompt_usages", Columns: `interception_id, record_id, created_at, msg_id, metadata,
			prompt`}
	case insertToolUsage:
		return Insertion{Table: "tool_usages", Columns: `interception_id, record_id, created_at, msg_id, tool_call_id,
			item_id, server_url, tool, injected, metadata, invocation_error, input`}
	case insertThought:
		return Insertion{Table: "model_thoughts", Columns: `interception_id, record_id, created_at, metadata, content`}
	default:
		return Insertion{}
	}
}

// width returns how many values are bound for a row.
func (i insertion) width() int { return strings.Count(i.texts().Columns, ",") + 1 }

// text returns the SQL that inserts a number of rows. It differs from standard SQL in two ways, for the sake of
// SQLite's speed. The placeholders have no numbers, since SQLite looks each numbered one up among all others. And with
// OR FAIL, a statement that fails leaves the rows that it has inserted: to undo them, SQLite would first copy each page
// that the statement changes, and the transaction is rolled back anyway.
func (i insertion) text(rows int) string {
	t := i.texts()
	values := "(?" + strings.Repeat(", ?", i.width()-1)
	if t.Started != "" {
		t.Columns += ", started"
		values += ", " + t.Started
	}
	values += ")"
	return "INSERT OR FAIL INTO " + t.Table + " (" + t.Columns + ") VALUES " + values + strings.Repeat(", "+values, rows-1) +
		" ON CONFLICT " + t.Exists
}

// excluded returns the assignments that overwrite all columns but the id with the new values.
func excluded(columns string) string {
	var assignments []string
	for column := range strings.SplitSeq(columns, ",") {
		if column = strings.TrimSpace(column); column != "id" {
			assignments = append(assignments, column+" = excluded."+column)
		}
	}
	return strings.Join(assignments, ", ")
}
