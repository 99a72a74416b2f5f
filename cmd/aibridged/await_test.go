package main

import (
	"testing"
	"time"
)

// await waits until a condition holds of a process or a page, which cannot tell when it does. Unmet says what is missing, or
// nothing.
func await(t testing.TB, unmet func() string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		missing := unmet()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", missing)
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
