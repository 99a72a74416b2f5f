//go:build !race

package jsonedit_test

// slowdown is how much more time a test is allowed to take than the gateway.
const slowdown = 1
