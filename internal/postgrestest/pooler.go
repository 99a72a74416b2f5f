package postgrestest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// ErrNoPooler says that pgbouncer is not installed.
var ErrNoPooler = errors.New("no pgbouncer is installed (Debian: apt-get install pgbouncer)")

// Pooler is a running pgbouncer in front of a server. It gives each transaction another connection.
type Pooler struct {
	dir     string
	port    int
	process *exec.Cmd
}

// StartPooler starts a pooler in front of a server. It fails with [ErrNoPooler] if there is no program for it. The caller
// calls Stop.
func StartPooler(server *Server) (*Pooler, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		return nil, ErrNoPooler
	}
	dir, err := os.MkdirTemp("", "pgbouncer-")
	if err != nil {
		return nil, err
	}
	p := &Pooler{dir: dir}
	if p.port, err = freePort(); err == nil {
		err = p.start(program, server)
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Pooler) start(program string, server *Server) error {
	config := filepath.Join(p.dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 8
server_reset_query =
`, server.port, p.port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(program, "-q", config)
	if server.owner != nil { // It refuses to run as root, too.
		if err := errors.Join(chown(p.dir, server.owner), chown(config, server.owner)); err != nil {
			return err
		}
	}
	if err := runAs(cmd, server.owner); err != nil {
		return err
	}
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.process = cmd
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", p.host())
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the pooler does not start: %w", err)
		}
	}
}

func (p *Pooler) host() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// Address returns the address of a database through the pooler.
func (p *Pooler) Address(database string) string {
	return "postgres://postgres@" + p.host() + "/" + database + "?sslmode=disable"
}

// Stop ends the pooler.
func (p *Pooler) Stop() error {
	var err error
	if p.process != nil {
		err = p.process.Process.Kill()
		_ = p.process.Wait() // It fails, since the process was killed.
		p.process = nil
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
