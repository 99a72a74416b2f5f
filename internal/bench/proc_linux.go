package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// checkSystem returns an error on systems on which the bench cannot measure.
func checkSystem() error { return nil }

// diesWithParent makes the kernel kill a child when this process dies.
func diesWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// tick is the unit of times in /proc, on every architecture of Linux that Go supports.
const tick = 10 * time.Millisecond

// procStat is the part of a process's /proc/PID/stat that is needed.
type procStat struct {
	parent int
	cpu    time.Duration // User and system time, also of children that have ended.
}

func readStat(pid int) (procStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	// The name of the command is in parentheses, and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return procStat{}, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	var stat procStat
	if stat.parent, err = strconv.Atoi(fields[1]); err != nil {
		return procStat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime.
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		stat.cpu += time.Duration(ticks) * tick
	}
	return stat, nil
}

// family returns a process and its descendants.
func family(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, entry := range entries {
		if id, err := strconv.Atoi(entry.Name()); err == nil {
			if stat, err := readStat(id); err == nil { // A process may end meanwhile.
				children[stat.parent] = append(children[stat.parent], id)
			}
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// cpuOf returns the CPU time that a process and its descendants have used.
func cpuOf(pid int) (time.Duration, error) {
	all, err := family(pid)
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, id := range all {
		stat, err := readStat(id)
		if err != nil {
			return 0, err
		}
		total += stat.cpu
	}
	return total, nil
}

// memoryOf returns the resident memory of a process and its descendants in bytes. Memory that they share counts for
// each.
func memoryOf(pid int) (int64, error) {
	all, err := family(pid)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, id := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
		if err != nil {
			return 0, err
		}
		_, after, found := strings.Cut(string(text), "\nVmRSS:")
		var kilobytes int64
		if _, err := fmt.Sscan(after, &kilobytes); err != nil || !found {
			return 0, fmt.Errorf("/proc/%d/status has no VmRSS: %w", id, err)
		}
		total += kilobytes << 10
	}
	return total, nil
}

// isInMemory reports whether a directory is in memory, where a sync costs nothing.
func isInMemory(directory string) bool {
	const tmpfs = 0x01021994
	var stat syscall.Statfs_t
	return syscall.Statfs(directory, &stat) == nil && int64(stat.Type) == tmpfs
}
