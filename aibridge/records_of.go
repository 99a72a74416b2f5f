package aibridge

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/wire"
)

const (
	// longestErrorMessage is how many bytes a record keeps of an error message.
	longestErrorMessage = 1024
	// longestName is how many bytes a record keeps of a name that a client or an upstream chose: of a model, a session,
	// an agent, a tool or an id.
	longestName = 1024
)

// naming makes texts that name something fit for a record. The zero naming is ready.
type naming struct {
	cut bool // A name was too long.
}

// name returns a text as a record keeps it. Most names are returned unchanged.
func (n *naming) name(text string) string {
	text = storable.Text(text)
	kept := storable.Cut(text, longestName)
	n.cut = n.cut || len(kept) < len(text)
	return kept
}

// flag returns metadata, with a mark if a name was cut. It does not change the metadata that it is given.
func (n *naming) flag(metadata Metadata) Metadata {
	if !n.cut {
		return metadata
	}
	flagged := Metadata{"truncated": true}
	maps.Copy(flagged, metadata)
	return flagged
}

// start returns the record of the interception's start.
func (i *interception) start(of beginning) *InterceptionStart {
	var names naming
	start := &InterceptionStart{
		ID:                    i.id,
		InitiatorID:           of.caller.Actor.ID,
		APIKeyID:              i.bridge.options.APIKeyID,
		Provider:              i.provider.kind,
		ProviderName:          i.provider.name,
		Model:                 names.name(i.inspected.Model),
		Metadata:              of.caller.Actor.Metadata,
		StartedAt:             i.started,
		Client:                of.client.Name,
		ClientSessionID:       names.name(of.session),
		UserAgent:             names.name(of.userAgent),
		CorrelatingToolCallID: names.name(i.inspected.ToolResultID),
		CredentialKind:        i.credential.kind,
		CredentialHint:        storable.Text(i.credential.hint()),
		RequestBytes:          of.body.bytes,
		RequestSHA256:         of.body.sha256(),
	}
	start.Metadata = names.flag(withAgent(start.Metadata, of.agent, &names))
	return start
}

// withAgent returns an actor's metadata with what a client says of its sub-agent. What the host says of the actor counts
// more than what a client says. withAgent does not change the metadata that it is given.
func withAgent(actor Metadata, agent map[string]string, names *naming) Metadata {
	if len(agent) == 0 {
		return actor
	}
	metadata := make(Metadata, len(actor)+len(agent))
	for name, text := range agent {
		metadata[name] = names.name(text)
	}
	maps.Copy(metadata, actor)
	return metadata
}

// prompt returns the record of what a person typed, or nil if nobody typed anything. The text is kept whole.
func (i *interception) prompt(client *client) *PromptUsage {
	typed := client.typed(i.inspected)
	if len(typed) == 0 {
		return nil
	}
	text := strings.Join(typed, "\n")
	metadata := Metadata{}
	if i.inspected.BesideToolResults {
		metadata["beside_tool_results"] = true
	}
	if i.inspected.Generated || client.generates(i.inspected, text) {
		metadata["client_generated"] = true
	}
	prompt := storable.Text(text)
	changed := prompt != text
	prompt, hid := i.secrets.redactWritten(prompt)
	return &PromptUsage{
		RecordID:       newRecordID(),
		InterceptionID: i.id,
		Prompt:         prompt,
		Metadata:       withoutCredential(flagged(metadata, changed), hid),
		CreatedAt:      i.started,
	}
}

// rest returns all records but the start and the prompt: those of each round, and the end.
func (i *interception) rest(c *conclusion) []Record {
	var records []Record
	end := &InterceptionEnd{
		RecordID:       newRecordID(),
		InterceptionID: i.id,
		EndedAt:        i.started.Add(c.took),
		CredentialHint: storable.Text(i.credential.hint()),
		ErrorType:      c.outcome.errorType,
		ErrorMessage:   c.outcome.message,
		ResponseBytes:  i.received.bytes,
		ResponseSHA256: i.received.sha256(),
		FirstByte:      i.firstByte,
	}
	for _, round := range i.rounds {
		records = append(records, i.roundRecords(round)...)
		end.BackgroundID = i.background(round)
		end.Unread += int64(round.unreadEvents())
	}
	if i.inspected.Model == "" {
		var names naming
		end.Model = names.name(i.model())
	}
	return append(records, end)
}

