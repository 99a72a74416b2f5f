package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/aibridged"
)

const (
	// providersPath is where the listener for operators says what the gateway knows of its providers.
	providersPath = "/providers"
	// askTimeout is how long a command waits for the gateway.
	askTimeout = 2 * time.Second
	// maxLive is how many bytes of the gateway's answer are read.
	maxLive = 16 << 20
)

// liveGateway is what a gateway says of itself.
type liveGateway struct {
	DataDirectory string         `json:"data_directory"`
	Providers     []liveProvider `json:"providers"`
}

// liveProvider is what a gateway knows of a provider.
type liveProvider struct {
	Name   string                   `json:"name"`
	Status aibridged.ProviderStatus `json:"status"`
	State  string                   `json:"state"` // In words.
	Keys   []liveKey                `json:"keys"`
}

// liveKey is what a gateway knows of a key.
type liveKey struct {
	Hint    string     `json:"hint"`
	Account string     `json:"account,omitempty"`
	State   string     `json:"state"`
	Since   *time.Time `json:"since,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Models  []string   `json:"models,omitempty"`  // For which it rests.
	Unnamed bool       `json:"unnamed,omitempty"` // It rests for requests that name no model. With neither: for all.
	Why     string     `json:"why,omitempty"`
}

// whyKeyRests says why a key has a state.
func whyKeyRests(state string) string {
	switch state {
	case "limited":
		return "the upstream says that it has reached a limit"
	case "unauthorized":
		return "the upstream refuses it"
	case "dead":
		return "the upstream says that it has no credit left or is disabled"
	}
	return ""
}

// live returns what the gateway knows of its providers.
func (g *gateway) live() []liveProvider {
	keys := map[string][]liveKey{}
	for _, known := range g.upstreams.Keys() {
		key := liveKey{Hint: known.Hint, Account: known.Account, State: known.State, Models: known.Models, Unnamed: known.Unnamed, Why: whyKeyRests(known.State)}
		if !known.Since.IsZero() {
			since, until := known.Since.UTC(), known.Until.UTC()
			key.Since, key.Until = &since, &until
		}
		keys[known.Provider] = append(keys[known.Provider], key)
	}
	all := []liveProvider{}
	for _, p := range g.providers.current() {
		all = append(all, liveProvider{Name: p.name, Status: p.status, State: p.state, Keys: keys[p.name]})
	}
	return all
}

// listProviders serves providersPath.
func (g *gateway) listProviders(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(liveGateway{DataDirectory: filepath.Dir(g.adminFile), Providers: g.live()})
}

// adminFile is the file that says where the operators of the gateway look that runs on the data directory.
func (s settings) adminFile() (string, error) {
	path, err := filepath.Abs(filepath.Join(s.dataDir, "admin-address"))
	return path, err
}

// publishAdmin writes where operators look, so that commands find the gateway.
func (g *gateway) publishAdmin(s settings, address string) error {
	file, err := s.adminFile()
	if err != nil {
		return err
	}
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().IsUnspecified() {
		address = net.JoinHostPort("localhost", fmt.Sprint(at.Port()))
	}
	if err := os.WriteFile(file, []byte(address+"\n"), 0o600); err != nil {
		return err
	}
	g.adminFile = file
	return nil
}

// Errors of a gateway that cannot be asked.
var (
	errNotRunning = errors.New("no gateway is running here")
	errNoAdmin    = errors.New("the gateway has no listener for operators that could be asked (--admin-listen off)")
)

// askGateway asks the gateway that runs on the data directory what it knows of its providers.
func (s settings) askGateway(ctx context.Context) ([]liveProvider, error) {
	file, err := s.adminFile()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	address := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNotRunning
	case err != nil:
		return nil, err
	case address == "":
		return nil, errNoAdmin
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+providersPath, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil { // The file is left behind by a gateway that was killed.
		return nil, errNotRunning
	}
	defer response.Body.Close()
	var live liveGateway
	err = json.NewDecoder(io.LimitReader(response.Body, maxLive)).Decode(&live)
	if err != nil || response.StatusCode != http.StatusOK || live.DataDirectory != filepath.Dir(file) {
		return nil, errNotRunning // Something else has the port now.
	}
	return live.Providers, nil
}
