//go:build race

package jsonedit_test

// slowdown is the factor by which a test may take longer under the race detector.
const slowdown = 20
