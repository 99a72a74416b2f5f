package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
)

// account is what was recorded of an interception, beside the bytes of its exchanges, of which there is at least one.
type account struct {
	recorded *aibridgedserver.Interception
	rounds   []*kept.Exchange
}

func (a account) last() *kept.Exchange { return a.rounds[len(a.rounds)-1] }

// hasRequest reports whether the client's request is there to its last byte.
func (a account) hasRequest() bool {
	return int64(len(a.rounds[0].Request)) == a.rounds[0].Head.RequestBytes
}

// state says how much can be compared.
func (a account) state() keptState {
	goesOn := func(e *kept.Exchange) bool { return e.End == nil }
	if slices.ContainsFunc(a.rounds, goesOn) || a.answerIsLost() {
		return keptInPart
	}
	return keptWhole
}

// answerIsLost reports whether the gateway was killed before the records of the answer were safe. The end is then one
// that its next life has recorded, which knows of no answer.
func (a account) answerIsLost() bool {
	return a.keptLength() > 0 && a.recorded.ResponseSHA256 == nil && orEmpty(a.recorded.ErrorType) == string(aibridge.ErrorTruncated)
}

// differences returns what is recorded otherwise than the bytes say.
func (a account) differences() []difference {
	recorded, err := factsOf(a.recorded)
	if err != nil {
		return []difference{{Field: "metadata", Problem: err.Error()}}
	}
	differences := a.requestDigest()
	isWhole := a.state() == keptWhole
	limit := a.answerLength()
	derived, err := a.derive(limit)
	if err != nil {
		return append(differences, difference{Field: "kept exchange", Problem: err.Error()})
	}
	if isWhole {
		differences = append(differences, a.responseDigest(limit, derived.Ended)...)
		a.leaveOpen(&derived, recorded)
	} else {
		derived.TokenUsages, derived.ToolUsages, derived.Thoughts = recorded.TokenUsages, recorded.ToolUsages, recorded.Thoughts
		derived.ErrorType, derived.ErrorMessage = recorded.ErrorType, recorded.ErrorMessage
	}
	for _, d := range derived.Diff(recorded) {
		differences = append(differences, difference{Field: d.Field, Recorded: d.Other, Bytes: d.One})
	}
	if n := len(a.recorded.Prompts); n > 1 {
		differences = append(differences, difference{Field: "prompts", Problem: fmt.Sprintf("there are %d", n)})
	}
	return differences
}

// answerLength returns how many bytes of all answers count: those that were recorded. What an upstream sends after the
// event that ends a stream is kept, but not waited for by the records.
func (a account) answerLength() int64 {
	if a.recorded.ResponseBytes == nil {
		return a.keptLength()
	}
	return min(*a.recorded.ResponseBytes, a.keptLength())
}

func (a account) keptLength() (length int64) {
	for _, exchange := range a.rounds {
		length += int64(len(exchange.Response))
	}
	return length
}

// derive returns what the first so many bytes of the answers say.
func (a account) derive(limit int64) (facts rederive.Facts, err error) {
	for i, exchange := range a.rounds {
		response := exchange.Response[:max(0, min(limit, int64(len(exchange.Response))))]
		limit -= int64(len(response))
		round, err := rederive.Derive(exchangeOf(exchange, response))
		if err != nil {
			return rederive.Facts{}, fmt.Errorf("round %d: %w", i, err)
		}
		round.TokenUsages = append(facts.TokenUsages, round.TokenUsages...)
		round.ToolUsages = append(facts.ToolUsages, round.ToolUsages...)
		round.Thoughts = append(facts.Thoughts, round.Thoughts...)
		facts = round
	}
	normalise(&facts)
	return facts, nil
}

// exchangeOf returns an exchange as it was kept, with as much of its answer as counts.
func exchangeOf(e *kept.Exchange, response []byte) rederive.Exchange {
	exchange := rederive.Exchange{
		Format: e.Head.Format, RequestHeader: e.Head.Header, Request: e.Request, Response: response,
	}
	if e.Answer != nil {
		exchange.Status, exchange.ResponseHeader = e.Answer.Status, e.Answer.Header
	}
	if end := e.End; end != nil {
		exchange.Whole = end.Ending == kept.Whole
		exchange.Abandoned = end.Ending == kept.Left
		exchange.ClientLeft = end.Cancelled == kept.CancelledByClient || exchange.Abandoned && end.Cancelled == ""
		exchange.Failure = end.FailureStatus
	}
	return exchange
}

