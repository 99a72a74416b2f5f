package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// unixPrefix stands before the path of a socket in --listen.
const unixPrefix = "unix:"

// listenForClients listens on an address, or on a socket with that mode if the address is one.
func listenForClients(address string, mode socketModeText) (net.Listener, error) {
	path, isSocket := strings.CutPrefix(address, unixPrefix)
	switch {
	case !isSocket && mode != "":
		return nil, errors.New("listen_mode is the mode of a socket: --listen has to name one, as in unix:/run/aibridged/api.sock")
	case !isSocket:
		return listenOn(address, "address %s is in use: stop what listens there, or choose another with --listen")
	case path == "" || path[0] == '@':
		return nil, fmt.Errorf("--listen %q: write the path of a socket behind %s", address, unixPrefix)
	}
	bits, err := socketMode(mode)
	if err != nil {
		return nil, fmt.Errorf("listen_mode: %w", err)
	}
	listener, err := listenOnSocket(path, bits)
	if err != nil {
		return nil, fmt.Errorf("listen on %s%s: %w", unixPrefix, path, err)
	}
	return listener, nil
}

// socket is a listener on a path. Close removes the file, unless another program has put its own there.
type socket struct {
	*net.UnixListener

	path string
	file fs.FileInfo
}

// listenOnSocket makes a socket with that mode. One that is there already is replaced if nobody listens on it.
func listenOnSocket(path string, mode fs.FileMode) (_ *socket, err error) {
	if err := checkPlace(path); err != nil {
		return nil, err
	}
	// A socket has its mode a moment after it can be connected to. So it is made where nobody else can reach it.
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	made := filepath.Join(private, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if errors.Is(err, syscall.EINVAL) {
		return nil, errors.New("the path is too long for a socket")
	}
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	s := &socket{UnixListener: listener, path: path}
	if err := s.place(made, mode); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return s, nil
}

// place gives a socket that was made elsewhere its mode and its path.
func (s *socket) place(made string, mode fs.FileMode) (err error) {
	if err := os.Chmod(made, mode); err != nil {
		return err
	}
	if s.file, err = os.Lstat(made); err != nil {
		return err
	}
	return os.Rename(made, s.path)
}

// checkPlace refuses a path at which something is that must not be replaced.
func checkPlace(path string) error {
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case found.Mode().Type() != fs.ModeSocket:
		return errors.New("something that is no socket is in its place: remove that, or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		return errors.Join(errors.New("a program listens there: stop it, or choose another path"), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("it cannot be seen whether a program listens there: %w", err)
}

// Close implements [net.Listener].
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if found, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(found, s.file) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// baseOf returns the address that clients of a listener are given.
func baseOf(listener net.Listener, secured bool) string {
	switch s, isSocket := listener.(*socket); {
	case isSocket:
		return unixPrefix + s.path
	case secured:
		return "https://" + listener.Addr().String()
	}
	return "http://" + listener.Addr().String()
}
