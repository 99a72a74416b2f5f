package aibridgedserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// storedTable is a table as an export has it: what must be moved from one database to another.
type storedTable struct {
	name    string
	columns []storedColumn
	keys    int    // How many of the first columns are the key, by which rows are in order.
	exists  string // What an import does with a row that already exists, as it is written behind ON CONFLICT.
	records bool   // Its rows are of interceptions, whose ids are in the first column.
	// configuration says that the table has what commands change and remove. An import stores its rows all at once, at its end,
	// and exists is not used.
	configuration bool
	// newer reports whether a row of an export is a later state of one that is here. Nil: nothing says when they changed.
	newer func(theirs, ours []any) bool
}

type storedColumn struct {
	name string
	kind columnKind
}

// columnKind is how a column's values are written in an export, and how they are bound.
type columnKind int

const (
	idKind     columnKind = iota // A UUID, bound as its bytes.
	idTextKind                   // A UUID, bound as text.
	timeKind
	numberKind
	truthKind
	textKind
	bytesKind
	jsonKind
)

// storedTables returns the tables of an export, in its order: what a row refers to comes before it. Left out are
// prices, since each gateway stores its own at its start, and turns that gateways keep for each other for a while: see
// [Server.ExportTurns].
// What is derived from the records is derived again.
func storedTables() []storedTable {
	child := func(name string, more ...storedColumn) storedTable {
		return storedTable{name: name, keys: 2, records: true, exists: "DO NOTHING", columns: append([]storedColumn{
			{"interception_id", idKind}, {"record_id", idKind}, {"created_at", timeKind}, {"metadata", jsonKind},
		}, more...)}
	}
	return []storedTable{
		{
			name: "users", keys: 1, exists: "(id) DO NOTHING",
			columns: []storedColumn{{"id", idTextKind}, {"username", textKind}, {"created_at", timeKind}},
		},
		{
			name: "api_keys", keys: 1, exists: "(id) DO UPDATE SET revoked_at = excluded.revoked_at WHERE api_keys.revoked_at IS NULL",
			columns: []storedColumn{
				{"id", textKind}, {"user_id", idTextKind}, {"secret_sha256", bytesKind}, {"created_at", timeKind}, {"expires_at", timeKind},
				{"revoked_at", timeKind}, {"admin", truthKind},
			},
		},
		{
			name: "join_tokens", keys: 1, exists: "(id) DO UPDATE SET revoked_at = excluded.revoked_at WHERE join_tokens.revoked_at IS NULL",
			columns: []storedColumn{
				{"id", textKind}, {"name", textKind}, {"secret_sha256", bytesKind}, {"created_at", timeKind}, {"revoked_at", timeKind},
			},
		},
		{
			name: "user_groups", keys: 3, configuration: true,
			newer:   func(theirs, ours []any) bool { return ours[3] == nil }, // It has ended.
			columns: []storedColumn{{"user_id", idTextKind}, {"name", textKind}, {"from_at", timeKind}, {"until_at", timeKind}},
		},
		{
			name: "budgets", keys: 2, configuration: true, newer: later(4),
			columns: []storedColumn{{"kind", textKind}, {"subject", textKind}, {"period", textKind}, {"amount", numberKind}, {"changed_at", timeKind}},
		},
		{
			name: "access_log", keys: 1, exists: "DO NOTHING",
			columns: []storedColumn{
				{"seq", numberKind}, {"at", timeKind}, {"viewer_id", textKind}, {"api_key_id", textKind}, {"user_id", textKind}, {"kind", textKind},
				{"subject", textKind},
			},
		},
		{
			name: "kept_secrets", keys: 1, configuration: true,
			columns: []storedColumn{{"id", textKind}, {"owner", textKind}, {"sealed", textKind}},
		},
		{
			name: "providers", keys: 1, configuration: true, newer: later(4),
			columns: []storedColumn{
				{"name", textKind}, {"type", textKind}, {"base_url", textKind}, {"disabled", truthKind}, {"updated_at", timeKind}, {"settings", textKind},
				{"seed", textKind},
			},
		},
		{
			name: "mcp_servers", keys: 1, configuration: true,
			columns: []storedColumn{
				{"id", textKind}, {"url", textKind}, {"tool_allow_regex", textKind}, {"tool_deny_regex", textKind}, {"enabled", truthKind},
				{"token_from", textKind}, {"everyone", truthKind}, {"configured", truthKind},
				{"seed", textKind},
			},
		},
		{
			name: "mcp_server_users", keys: 2, configuration: true,
			columns: []storedColumn{{"mcp_server_id", textKind}, {"username", textKind}},
		},
		{
			name: "mcp_access_tokens", keys: 2, configuration: true, newer: later(3),
			columns: []storedColumn{{"user_id", idTextKind}, {"mcp_server_id", textKind}, {"access_token", textKind}, {"set_at", timeKind}},
		},
		storedInterceptions(),
		child("token_usages", storedColumn{"msg_id", textKind}, storedColumn{"input_tokens", numberKind}, storedColumn{"output_tokens", numberKind},
			storedColumn{"cache_read_input_tokens", numberKind}, storedColumn{"cache_write_input_tokens", numberKind}),
		child("prompt_usages", storedColumn{"msg_id", textKind}, storedColumn{"prompt", textKind}),
		child("tool_usages", storedColumn{"msg_id", textKind}, storedColumn{"tool_call_id", textKind}, storedColumn{"item_id", textKind},
			storedColumn{"server_url", textKind}, storedColumn{"tool", textKind}, storedColumn{"injected", truthKind},
			storedColumn{"invocation_error", textKind}, storedColumn{"input", textKind}),
		child("model_thoughts", storedColumn{"content", textKind}),
	}
}

