package postgrestest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// immediately is the signal that ends a server without a checkpoint.
const immediately = syscall.SIGQUIT

func chown(dir string, owner *user.User) error {
	uid, gid, err := idsOf(owner)
	if err != nil {
		return err
	}
	return os.Chown(dir, int(uid), int(gid))
}

// runAs lets a command run as another user, unless that is nil.
func runAs(cmd *exec.Cmd, owner *user.User) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if owner == nil {
		return nil
	}
	uid, gid, err := idsOf(owner)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	return err
}

// dieWithParent ends a server, whose command runAs has had, when the test that started it is killed.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = immediately }

func idsOf(owner *user.User) (uid, gid uint32, err error) {
	u, err := strconv.ParseUint(owner.Uid, 10, 32)
	if err != nil {
		return 0, 0, err
	}
	g, err := strconv.ParseUint(owner.Gid, 10, 32)
	return uint32(u), uint32(g), err
}
