// Package observe looks on while requests go to a provider and answers come back: [Dump] writes what passes to text
// files for an operator, [Keep] keeps the exchanges of interceptions so that their records can be verified. Both are
// RoundTrippers that stand right above a transport, change nothing of what passes, and never make a request wait.
//
//	keeper, err := observe.Keep(upstream.NewTransport(upstream.Limits{}), dir, 7*24*time.Hour, logger)
//	…
//	defer keeper.Close()
//	next := upstream.Guard(keeper)
//	…
//	resp, err := observe.Send(next, r, observe.Interception{ID: id, Format: "messages", Header: header, Body: body})
//
// Where nothing [Watches], the last line is next.RoundTrip(r), and costs nothing.
//
// What counts as a credential in a header or a query, and is therefore written to no file, is said in redact.go. Bodies
// are written as they are.
package observe
