package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
)

// The error types that this package treats differently.
const (
	truncated    = "truncated"
	clientClosed = "client_closed"
	serverError  = "server_error"
	overloaded   = "overloaded"
	unknown      = "unknown"
)

// account is what was recorded of an interception, with the exchanges that were kept of it, of which there is at least
// one.
type account struct {
	recorded Recorded
	rounds   []*kept.Exchange
	unread   rederive.Unread // What no decoder reads, once differences has been called.
}

func (a *account) last() *kept.Exchange { return a.rounds[len(a.rounds)-1] }

// hasRequest reports whether the client's request was kept to its last byte.
func (a *account) hasRequest() bool {
	return int64(len(a.rounds[0].Request)) == a.rounds[0].Head.RequestBytes
}

// isComplete reports whether all that was recorded has been kept. The exchanges of later rounds begin to be kept later.
func (a *account) isComplete() bool {
	if len(a.rounds) == 0 || a.last().End == nil {
		return false
	}
	return a.recorded.Response.Bytes == nil || *a.recorded.Response.Bytes <= a.keptLength()
}

// state says how much was kept.
func (a *account) state() Kept {
	goesOn := func(e *kept.Exchange) bool { return e.End == nil }
	if slices.ContainsFunc(a.rounds, goesOn) || a.answerIsLost() {
		return KeptInPart
	}
	return KeptWhole
}

// answerIsLost reports whether the gateway was killed before the records of the answer were safe. The gateway's next
// start then recorded an end that has no answer.
func (a *account) answerIsLost() bool {
	return a.keptLength() > 0 && a.recorded.Response.Bytes == nil && a.recorded.Facts.ErrorType == truncated
}

// differences returns the recorded fields that differ from the kept bytes.
func (a *account) differences() []Difference {
	if err := a.recorded.Unreadable; err != nil {
		return []Difference{{Field: "metadata", Problem: err.Error()}}
	}
	recorded := a.recorded.Facts
	differences := a.requestDigest()
	isWhole := a.state() == KeptWhole
	limit := a.answerLength()
	derived, err := a.derive(limit)
	a.unread = derived.Unread
	if err != nil {
		return append(differences, Difference{Field: "kept exchange", Problem: err.Error()})
	}
	if isWhole {
		differences = append(differences, a.responseDigest(limit, derived.Ended)...)
		a.leaveOpen(&derived, recorded)
	} else {
		derived.TokenUsages, derived.ToolUsages, derived.Thoughts = recorded.TokenUsages, recorded.ToolUsages, recorded.Thoughts
		derived.ErrorType, derived.ErrorMessage = recorded.ErrorType, recorded.ErrorMessage
	}
	for _, d := range derived.Diff(recorded) {
		differences = append(differences, Difference{Field: d.Field, Recorded: d.Other, Bytes: d.One})
	}
	if n := a.recorded.Prompts; n > 1 {
		differences = append(differences, Difference{Field: "prompts", Problem: fmt.Sprintf("there are %d", n)})
	}
	return differences
}

// answerLength returns how many bytes of all answers are compared: as many as were recorded. Bytes that an upstream
// sends after the event that ends a stream are kept, but the records do not wait for them.
func (a *account) answerLength() int64 {
	if a.recorded.Response.Bytes == nil {
		return a.keptLength()
	}
	return min(*a.recorded.Response.Bytes, a.keptLength())
}

func (a *account) keptLength() (length int64) {
	for _, exchange := range a.rounds {
		length += int64(len(exchange.Response))
	}
	return length
}

// derive returns the facts in the first limit bytes of the answers.
func (a *account) derive(limit int64) (rederive.Facts, error) {
	exchanges := make([]rederive.Exchange, 0, len(a.rounds))
	for _, exchange := range a.rounds {
		response := exchange.Response[:max(0, min(limit, int64(len(exchange.Response))))]
		limit -= int64(len(response))
		exchanges = append(exchanges, exchangeOf(exchange, response))
	}
	facts, err := rederive.DeriveRounds(exchanges...)
	normalise(&facts)
	return facts, err
}

