//go:build !linux

package postgrestest

import (
	"os"
	"os/exec"
	"os/user"
)

// immediately is the signal that ends a server.
var immediately = os.Interrupt

func chown(string, *user.User) error { return nil }

func runAs(*exec.Cmd, *user.User) error { return nil }

func dieWithParent(*exec.Cmd) {}
