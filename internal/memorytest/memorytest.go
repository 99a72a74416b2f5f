// Package memorytest tests that the gateway's memory is bounded. It has tests only, no code. The program, in a process
// of its own with 1 GiB of memory, gets many times more bodies than fit, while other clients send small requests.
//
// `go test` runs a short version, `make test-memory` the full one, which also says how long the small requests may take:
//
//	go test ./internal/memorytest -args -for=4s -p99=250ms
package memorytest
