// Package postgrestest starts PostgreSQL servers for tests, from the programs that Debian's package postgresql installs.
//
//	server, err := postgrestest.Start(postgrestest.Options{})
//	if err != nil {
//		return err
//	}
//	defer server.Stop()
//	database, err := server.NewDatabase(ctx, "")
//
// A server listens on loopback, and its data is in a directory of its own that Stop removes.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing says that no PostgreSQL is installed.
var ErrMissing = errors.New("no PostgreSQL is installed (Debian: apt-get install postgresql)")

// Options are the optional settings of a server; the zero value works.
type Options struct {
	// Durable lets the server sync what it commits. Without it, a crash of the machine loses data, and tests are faster.
	Durable bool
	// Settings are further settings of the server, such as log_statement=all.
	Settings []string
}

// Server is a running server.
type Server struct {
	bin, dir string
	port     int
	settings []string
	owner    *user.User // Who runs it; nil: this user.
	process  *exec.Cmd  // Nil: it was killed.
	ended    chan error // Gets the end of process.
	made     atomic.Int64
}

// patience is how long a server may take to start or to stop.
const patience = 60 * time.Second

// Start makes a server and starts it. It fails with [ErrMissing] if there is no program for it. The caller calls Stop.
func Start(options Options) (*Server, error) {
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	s.settings = options.Settings
	if !options.Durable {
		s.settings = append(slices.Clone(s.settings), "fsync=off", "full_page_writes=off")
	}
	if err := s.run("initdb", "-D", s.data(), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// newServer returns a server that has a directory and a port.
func newServer() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root.
		if s.owner, err = user.Lookup("postgres"); err == nil {
			err = chown(dir, s.owner)
		}
	}
	if err == nil {
		s.port, err = freePort()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// binaries returns the directory of the server's programs.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		path, err := exec.LookPath("postgres")
		if err != nil {
			return "", ErrMissing
		}
		found = []string{path}
	}
	path, err := filepath.EvalSymlinks(found[len(found)-1])
	return filepath.Dir(path), err
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Host returns the address that the server listens on.
func (s *Server) Host() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Address returns the address of a database of the server.
func (s *Server) Address(database string) string {
	return "postgres://postgres@" + s.Host() + "/" + database + "?sslmode=disable"
}

// run runs one of the server's programs as the server's user.
func (s *Server) run(program string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	if err := runAs(cmd, s.owner); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

// Restart starts the server again after Kill, with what is in its data directory.
func (s *Server) Restart() error {
	for deadline := time.Now().Add(patience); ; {
		if err := s.start(); err != nil {
			return err
		}
		ready, err := s.awaitReady(deadline)
		if ready || err != nil {
			return err
		}
		// Processes of its earlier life have not all ended.
	}
}

// start starts the server's first process.
func (s *Server) start() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", s.data()}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=", "max_connections=400",
		"shared_buffers=64MB", "max_wal_senders=4", "hot_standby=on",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if err := runAs(cmd, s.owner); err != nil {
		return err
	}
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process, s.ended = cmd, make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	return nil
}

// awaitReady waits until the server takes connections, and returns false if it ends instead.
func (s *Server) awaitReady(deadline time.Time) (ready bool, err error) {
	for {
		select {
		case <-s.ended:
			s.process = nil
		case <-time.After(20 * time.Millisecond):
			if s.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port)) == nil {
				return true, nil
			}
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(s.log())
			return false, fmt.Errorf("the server does not start: %s", text)
		}
		if s.process == nil {
			return false, nil
		}
	}
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// Kill ends the server at once, as a crash does. Processes of it that are left end themselves soon.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	err := s.process.Process.Kill()
	<-s.ended
	s.process = nil
	return err
}

// Stop ends the server and removes its data.
func (s *Server) Stop() error {
	var err error
	if s.process != nil {
		err = s.process.Process.Signal(immediately)
		<-s.ended
		s.process = nil
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Standby starts a server that follows this one and can be read only.
func (s *Server) Standby() (*Server, error) {
	standby, err := newServer()
	if err != nil {
		return nil, err
	}
	standby.settings = s.settings
	if err := standby.run("pg_basebackup", "-d", s.Address("postgres"), "-D", standby.data(), "-R", "-X", "stream", "-c", "fast"); err != nil {
		return nil, errors.Join(err, standby.Stop())
	}
	if err := standby.Restart(); err != nil {
		return nil, errors.Join(err, standby.Stop())
	}
	return standby, nil
}

// Promote makes a standby a primary.
func (s *Server) Promote() error { return s.run("pg_ctl", "promote", "-D", s.data(), "-w") }

// Demote makes a primary that was killed a server that can be read only, as one that comes back after a failover.
func (s *Server) Demote() error {
	signal, err := os.OpenFile(filepath.Join(s.data(), "standby.signal"), os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := signal.Close(); err != nil {
		return err
	}
	return s.Restart()
}

// NewDatabase makes a database and returns its name. Template, if not empty, is the name of one that it is a copy of, and
// that nobody is connected to.
func (s *Server) NewDatabase(ctx context.Context, template string) (name string, err error) {
	name = "test_" + strconv.FormatInt(s.made.Add(1), 10)
	statement := "CREATE DATABASE " + name
	if template != "" {
		statement += " TEMPLATE " + template + " STRATEGY file_copy"
	}
	return name, s.Exec(ctx, "postgres", statement)
}

// DropDatabase removes a database, and ends the connections to it.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	return s.Exec(ctx, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
}

// Exec runs statements in a database.
func (s *Server) Exec(ctx context.Context, database string, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, s.Address(database))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}
