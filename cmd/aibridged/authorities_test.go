package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAuthorities takes a file away after it has changed: what counts is what was read last, and not what was read first.
func TestAuthorities(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca")
	first, second := newIssuer(t), newIssuer(t)
	first.write(t, file)
	read, err := readFrom(file)
	check(t, err)
	second.write(t, file)
	want, err := read.now()
	check(t, err)
	for _, spoil := range []func(){
		func() { check(t, os.Remove(file)) }, func() { writeTestFile(t, file, "") }, func() { writeTestFile(t, file, "nonsense") },
	} {
		spoil()
		if now, err := read.now(); err == nil || !now.Equal(want) {
			t.Errorf("other authorities count, or nobody is told: %v", err)
		}
	}
	first.write(t, file)
	if now, err := read.now(); err != nil || now.Equal(want) {
		t.Errorf("a file that is there again does not count: %v", err)
	}
	if _, err := readFrom(file + "-missing"); err == nil {
		t.Error("a file that is missing is no error at the start")
	}
}
