// Package crashtest proves that records survive what happens to processes, by its tests alone: a gateway and its
// control plane, each a process of its own, are killed, stopped, locked out of their database and left without room on
// their disk, under load. Then what clients received and what the upstream served is held against what the control
// plane reports. It has no code of its own.
//
// The power fails, too: over the queue and the database together, before each step that they take to the disk. That is a
// matter of one process, in which both tell a machine, a model of disk and cache, of all that they write and sync.
//
// `go test` runs a short version, `make test-crash` the full one:
//
//	go test ./internal/crashtest -args -kills=200 -away=60s -losses=3 -power-kills=30
//
// All that is random comes from one seed, which is printed; -seed sets it. It cannot make the machine's scheduler do
// the same again.
package crashtest