// roundRecords returns the records of one round's answer that are not recorded yet: its usage, then its tool calls in their
// order, then its thoughts in theirs. An answer that the upstream goes on with has none yet: they come when its final state is
// read.
func (i *interception) roundRecords(round *round) []Record {
	return append(i.usageRecord(round), i.partRecords(round)...)
}

// usageRecord returns the record of what a round's answer cost, if there is one. Of several rounds there is one for each that ended
// well: one that told nothing has cost something, too.
func (i *interception) usageRecord(round *round) []Record {
	seen, background := round.said(), i.background(round)
	isUntold := seen.Usage == nil
	if round.metered || i.goesOn(round) || isUntold && !(i.pending && round.endedWell()) {
		return nil
	}
	if isUntold {
		seen.Usage = &wire.Usage{}
	}
	var names naming
	metadata := i.readLater(usageMetadata(seen, round, &names, i.secrets))
	if isUntold {
		metadata["untold"] = true
	}
	i.noteSent(metadata, seen.Usage, &names)
	id := names.name(seen.ID)
	usage := &TokenUsage{
		RecordID:              recordID(background, "token_usage", 0),
		InterceptionID:        i.id,
		BackgroundID:          background,
		MessageID:             id,
		InputTokens:           seen.Usage.Input,
		OutputTokens:          seen.Usage.Output,
		CacheReadInputTokens:  seen.Usage.CacheRead,
		CacheWriteInputTokens: seen.Usage.CacheWrite,
		Metadata:              names.flag(metadata),
		CreatedAt:             i.now(),
	}
	if i.reserved != nil && !isUntold {
		i.measured = append(i.measured, usage)
	}
	return []Record{usage}
}

// noteSent adds what the answer does not tell of how its request went upstream, and what decides its price.
func (i *interception) noteSent(metadata Metadata, usage *wire.Usage, names *naming) {
	if model := i.rewritten.Model; model != "" && model != i.inspected.Model {
		metadata["sent_model"] = names.name(model)
	}
	_, five := usage.Extra["cache_ephemeral_5m_input"]
	_, hour := usage.Extra["cache_ephemeral_1h_input"]
	if ttl := i.inspected.CacheTTL; ttl != "" && !i.rewritten.ShortCache && usage.CacheWrite > 0 && !five && !hour {
		metadata["cache_ttl"] = ttl
	}
}

// now returns the time of a record, by the clock of the interception's start.
func (i *interception) now() time.Time { return i.started.Add(time.Since(i.started)) }

// recordID returns the id of a record: of a background response's, one that every gateway computes.
func recordID(background uuid.UUID, kind string, n int) uuid.UUID {
	if background == uuid.Nil {
		return newRecordID()
	}
	return backgroundRecordID(background, kind, n)
}

// partRecords returns the records of a round's calls and thoughts.
func (i *interception) partRecords(round *round) []Record {
	seen, background := round.said(), i.background(round)
	if round.parted || i.goesOn(round) {
		return nil
	}
	now := i.now()
	records := make([]Record, 0, len(seen.ToolCalls)+len(seen.Thoughts))
	for n, call := range seen.ToolCalls {
		var names naming
		input, changed := toolInput(call.Input)
		input, hid := i.secrets.redactWritten(input)
		usage := &ToolUsage{
			RecordID:       recordID(background, "tool_usage", n),
			InterceptionID: i.id,
			BackgroundID:   background,
			MessageID:      names.name(seen.ID),
			ToolCallID:     names.name(call.ID),
			ItemID:         names.name(call.ItemID),
			Tool:           names.name(call.Name),
			Input:          input,
			CreatedAt:      now,
		}
		i.noteInjected(round, usage, call)
		usage.Metadata = i.readLater(names.flag(withoutCredential(flagged(origin(call, &names), changed), hid)))
		records = append(records, usage)
	}
	for n, thought := range seen.Thoughts {
		content := storable.Text(thought.Content)
		metadata := flagged(Metadata{"source": thought.Source}, content != thought.Content)
		content, hid := i.secrets.redactWritten(content)
		metadata = i.readLater(withoutCredential(metadata, hid))
		if thought.Redacted {
			metadata["redacted"] = true
		}
		records = append(records, &ModelThought{
			RecordID: recordID(background, "model_thought", n), InterceptionID: i.id, BackgroundID: background, Content: content,
			Metadata: metadata, CreatedAt: now,
		})
	}
	return records
}