// exchangeOf returns a kept exchange with the part of its answer that is compared.
func exchangeOf(e *kept.Exchange, response []byte) rederive.Exchange {
	exchange := rederive.Exchange{
		Format: e.Head.Format, Path: e.Head.Path, RequestHeader: e.Head.Header, Request: e.Request, Response: response,
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

// leaveOpen removes derived facts that the bytes cannot decide.
func (a *account) leaveOpen(derived *rederive.Facts, recorded rederive.Facts) {
	end, is := a.last().End, recorded.ErrorType
	isCutShort := derived.ErrorType == truncated || derived.ErrorType == clientClosed
	gatewaysReasons := []string{clientClosed, truncated, serverError, overloaded}
	switch {
	case end.Ending == kept.Left && isCutShort && slices.Contains(gatewaysReasons, is),
		end.Ending == kept.Left && is == clientClosed && derived.ErrorType == "" && !derived.Ended,
		end.Ending == kept.Broken && is == clientClosed && derived.ErrorType != "",
		isCutShort && is == clientClosed:
		derived.ErrorType = recorded.ErrorType
	}
	leaveTools(derived, recorded)
	a.leaveRedacted(derived, recorded)
}

// leaveTools removes what the bytes cannot tell of the gateway's tools: whether it had any for a request after which the
// model did not go on, and why an answer ended while it ran them.
func leaveTools(derived *rederive.Facts, recorded rederive.Facts) {
	isInjected := func(usage rederive.ToolUsage) bool { return usage.Injected }
	if !derived.WentOn && !slices.ContainsFunc(recorded.ToolUsages, isInjected) {
		for i := range derived.ToolUsages {
			derived.ToolUsages[i].Injected = false
		}
		derived.TokenUsages = slices.DeleteFunc(derived.TokenUsages, func(usage rederive.TokenUsage) bool { return usage.Metadata[rederive.Untold] == true })
		return
	}
	if !derived.Runs {
		return
	}
	if !derived.Mixed {
		derived.ErrorType = truncated // The answer should have gone on in another round.
	}
	// Unknown is the type of a limit of rounds or of time.
	if slices.Contains([]string{clientClosed, truncated, serverError, overloaded, unknown}, recorded.ErrorType) {
		derived.ErrorType = recorded.ErrorType
	}
}

// leaveRedacted removes the derived texts in which the gateway has redacted a credential.
func (a *account) leaveRedacted(derived *rederive.Facts, recorded rederive.Facts) {
	// Of a key that an upstream repeated, as a whole or in part, an end of the hint is left.
	for end := range strings.SplitSeq(a.recorded.CredentialHint, "...") {
		if end != "" && (strings.Contains(recorded.ErrorMessage, end+"...") || strings.Contains(recorded.ErrorMessage, "..."+end)) {
			derived.ErrorMessage = ""
		}
	}
	if strings.Contains(recorded.ErrorMessage, "[redacted]") {
		derived.ErrorMessage = ""
	}
	leaveSent(derived, recorded)
	for name, in := range map[*string]string{
		&derived.Model: recorded.Model, &derived.ClientSessionID: recorded.ClientSessionID,
		&derived.CorrelatingToolCallID: recorded.CorrelatingToolCallID,
	} {
		if strings.Contains(in, "...") || strings.Contains(in, "[redacted]") {
			*name = in // It may have been a token, of which the hint is left.
		}
	}
	if derived.Prompt != nil && recorded.Prompt != nil && isRedacted(recorded.Prompt.Metadata) {
		derived.Prompt = recorded.Prompt
	}
	if len(derived.TokenUsages) == len(recorded.TokenUsages) {
		for i, usage := range recorded.TokenUsages {
			if isRedacted(usage.Metadata) {
				derived.TokenUsages[i].Metadata["raw"] = usage.Metadata["raw"]
				derived.TokenUsages[i].Metadata["credential_redacted"] = true
			}
		}
	}
	if len(derived.ToolUsages) == len(recorded.ToolUsages) {
		for i, usage := range recorded.ToolUsages {
			if isRedacted(usage.Metadata) {
				derived.ToolUsages[i].Input, derived.ToolUsages[i].Metadata = usage.Input, usage.Metadata
			}
		}
	}
	if len(derived.Thoughts) == len(recorded.Thoughts) {
		for i, thought := range recorded.Thoughts {
			if isRedacted(thought.Metadata) {
				derived.Thoughts[i] = thought
			}
		}
	}
}

// leaveSent removes what the kept bytes cannot tell of how a request went upstream: under which name of its model, and whether a
// model that knows one time of caching was asked for another one.
func leaveSent(derived *rederive.Facts, recorded rederive.Facts) {
	if len(derived.TokenUsages) != len(recorded.TokenUsages) {
		return
	}
	for i, usage := range recorded.TokenUsages {
		for _, name := range [...]string{"sent_model", "cache_ttl"} {
			if value, ok := usage.Metadata[name]; ok {
				derived.TokenUsages[i].Metadata[name] = value
			}
		}
	}
}

// isRedacted reports whether a record's text has the hint of a credential in the place of the credential.
func isRedacted(metadata map[string]any) bool { return metadata["credential_redacted"] == true }

// requestDigest compares the size and the hash of the client's body.
func (a *account) requestDigest() []Difference {
	request := a.rounds[0].Request
	sum := sha256.Sum256(request)
	return a.bodyDifferences("request", a.recorded.Request, bodyOf(int64(len(request)), sum[:]))
}

// responseDigest compares the size and the hash of the first limit bytes of the answers. Only after the event that ends
// a stream may there be more bytes.
func (a *account) responseDigest(limit int64, ended bool) []Difference {
	if a.recorded.Response.Bytes == nil && a.keptLength() == 0 {
		return nil // There was no answer.
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
	return a.bodyDifferences("response", a.recorded.Response, bodyOf(length, sum.Sum(nil)))
}

func bodyOf(bytes int64, sum []byte) Body {
	text := hex.EncodeToString(sum)
	return Body{&bytes, &text}
}

// bodyDifferences compares a body's size. It compares the hash too, if the gateway was asked for hashes and recorded
// one for either body.
func (a *account) bodyDifferences(body string, recorded, derived Body) (differences []Difference) {
	if recorded.Bytes == nil || *recorded.Bytes != *derived.Bytes {
		differences = append(differences, Difference{Field: body + "_bytes", Recorded: recorded.Bytes, Bytes: derived.Bytes})
	}
	if isHashed := a.recorded.Request.SHA256 != nil || a.recorded.Response.SHA256 != nil; !isHashed {
		return differences
	}
	if recorded.SHA256 == nil || *recorded.SHA256 != *derived.SHA256 {
		differences = append(differences, Difference{Field: body + "_sha256", Recorded: recorded.SHA256, Bytes: derived.SHA256})
	}
	return differences
}

// normalise converts the numbers in metadata to the type that they have in the contract with a control plane.
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