// later compares rows by a column with the time at which they were changed.
func later(column int) func(theirs, ours []any) bool {
	return func(theirs, ours []any) bool {
		their, _ := theirs[column].(int64)
		our, _ := ours[column].(int64)
		return their > our
	}
}

// storedInterceptions is the table of interceptions. An import completes one that had not started, or not ended, before.
func storedInterceptions() storedTable {
	t := storedTable{name: "interceptions", keys: 1, records: true, columns: []storedColumn{
		{"id", idKind}, {"started", truthKind}, {"started_at", timeKind}, {"initiator_id", idKind}, {"api_key_id", textKind},
		{"provider", textKind}, {"provider_name", textKind}, {"model", textKind}, {"client", textKind}, {"client_session_id", textKind},
		{"user_agent", textKind}, {"correlating_tool_call_id", textKind}, {"credential_kind", textKind}, {"credential_hint", textKind},
		{"agent_firewall_session_id", textKind}, {"agent_firewall_sequence_number", numberKind}, {"request_bytes", numberKind},
		{"request_sha256", bytesKind}, {"metadata", jsonKind}, {"ended_at", timeKind}, {"end_credential_hint", textKind},
		{"response_bytes", numberKind}, {"response_sha256", bytesKind}, {"error_type", textKind}, {"error_message", textKind},
		{"answer_model", textKind}, {"background_id", idKind}, {"unread", numberKind}, {"first_byte", numberKind},
	}}
	t.exists = `(id) DO UPDATE SET ` + excluded(t.columnList()) + ` WHERE excluded.started AND NOT interceptions.started
		OR excluded.ended_at IS NOT NULL AND interceptions.ended_at IS NULL`
	return t
}

// columnList returns the columns, separated by commas.
func (t storedTable) columnList() string { return join(t.columns) }

// keyList returns the columns of the key, separated by commas.
func (t storedTable) keyList() string { return join(t.columns[:t.keys]) }

func join(columns []storedColumn) (list string) {
	for i, column := range columns {
		if i > 0 {
			list += ", "
		}
		list += column.name
	}
	return list
}

// write returns a value that an engine returned as the JSON of an export, the same for every engine.
func (k columnKind) write(value any) ([]byte, error) {
	if value == nil {
		return []byte("null"), nil
	}
	number, isNumber := value.(int64)
	switch k {
	case idKind, idTextKind:
		var id uuid.UUID
		if err := id.Scan(value); err != nil {
			return nil, err
		}
		return marshal(id.String())
	case timeKind:
		if isNumber {
			return marshal(time.UnixMicro(number).UTC().Format(exportedTime))
		}
	case numberKind:
		if isNumber {
			return marshal(number)
		}
	case truthKind:
		truth, ok := value.(bool)
		return marshal(ok && truth || isNumber && number != 0)
	case textKind:
		return writeText(asText(value))
	case bytesKind:
		if value, ok := value.([]byte); ok {
			return marshal(value)
		}
	case jsonKind:
		return []byte(asText(value)), nil
	}
	return nil, fmt.Errorf("cannot export a %T", value)
}

// exportedTime is the form of times in an export.
const exportedTime = "2006-01-02T15:04:05.000000Z"

// oddText is the form of a text in an export that is not UTF-8.
type oddText struct {
	Base64 []byte `json:"base64"`
}

func writeText(text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return marshal(oddText{[]byte(text)})
	}
	return marshal(text)
}

func asText(value any) string {
	if value, ok := value.([]byte); ok {
		return string(value)
	}
	text, _ := value.(string)
	return text
}

// read returns the value to bind for the JSON of an export.
func (k columnKind) read(text json.RawMessage) (any, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	var s string
	switch k {
	case idKind, idTextKind, timeKind, bytesKind:
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, err
		}
	}
	switch k {
	case idKind, idTextKind:
		id, err := uuid.Parse(s)
		if err != nil || k == idTextKind {
			return id.String(), err
		}
		return id[:], nil
	case timeKind:
		at, err := time.Parse(exportedTime, s)
		return at.UnixMicro(), err
	case bytesKind:
		return base64.StdEncoding.DecodeString(s)
	case numberKind:
		var number int64
		err := json.Unmarshal(text, &number)
		return number, err
	case truthKind:
		var truth bool
		err := json.Unmarshal(text, &truth)
		return truth, err
	case jsonKind:
		return string(text), nil
	default:
		return readText(text)
	}
}

func readText(text json.RawMessage) (string, error) {
	if text[0] == '{' {
		var odd oddText
		err := json.Unmarshal(text, &odd)
		return string(odd.Base64), err
	}
	var s string
	err := json.Unmarshal(text, &s)
	return s, err
}
