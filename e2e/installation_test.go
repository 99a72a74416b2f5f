package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/coder/aibridged/internal/fakevertex"
)

// providerKey is the key that the gateway has for its providers. It belongs to no account.
const (
	providerKey  = "sk-provider-0123456789-wxyz"
	providerHint = "sk-p...wxyz"
)

// configuration has each provider twice: directly, and behind a tap that sees what arrives. The clouds are there once. There
// are no breakers, since all tests share their upstream, and many have it fail.
const configuration = `breaker: {off: true}
providers:
  - {name: anthropic, type: anthropic, base_url: "%[1]s", keys: ["${PROVIDER_KEY}"]}
  - {name: openai, type: openai, base_url: "%[1]s/v1", keys: ["${PROVIDER_KEY}"]}
  - {name: anthropic-tapped, type: anthropic, base_url: "%[2]s", keys: ["${PROVIDER_KEY}"]}
  - {name: openai-tapped, type: openai, base_url: "%[2]s/v1", keys: ["${PROVIDER_KEY}"]}
  - name: bedrock
    type: bedrock
    base_url: "%[3]s"
    bedrock: {region: us-east-1, credentials: {access_key_id: "${BEDROCK_ID}", secret_access_key: "${BEDROCK_SECRET}"}}
  - name: vertex
    type: vertex
    base_url: "%[4]s/v1"
    vertex: {project: a-project, region: us-east5, credentials: {service_account: "${VERTEX_ACCOUNT}"}}
  - {name: azure, type: azure, base_url: "%[5]s", keys: ["${PROVIDER_KEY}"]}
`

// installation is the program, built and running: a gateway, and a scripted upstream behind it.
type installation struct {
	directory string
	binary    string
	url       string // The gateway's.
	upstream  *process
	control   *process // Nil: the control plane is in the gateway's process.
	gateway   *process
	tapped    *tap // Between the gateway and the upstream.
	clouds    *clouds
	azure     *azureResource
	tools     *toolServers // Nil: the gateway knows no MCP servers.

	mu      sync.Mutex
	users   int      // Guarded by mu.
	secrets []string // Guarded by mu. They must appear nowhere in logs and records.
}

// build builds the program into a directory, within the program's own module, with its own dependencies.
func build(directory string) (binary string, err error) {
	binary = filepath.Join(directory, "aibridged")
	if said, err := exec.Command("go", "build", "-C", "..", "-o", binary, "./cmd/aibridged").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, said)
	}
	return binary, nil
}

// install starts the program. The caller stops it. With tools, which may be nil, the gateway knows these MCP servers.
func install(binary string, tools *toolServers) (_ *installation, err error) {
	i := &installation{secrets: []string{providerKey}, binary: binary, tools: tools}
	if i.directory, err = os.MkdirTemp("", "aibridged-e2e-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.stopServers(), os.RemoveAll(i.directory))
		}
	}()
	var upstream string
	if i.upstream, upstream, err = start("/healthz", exec.Command(i.binary, "fakellm", "--listen", "127.0.0.1:0")); err != nil {
		return nil, err
	}
	if i.tapped, err = newTap(upstream); err != nil {
		return nil, err
	}
	if i.azure, err = newAzureResource(upstream); err != nil {
		return nil, err
	}
	i.clouds = newClouds()
	i.secrets = append(i.secrets, i.clouds.key.Secret, fakevertex.Token)
	config := filepath.Join(i.directory, "config.yaml")
	text := fmt.Appendf(nil, configuration+tools.configuration(), upstream, i.tapped.URL, i.clouds.bedrock.URL, i.clouds.vertex.URL, i.azure.URL)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	secrets := append(os.Environ(), "PROVIDER_KEY="+providerKey, "BEDROCK_ID="+i.clouds.key.ID, "BEDROCK_SECRET="+i.clouds.key.Secret,
		"VERTEX_ACCOUNT="+string(i.clouds.fakeVertex.ServiceAccount()))
	gateway := []string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config", config, "--keep-exchanges", i.exchanges()}
	if isApart() {
		err = i.startApart(config, secrets, gateway)
		return i, err
	}
	serve := exec.Command(i.binary, append([]string{"serve", "--data-dir", i.dataDir()}, gateway...)...)
	serve.Env = secrets
	i.gateway, i.url, err = start("/readyz", serve)
	return i, err
}

// isApart reports whether the control plane is to run in a process of its own.
func isApart() bool { return os.Getenv("AIBRIDGED_E2E_APART") != "" }

// joining matches the line in which a control plane prints its address.
var joining = regexp.MustCompile(`listens on (\S+) for gateways\n`)

