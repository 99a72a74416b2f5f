package main

import (
	"testing"
	"time"
)

// await waits until a condition holds of a process or a page, which cannot tell when it does. Unmet says what is missing, or
// nothing.
func await(t testing.TB, unmet func() string) {
	t.Helper()
	awaitWithin(t, 20*time.Second, unmet)
}

// awaitWithin is await with a limit of its own.
func awaitWithin(t testing.TB, patience time.Duration, unmet func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		missing := unmet()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain for %s: %s", patience, missing)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// unless returns what is missing if it is.
func unless(isThere bool, missing string) string {
	if isThere {
		return ""
	}
	return missing
}
