package aibridgedserver

import "strings"

// An insertion is one of the statements with which records are stored. Each does nothing where its record is there
// already, and changes as many rows as there are records that were not.
type insertion int

const (
	insertWhole   insertion = iota // The start and the end of an interception.
	insertStart                    // A start, also of an interception of which other records came first.
	insertEnd                      // An end, whether the interception has started or not.
	insertMention                  // An interception of which nothing is known but that something belongs to it.
	insertTokenUsage
	insertPrompt
	insertToolUsage
	insertThought

	insertions // How many there are.
)

// rowCounts are how many different numbers of rows an insertion is prepared for.
const rowCounts = 3

// rowsPerStatement returns how many rows one statement inserts, by the number of its preparation, the largest first. A
// statement costs as much as a few rows; to prepare one for many more saves nothing.
func rowsPerStatement() [rowCounts]int { return [...]int{16, 4, 1} }

const (
	startColumns = `id, initiator_id, api_key_id, provider, provider_name, model, client, client_session_id, user_agent,
		correlating_tool_call_id, credential_kind, credential_hint, agent_firewall_session_id,
		agent_firewall_sequence_number, metadata, started_at, request_bytes, request_sha256`
	endColumns = `ended_at, end_credential_hint, error_type, error_message, response_bytes, response_sha256`
)

// insertionText is what an insertion consists of.
type insertionText struct {
	table   string
	columns string // In the order of the values that are bound.
	started string // The value of the column of that name, which is not bound. Empty: the table has none.
	exists  string // What happens to a row that is there already. Empty: nothing.
}

// texts returns what insertions consist of. An interception's row may have been made by an end, or by what belongs to
// it; the start fills it in.
func (i insertion) texts() insertionText {
	switch i {
	case insertWhole:
		return insertionText{table: "interceptions", columns: startColumns + ", " + endColumns, started: "1"}
	case insertStart:
		return insertionText{
			table: "interceptions", columns: startColumns, started: "1",
			exists: `(id) DO UPDATE SET started = 1, ` + excluded(startColumns) + ` WHERE NOT interceptions.started`,
		}
	case insertEnd:
		return insertionText{
			table: "interceptions", columns: "id, started_at, " + endColumns, started: "0",
			exists: `(id) DO UPDATE SET ` + excluded(endColumns) + ` WHERE interceptions.ended_at IS NULL`,
		}
	case insertMention:
		return insertionText{table: "interceptions", columns: "id, started_at", started: "0"}
	case insertTokenUsage:
		return insertionText{table: "token_usages", columns: `interception_id, record_id, created_at, msg_id, input_tokens,
			output_tokens, cache_read_input_tokens, cache_write_input_tokens, metadata`}
	case insertPrompt:
		return insertionText{table: "prompt_usages", columns: `interception_id, record_id, created_at, msg_id, metadata,
			prompt`}
	case insertToolUsage:
		return insertionText{table: "tool_usages", columns: `interception_id, record_id, created_at, msg_id, tool_call_id,
			item_id, server_url, tool, injected, metadata, invocation_error, input`}
	case insertThought:
		return insertionText{table: "model_thoughts", columns: `interception_id, record_id, created_at, metadata, content`}
	default:
		return insertionText{}
	}
}

// width is how many values make a row.
func (i insertion) width() int { return strings.Count(i.texts().columns, ",") + 1 }

// text returns the SQL that inserts a number of rows. Two things in it are SQLite's. Its placeholders have no numbers,
// since SQLite looks each numbered one up among all others. And it fails half-way, where it fails, since a statement that
// is undone by itself copies each page that it changes first; the transaction is rolled back anyway.
func (i insertion) text(rows int) string {
	t := i.texts()
	values := "(?" + strings.Repeat(", ?", i.width()-1)
	if t.started != "" {
		t.columns += ", started"
		values += ", " + t.started
	}
	values += ")"
	if t.exists == "" {
		t.exists = "DO NOTHING"
	}
	return "INSERT OR FAIL INTO " + t.table + " (" + t.columns + ") VALUES " + values + strings.Repeat(", "+values, rows-1) +
		" ON CONFLICT " + t.exists
}

// excluded returns the assignments that take over the columns but for the id.
func excluded(columns string) string {
	var assignments []string
	for column := range strings.SplitSeq(columns, ",") {
		if column = strings.TrimSpace(column); column != "id" {
			assignments = append(assignments, column+" = excluded."+column)
		}
	}
	return strings.Join(assignments, ", ")
}
