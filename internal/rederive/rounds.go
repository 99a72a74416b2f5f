package rederive

import "fmt"

// Untold is the member of a usage's metadata that says that the answer told none.
const Untold = "untold"

// DeriveRounds returns the facts of a request for which a gateway has asked its upstream several times, each time of the
// rounds with the same client's request: since the model called tools of the gateway, or since the upstream refused to be
// asked for its usage. Of each round there is what its answer says; how the request ended is what the last one says.
func DeriveRounds(rounds ...Exchange) (Facts, error) {
	var facts Facts
	goesOn := false
	streamed := false // The form of the last round whose answer the client has got, or would have.
	for i, exchange := range rounds {
		exchange.later = i > 0
		round, err := Derive(exchange)
		if err != nil {
			return Facts{}, fmt.Errorf("round %d: %w", i, err)
		}
		if goesOn = goesOn || round.Runs; goesOn && round.Untold != nil {
			round.TokenUsages = append(round.TokenUsages, *round.Untold)
		}
		round.TokenUsages = append(facts.TokenUsages, round.TokenUsages...)
		round.ToolUsages = append(facts.ToolUsages, round.ToolUsages...)
		round.Thoughts = append(facts.Thoughts, round.Thoughts...)
		round.Unread.Add(facts.Unread)
		round.WentOn = facts.WentOn || facts.Runs
		isOtherForm := round.Streamed != streamed && round.ErrorType == ""
		if round.WentOn && exchange.Status < 300 && (isOtherForm || round.Foreign) {
			// What the client has begun to get, or would have, gets no end. A stream can have no body behind it, nor the other way round.
			round.ErrorType = "truncated"
		}
		if exchange.Status < 300 { // Else it was refused, and the request may have been sent again.
			streamed = round.Streamed
		}
		facts = round
	}
	return facts, nil
}
