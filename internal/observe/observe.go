// Package observe copies what passes between a gateway and its providers: [Dump] writes it to text files for an
// operator, [Keep] keeps the exchanges of interceptions so that their records can be verified. Both are RoundTrippers
// directly in front of a transport. They change nothing of what passes and never make a request wait.
//
//	keeper, err := observe.Keep(upstream.NewTransport(upstream.Limits{}), dir, 7*24*time.Hour, observe.MostHeld, logger)
//	…
//	defer keeper.Close()
//	next := upstream.Guard(keeper)
//	…
//	resp, err := observe.Send(next, r, observe.Interception{ID: id, Format: "messages", Header: header, Body: body})
//
// Where nothing [Watches], next.RoundTrip(r) can take the place of the last line, and saves its cost.
//
// redact.go says what counts as a credential: it is written to no file, in whatever header or part of the URL it stands.
// Bodies are written unchanged.
package observe
