// Package archtest holds the rules of ARCHITECTURE.md as tests. It has no code of its own.
package archtest
