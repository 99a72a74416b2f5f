//go:build !race

package jsonedit_test

// slowdown is the factor by which a test may take longer than the gateway.
const slowdown = 1
