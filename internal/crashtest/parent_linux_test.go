package crashtest

import (
	"os/exec"
	"syscall"
)

// endWithParent ends a process when the test that started it is killed.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
