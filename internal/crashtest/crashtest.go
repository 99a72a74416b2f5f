// Package crashtest tests that records survive process failures. It has tests only, no code. A gateway and its control
// plane, each a process of its own, are killed, stopped, locked out of their database and left without disk space,
// under load. Then the tests compare what clients received and what the upstream served with what the control plane
// reports.
//
// A fleet of three gateways in front of one control plane on PostgreSQL is in chaos for a time: all of its processes are
// killed, and the connections between them are cut, or let everything vanish. Here, the gateways and the control plane are the
// program itself.
//
// The tests also simulate power failures over the queue and the database together, before each step that these write to
// the disk. That happens in one process, in which both report all writes and syncs to a machine, a model of disk and
// cache.
//
// `go test` runs a short version, `make test-crash` the full one:
//
//	go test ./internal/crashtest -args -kills=200 -away=60s -chaos=5m -losses=3 -power-kills=30
//
// Everything random comes from one seed, which is printed; -seed sets it. The same seed does not repeat the machine's
// scheduling.
package crashtest
