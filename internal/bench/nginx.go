package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// nginxConfig makes nginx do what the bare proxy does: it keeps connections and buffers nothing. It runs without a
// master process, since a killed master would leave its worker behind.
const nginxConfig = `daemon off;
master_process off;
pid DIR/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path DIR;
	proxy_temp_path DIR;
	fastcgi_temp_path DIR;
	uwsgi_temp_path DIR;
	scgi_temp_path DIR;
	keepalive_requests 10000000;
	client_max_body_size 32m;
	upstream scripted {
		server %s;
		keepalive 1024;
		keepalive_requests 10000000;
	}
	server {
		listen %s backlog=4096;
		location / {
			proxy_pass http://scripted;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_read_timeout 600s;
		}
	}
}
`

// nginx returns the target nginx, and whether nginx is installed.
func (g *setup) nginx() (target, bool) {
	program, err := exec.LookPath("nginx")
	return target{"nginx", func(ctx context.Context) (*server, error) {
		address, err := freePort()
		if err != nil {
			return nil, err
		}
		directory := g.file("nginx")
		if err := os.Mkdir(directory, 0o700); err != nil {
			return nil, err
		}
		text := fmt.Sprintf(nginxConfig, strings.TrimPrefix(g.upstream, "http://"), address)
		config := g.file("nginx.conf")
		if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", directory)), 0o600); err != nil {
			return nil, err
		}
		child, _, err := childSpec{name: "nginx", program: program, args: []string{"-c", config}, stderr: g.file("nginx.log")}.start(ctx)
		if err != nil {
			return nil, err
		}
		if err := awaitListener(address); err != nil {
			return nil, fmt.Errorf("start nginx: %w", err)
		}
		return &server{name: "nginx", address: address, token: "none", child: child}, nil
	}}, err == nil
}

// awaitListener returns once something listens on an address.
func awaitListener(address string) error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Since(began) > startPatience {
			return err
		}
	}
}
