//go:build race

package jsonedit_test

// slowdown is how much more time the race detector is allowed to take.
const slowdown = 20
