//go:build race

package console_test

// withRace says that the race detector runs, which takes twenty times as long and has nothing to find in texts.
const withRace = true
