package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFault078ReadyFull fills the disk under a running gateway: it is not ready, whether or not anybody asks for
// anything, and ready again once there is room.
func TestFault078ReadyFull(t *testing.T) {
	t.Parallel()
	for _, durability := range []string{"sync", "memory"} {
		t.Run(durability, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
				t.Skipf("cannot mount a disk: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			s := serveHere(t, "--data-dir", dir, "--durability", durability)
			s.data = dir
			s.becomes(t, 200, "ready")
			filler, err := os.Create(filepath.Join(dir, "filler"))
			check(t, err)
			for piece := make([]byte, 4096); err == nil; {
				_, _ = rand.Read(piece)
				_, err = filler.Write(piece)
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			check(t, filler.Close())
			s.becomes(t, 503, "full")
			if status, body := s.get(t, "/healthz"); status != 200 || body != "ok\n" {
				t.Errorf("/healthz: %d %q", status, body)
			}
			check(t, os.Remove(filler.Name()))
			s.becomes(t, 200, "ready")
			token := newToken(t, dir)
			if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 {
				t.Errorf("once there is room: %d %s", status, answer)
			}
			s.flushed(t)
			check(t, s.stop())
		})
	}
}
