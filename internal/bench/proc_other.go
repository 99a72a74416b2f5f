//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

var errSystem = errors.New("CPU time and memory of processes come from /proc, which Linux alone has: run the bench there")

func checkSystem() error                   { return errSystem }
func diesWithParent() *syscall.SysProcAttr { return nil }
func cpuOf(int) (time.Duration, error)     { return 0, errSystem }
func memoryOf(int) (int64, error)          { return 0, errSystem }
func isInMemory(string) bool               { return false }