// noteInjected notes in the record of a call whether the tool is the gateway's, where it is, and how the call failed.
func (i *interception) noteInjected(round *round, usage *ToolUsage, call wire.ToolCall) {
	if i.toolOf == nil || len(call.Origin) > 0 { // The tool of another server or namespace may have the same name.
		return
	}
	url, ours := i.toolOf(call.Name)
	if !ours {
		return
	}
	usage.Injected, usage.ServerURL = true, storable.Text(url)
	usage.InvocationError = "not run: the answer did not go on"
	for n, run := range round.run {
		if run.call.ID == call.ID && run.call.Name == call.Name {
			usage.InvocationError = storable.Cut(storable.Text(i.secrets.redact(run.err)), longestErrorMessage)
			round.run = slices.Delete(round.run, n, n+1) // The next call with that id is another one.
			return
		}
	}
}

// origin returns where the tool of a call comes from, or nil.
func origin(call wire.ToolCall, names *naming) Metadata {
	if len(call.Origin) == 0 {
		return nil
	}
	metadata := make(Metadata, len(call.Origin))
	for name, text := range call.Origin {
		metadata[name] = names.name(text)
	}
	return metadata
}

// background returns the id of the background response that a round's answer is, or the zero UUID.
func (i *interception) background(round *round) uuid.UUID {
	seen := round.said()
	if seen.ID == "" || !i.inspected.Background && !seen.Background {
		return uuid.Nil
	}
	return backgroundID(i.provider.name, seen.ID)
}

// goesOn reports whether the upstream goes on with a round's answer in the background.
func (i *interception) goesOn(round *round) bool {
	seen := round.said()
	return (i.inspected.Background || seen.Background) && (seen.Unfinished || !seen.Terminal)
}

// readLater flags what another request than the one that began the answer has read: the bytes that were kept of the
// interception do not have it.
func (i *interception) readLater(metadata Metadata) Metadata {
	if !i.later {
		return metadata
	}
	if metadata == nil {
		metadata = Metadata{}
	}
	metadata["read_later"] = true
	return metadata
}

// usageMetadata returns what a usage says that has no field of its own.
func usageMetadata(seen wire.Answer, round *round, names *naming, hide secrets) Metadata {
	metadata := make(Metadata, len(seen.Usage.Extra)+len(seen.Usage.Labels)+3)
	for kind, count := range seen.Usage.Extra {
		metadata[kind] = count
	}
	for label, text := range seen.Usage.Labels {
		metadata[label] = names.name(text)
	}
	if seen.Usage.RawOmitted {
		metadata["raw_omitted"] = true
	} else if raw := storable.Text(seen.Usage.Raw); raw != "" {
		flagged(metadata, raw != seen.Usage.Raw)
		raw, hid := hide.redactWritten(raw)
		metadata["raw"] = raw
		withoutCredential(metadata, hid)
	}
	if seen.Model != "" {
		metadata["model"] = names.name(seen.Model)
	}
	if seen.Usage.Inconsistent {
		metadata["inconsistent"] = true
	}
	if n := round.unreadEvents(); n > 0 {
		metadata["unread"] = int64(n)
	}
	broken := !round.ended || round.err != nil
	if broken && !seen.Terminal || seen.Usage.Preliminary {
		metadata["partial"] = true
	}
	return metadata
}

// toolInput returns the model's arguments as the JSON that a record holds: the model's own bytes or, if these are no
// JSON, a JSON string that holds them. It also reports whether the bytes had to be changed to be storable.
func toolInput(raw string) (string, bool) {
	input := storable.Text(raw)
	if json.Valid([]byte(input)) {
		return input, input != raw
	}
	quoted, err := json.Marshal(input)
	if err != nil {
		return `""`, true // A valid string always marshals.
	}
	return string(quoted), input != raw
}

// flagged notes that a text was changed to be storable.
func flagged(metadata Metadata, changed bool) Metadata {
	if !changed {
		return metadata
	}
	if metadata == nil {
		metadata = Metadata{}
	}
	metadata["sanitized"] = true
	return metadata
}

// withoutCredential notes that a credential of the request was in a text, which has its hint instead.
func withoutCredential(metadata Metadata, hid bool) Metadata {
	if !hid {
		return metadata
	}
	if metadata == nil {
		metadata = Metadata{}
	}
	metadata["credential_redacted"] = true
	return metadata
}

// newRecordID returns a new id of our own, never one of a provider's.
func newRecordID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.New() // Both read the same source, which on Linux does not fail.
	}
	return id
}
