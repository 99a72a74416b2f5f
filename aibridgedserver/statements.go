package aibridgedserver

// A statement is one of the texts with which records are stored. Each serves SQLite and PostgreSQL alike, and each does
// nothing where the record is there already.
type statement int

const (
	insertInterception statement = iota
	insertEnd
	insertTokenUsage
	insertPrompt
	insertPromptText
	insertToolUsage
	insertToolInput
	insertThought
	insertThoughtText

	statements // How many there are.
)

// text returns the statement's SQL. A long text finds its record by the record's id, since only the engine knows the
// seq that the record has been given.
func (s statement) text() string {
	switch s {
	case insertInterception:
		return `INSERT INTO interceptions (id, initiator_id, api_key_id, provider, provider_name, model, client,
			client_session_id, user_agent, correlating_tool_call_id, credential_kind, credential_hint,
			agent_firewall_session_id, agent_firewall_sequence_number, metadata, started_at, request_bytes,
			request_sha256)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
			ON CONFLICT DO NOTHING`
	case insertEnd:
		return `INSERT INTO interception_ends (interception_id, ended_at, credential_hint, error_type, error_message,
			response_bytes, response_sha256)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`
	case insertTokenUsage:
		return `INSERT INTO token_usages (record_id, interception_id, msg_id, input_tokens, output_tokens,
			cache_read_input_tokens, cache_write_input_tokens, metadata, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`
	case insertPrompt:
		return `INSERT INTO prompt_usages (record_id, interception_id, msg_id, metadata, created_at)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	case insertPromptText:
		return `INSERT INTO prompt_texts (seq, prompt)
			SELECT seq, $2 FROM prompt_usages WHERE record_id = $1 ON CONFLICT DO NOTHING`
	case insertToolUsage:
		return `INSERT INTO tool_usages (record_id, interception_id, msg_id, tool_call_id, item_id, server_url, tool,
			injected, invocation_error, metadata, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`
	case insertToolInput:
		return `INSERT INTO tool_inputs (seq, input)
			SELECT seq, $2 FROM tool_usages WHERE record_id = $1 ON CONFLICT DO NOTHING`
	case insertThought:
		return `INSERT INTO model_thoughts (record_id, interception_id, metadata, created_at)
			VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	case insertThoughtText:
		return `INSERT INTO thought_texts (seq, content)
			SELECT seq, $2 FROM model_thoughts WHERE record_id = $1 ON CONFLICT DO NOTHING`
	default:
		return ""
	}
}
