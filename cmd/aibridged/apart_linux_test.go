package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestControlReadsConfigurationAgain changes the control plane's configuration and tells it so: what is new reaches the gateway,
// whose SIGHUP changes nothing of it.
func TestControlReadsConfigurationAgain(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	config := configFile(t, providerText("before", upstream.URL))
	control := programHere(t, nil, a.controlArgs(config)...)
	withoutTerminal(control)
	printedBy(t, control, controlPrints)
	gateway := programHere(t, nil, a.gatewayArgs("--config", configFile(t, providerText("unused", upstream.URL)))...)
	withoutTerminal(gateway)
	found := printedBy(t, gateway, gatewayPrints)
	a.base, a.admin = found[1], found[2]
	a.becomes(t, 200, "ready")
	token := newToken(t, a.data)
	a.takes(t, "before", token, 200)
	check(t, os.WriteFile(config, []byte(providerText("after", upstream.URL)), 0o600))
	check(t, gateway.Process.Signal(syscall.SIGHUP))
	check(t, control.Process.Signal(syscall.SIGHUP))
	took := a.takes(t, "after", token, 200)
	t.Logf("a configuration is right after %v", took)
	if took > soon {
		t.Errorf("a configuration is right after %v", took)
	}
	for _, name := range []string{"before", "unused"} {
		if status := a.status(t, name, token); status == 200 {
			t.Errorf("%s is served", name)
		}
	}
	if _, _, err := run(t.Context(), a.gatewayArgs()...); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("another gateway on the same data directory: %v", err)
	}
	if _, _, err := run(t.Context(), "serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", a.data); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a gateway on the data directory of the control plane: %v", err)
	}
	(&running{cmd: gateway}).end(t, syscall.SIGTERM)
	(&running{cmd: control}).end(t, syscall.SIGTERM)
}