// leaveOpen takes out of derived facts what the bytes cannot tell.
func (a account) leaveOpen(derived *rederive.Facts, recorded rederive.Facts) {
	end, is := a.last().End, aibridge.ErrorType(recorded.ErrorType)
	isCutShort := derived.ErrorType == string(aibridge.ErrorTruncated) || derived.ErrorType == string(aibridge.ErrorClientClosed)
	gatewaysReasons := []aibridge.ErrorType{
		aibridge.ErrorClientClosed, aibridge.ErrorTruncated, aibridge.ErrorServer, aibridge.ErrorOverloaded,
	}
	switch {
	case end.Ending == kept.Left && isCutShort && slices.Contains(gatewaysReasons, is),
		end.Ending == kept.Left && is == aibridge.ErrorClientClosed && derived.ErrorType == "" && !derived.Ended,
		end.Ending == kept.Broken && is == aibridge.ErrorClientClosed && derived.ErrorType != "",
		isCutShort && is == aibridge.ErrorClientClosed:
		derived.ErrorType = recorded.ErrorType
	}
	// A key that an upstream repeats has been replaced by its hint.
	if hint := a.recorded.CredentialHint; hint != "" && strings.Contains(recorded.ErrorMessage, hint) {
		derived.ErrorMessage = ""
	}
}

// requestDigest compares the size and the hash of the client's body.
func (a account) requestDigest() []difference {
	request := a.rounds[0].Request
	sum := sha256.Sum256(request)
	return digestDifferences("request", digest{a.recorded.RequestBytes, a.recorded.RequestSHA256}, digestOf(int64(len(request)), sum[:]))
}

// responseDigest compares the size and the hash of the first so many bytes of the answers. There may be more of them
// only behind the event that ends a stream.
func (a account) responseDigest(limit int64, ended bool) []difference {
	if a.recorded.ResponseSHA256 == nil && a.keptLength() == 0 {
		return nil // Nothing came.
	}
	length := limit
	if !ended {
		length = a.keptLength()
	}
	sum, rest := sha256.New(), length
	for _, exchange := range a.rounds {
		piece := exchange.Response[:min(rest, int64(len(exchange.Response)))]
		sum.Write(piece)
		rest -= int64(len(piece))
	}
	return digestDifferences("response", digest{a.recorded.ResponseBytes, a.recorded.ResponseSHA256}, digestOf(length, sum.Sum(nil)))
}

// digest is the size and the hash of a body as a report has them.
type digest struct {
	bytes  *int64
	sha256 *string
}

func digestOf(bytes int64, sum []byte) digest {
	text := hex.EncodeToString(sum)
	return digest{&bytes, &text}
}

func digestDifferences(body string, recorded, derived digest) (differences []difference) {
	if recorded.bytes == nil || *recorded.bytes != *derived.bytes {
		differences = append(differences, difference{Field: body + "_bytes", Recorded: recorded.bytes, Bytes: derived.bytes})
	}
	if recorded.sha256 == nil || *recorded.sha256 != *derived.sha256 {
		differences = append(differences, difference{Field: body + "_sha256", Recorded: recorded.sha256, Bytes: derived.sha256})
	}
	return differences
}

// factsOf returns what is recorded, in the terms of the second decoder.
func factsOf(i *aibridgedserver.Interception) (rederive.Facts, error) {
	var unreadable error
	metadata := func(text json.RawMessage) map[string]any {
		values := map[string]any{}
		if err := json.Unmarshal(text, &values); err != nil {
			unreadable = fmt.Errorf("recorded metadata is no JSON object: %w", err)
		}
		return values
	}
	facts := rederive.Facts{
		Model: i.Model, Client: i.Client, ClientSessionID: orEmpty(i.ClientSessionID), UserAgent: i.UserAgent,
		CorrelatingToolCallID: orEmpty(i.CorrelatingToolCallID), ErrorType: orEmpty(i.ErrorType), ErrorMessage: orEmpty(i.ErrorMessage),
	}
	for _, p := range i.Prompts {
		facts.Prompt = &rederive.Prompt{Text: p.Prompt, Metadata: metadata(p.Metadata)}
	}
	for _, u := range i.TokenUsages {
		facts.TokenUsages = append(facts.TokenUsages, rederive.TokenUsage{
			MessageID: u.MsgID, Input: u.InputTokens, Output: u.OutputTokens, CacheRead: u.CacheReadInputTokens,
			CacheWrite: u.CacheWriteInputTokens, Metadata: metadata(u.Metadata),
		})
	}
	for _, u := range i.ToolUsages {
		facts.ToolUsages = append(facts.ToolUsages, rederive.ToolUsage{
			MessageID: u.MsgID, CallID: u.ToolCallID, ItemID: u.ItemID, Tool: u.Tool, Input: u.Input, Metadata: metadata(u.Metadata),
		})
	}
	for _, thought := range i.ModelThoughts {
		facts.Thoughts = append(facts.Thoughts, rederive.Thought{Content: thought.Content, Metadata: metadata(thought.Metadata)})
	}
	return facts, unreadable
}

// normalise makes the numbers in metadata what the contract with a control plane has for them.
func normalise(facts *rederive.Facts) {
	var all []map[string]any
	if facts.Prompt != nil {
		all = append(all, facts.Prompt.Metadata)
	}
	for _, u := range facts.TokenUsages {
		all = append(all, u.Metadata)
	}
	for _, u := range facts.ToolUsages {
		all = append(all, u.Metadata)
	}
	for _, thought := range facts.Thoughts {
		all = append(all, thought.Metadata)
	}
	for _, metadata := range all {
		for name, value := range metadata {
			if count, ok := value.(int64); ok {
				metadata[name] = float64(count)
			}
		}
	}
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
