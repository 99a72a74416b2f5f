package rederive

import "fmt"

// DeriveRounds returns the facts of a request for which a gateway has asked its upstream several times, each time of the
// rounds with the same client's request: since the model called tools of the gateway, or since the upstream refused to be
// asked for its usage. Of each round there is what its answer says; how the request ended is what the last one says.
func DeriveRounds(rounds ...Exchange) (Facts, error) {
	var facts Facts
	for i, exchange := range rounds {
		exchange.later = i > 0
		round, err := Derive(exchange)
		if err != nil {
			return Facts{}, fmt.Errorf("round %d: %w", i, err)
		}
		round.TokenUsages = append(facts.TokenUsages, round.TokenUsages...)
		round.ToolUsages = append(facts.ToolUsages, round.ToolUsages...)
		round.Thoughts = append(facts.Thoughts, round.Thoughts...)
		round.Unread.Add(facts.Unread)
		round.WentOn = facts.WentOn || facts.Runs
		if round.WentOn && round.Streamed != facts.Streamed && round.ErrorType == "" && exchange.Status < 300 {
			round.ErrorType = "truncated" // A client that gets a stream can get no body behind it, nor the other way round.
		}
		facts = round
	}
	return facts, nil
}