// startApart starts a control plane, which alone has the providers' secrets, and a gateway.
func (i *installation) startApart(config string, secrets, gateway []string) (err error) {
	control := exec.Command(i.binary, "control", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--console-listen", "off", "--data-dir", i.dataDir(), "--config", config)
	control.Env = secrets
	if i.control, err = launch(control); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var address string
	if err := poll(ctx, func() (bool, error) {
		if match := joining.FindStringSubmatch(i.control.output.String()); match != nil {
			address = match[1]
		}
		return address != "", i.control.ended()
	}); err != nil {
		return err
	}
	token, err := i.run("control", "join-token")
	if err != nil {
		return err
	}
	cmd := exec.Command(i.binary, append([]string{"gateway", "--control", address, "--data-dir", i.dataDir() + "-gateway"}, gateway...)...)
	cmd.Env = append(os.Environ(), "AIBRIDGED_JOIN_TOKEN="+strings.TrimSpace(string(token)))
	i.secrets = append(i.secrets, strings.TrimSpace(string(token)))
	i.gateway, i.url, err = start("/readyz", cmd)
	return err
}

func (i *installation) dataDir() string { return filepath.Join(i.directory, "data") }

func (i *installation) exchanges() string { return filepath.Join(i.directory, "exchanges") }

// stop ends the program and checks the logs and records that it leaves behind.
func (i *installation) stop() error {
	stopped := i.stopServers()
	return errors.Join(stopped, i.inspect(), i.verify(), os.RemoveAll(i.directory))
}

func (i *installation) stopServers() error {
	var errs []error
	if i.gateway != nil {
		errs = append(errs, i.gateway.stop())
	}
	if i.control != nil { // After the gateway, which hands it the last records.
		errs = append(errs, i.control.stop())
	}
	if i.tapped != nil {
		i.tapped.Close()
	}
	if i.clouds != nil {
		i.clouds.close()
	}
	if i.azure != nil {
		i.azure.Close()
	}
	if i.upstream != nil {
		errs = append(errs, i.upstream.stop())
	}
	return errors.Join(errs...)
}

// inspect checks the logs and records of all tests: every interception has ended, and there is no secret in them.
func (i *installation) inspect() error {
	records, err := i.run("interceptions", "--json")
	if err != nil {
		return err
	}
	var errs []error
	all, err := decode(records)
	if err != nil {
		return err
	}
	for _, interception := range all {
		if interception.EndedAt == nil {
			errs = append(errs, fmt.Errorf("interception %s of %s never ended", interception.ID, interception.Initiator))
		}
	}
	log := i.gateway.output.String()
	if i.control != nil {
		log += i.control.output.String()
	}
	for _, secret := range i.secrets {
		if strings.Contains(log, secret) {
			errs = append(errs, errors.New("a secret is in a log"))
		}
		if bytes.Contains(records, []byte(secret)) {
			errs = append(errs, errors.New("a secret is in the records"))
		}
	}
	return errors.Join(errs...)
}

// verify compares the records of all tests with the bytes of their exchanges, by the program's second decoder.
func (i *installation) verify() error {
	printed, err := i.run("verify", "--exchanges", i.exchanges())
	if err != nil {
		return fmt.Errorf("%w\n%s", err, printed)
	}
	if !bytes.HasSuffix(printed, []byte(", 0 differ, 0 without kept bytes\n")) {
		return fmt.Errorf("verify printed %s", printed)
	}
	fmt.Printf("verify: %s", printed)
	return nil
}

// run runs one of the program's commands and returns what it prints.
func (i *installation) run(args ...string) ([]byte, error) {
	cmd := exec.Command(i.binary, append(args, "--data-dir", i.dataDir())...)
	printed, err := cmd.Output()
	if failure, ok := errors.AsType[*exec.ExitError](err); ok {
		return printed, fmt.Errorf("aibridged %s: %w\n%s", strings.Join(args, " "), err, failure.Stderr)
	}
	return printed, err
}

// newToken makes a token with the program.
func (i *installation) newToken(t *testing.T, user string) string {
	t.Helper()
	printed, err := i.run("token", "create", "--user", user)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(printed))
	if token == "" || strings.ContainsAny(token, " \n") {
		t.Fatalf("token create printed %q, not a token alone", printed)
	}
	i.keepSecret(token)
	return token
}

// newName returns a user name that no user has yet.
func (i *installation) newName(test string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users++
	return fmt.Sprintf("%s %d", test, i.users)
}

// keepSecret notes a secret that must appear nowhere.
func (i *installation) keepSecret(secret string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.secrets = append(i.secrets, secret)
}
