package aibridge

import "time"

// ToolLimits bounds what tools of the gateway may take of a request. The zero value of each field means its default.
type ToolLimits struct {
	// Rounds is how often the model may go on after calls of the gateway's tools, within one request: 25. The answer then ends
	// with an error.
	Rounds int
	// Calls is how many calls of one request run at the same time: 8. The others wait.
	Calls int
	// Call is how long one call may take: a minute. The model then reads an error in the place of its result.
	Call time.Duration
	// Total is how long all calls of one request may take together: 15 minutes. The answer then ends with an error.
	Total time.Duration
	// Tools is how many tools a request may have, the client's among them: 128. Tools of the gateway beyond that are left out.
	Tools int
	// Ping is the longest silence towards the client of a stream while tools run and while it is waited for the next round:
	// 15 s.
	Ping time.Duration
}

func (l ToolLimits) withDefaults() ToolLimits {
	orCount := func(value, fallback int) int {
		if value > 0 {
			return value
		}
		return fallback
	}
	l.Rounds = orCount(l.Rounds, 25)
	l.Calls = orCount(l.Calls, 8)
	l.Call = orDefault(l.Call, time.Minute)
	l.Total = orDefault(l.Total, 15*time.Minute)
	l.Tools = orCount(l.Tools, 128)
	l.Ping = orDefault(l.Ping, 15*time.Second)
	return l
}
