package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/dbpubsub"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

const (
	// longestFeedWait is how long a gateway may have its question wait.
	longestFeedWait = 30 * time.Second
	// feedPatience bounds reading the providers anew.
	feedPatience = 5 * time.Second
	// feedLook is the time between two looks at whether the control plane is ready while a question waits. With what a look
	// may take, readyPatience, gateways know within five seconds that it is not.
	feedLook = 2 * time.Second
)

// providerFeed tells gateways elsewhere which providers there are, with their secrets. It implements
// [proto.DRPCConfigurationServer].
type providerFeed struct {
	plane  *plane
	cancel func() // Ends the subscription to changes.
	ready  *readiness

	reading sync.Mutex // Held while the providers are read. Taken before mu.

	mu      sync.Mutex
	current *proto.GetProvidersResponse // Nil: it has to be read. Guarded by mu, like changed.
	changed chan struct{}               // Closed and replaced when current is out of date.
}

// newProviderFeed returns a feed of a control plane's providers. The caller closes it before the plane.
func newProviderFeed(p *plane) (*providerFeed, error) {
	// It is not the control plane's own, since a control plane that drains still serves.
	f := &providerFeed{plane: p, ready: &readiness{check: p.notReady}, changed: make(chan struct{})}
	var err error
	// Any notification is a reason to read again, also a failed one.
	f.cancel, err = p.pubsub.SubscribeWithErr(dbpubsub.ProvidersChanged, func(context.Context, []byte, error) { f.change() })
	return f, err
}

func (f *providerFeed) close() {
	f.cancel()
	f.ready.wait()
}

// change says that the providers may have changed.
func (f *providerFeed) change() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = nil
	close(f.changed)
	f.changed = make(chan struct{})
}

// GetProviders implements [proto.DRPCConfigurationServer]. While the control plane is not ready, a gateway that has providers
// gets the reason in place of an answer, for everybody's eyes. One that has none is told of them if that is possible.
func (f *providerFeed) GetProviders(ctx context.Context, in *proto.GetProvidersRequest) (*proto.GetProvidersResponse, error) {
	wait := min(in.GetWaitMillis(), longestFeedWait.Milliseconds())
	timer, look := time.NewTimer(time.Duration(wait)*time.Millisecond), time.NewTicker(feedLook)
	defer timer.Stop()
	defer look.Stop()
	for {
		if in.GetVersion() != "" {
			if err := f.notReady(ctx); err != nil {
				return nil, err
			}
		}
		answer, changed, err := f.now(ctx)
		if err != nil {
			return nil, cmp.Or(f.notReady(ctx), drpcerr.WithCode(err, rpcstatus.Unavailable))
		}
		if answer.GetVersion() != in.GetVersion() {
			return answer, nil
		}
		select {
		case <-changed:
		case <-look.C:
		case <-timer.C:
			return &proto.GetProvidersResponse{Version: in.GetVersion()}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// notReady returns why the control plane is not ready, with the code by which gateways know that, or nil.
func (f *providerFeed) notReady(ctx context.Context) error {
	err := f.ready.notReady(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return drpcerr.WithCode(err, rpcstatus.FailedPrecondition)
}

// now returns the present answer, which is immutable, and a channel that is closed when it may have changed.
func (f *providerFeed) now(ctx context.Context) (*proto.GetProvidersResponse, <-chan struct{}, error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.mu.Lock()
	current, changed := f.current, f.changed
	f.mu.Unlock()
	if current != nil {
		return current, changed, nil
	}
	// Others use the result, too, so it must not end with the question that reads it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), feedPatience)
	defer cancel()
	current, err := f.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == changed { // Otherwise it may be older than the change: the next question reads again.
		f.current = current
	}
	return current, changed, nil
}

// read reads the providers and their secrets.
func (f *providerFeed) read(ctx context.Context) (*proto.GetProvidersResponse, error) {
	number, err := f.plane.ConfigurationChanges(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := f.plane.Providers(ctx)
	if err != nil {
		return nil, err
	}
	answer := &proto.GetProvidersResponse{}
	for _, row := range rows {
		answer.Providers = append(answer.Providers, f.message(ctx, row))
	}
	// The number counts changes of MCP servers, too. It is not enough: a database may be replaced by a copy of an earlier day.
	content, err := protobuf.MarshalOptions{Deterministic: true}.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("the providers cannot be sent: %w", err)
	}
	sum := sha256.Sum256(content)
	answer.Version = fmt.Sprintf("%d-%s", number, hex.EncodeToString(sum[:16]))
	return answer, nil
}

// message returns a provider as it is sent.
func (f *providerFeed) message(ctx context.Context, row aibridgedserver.Provider) *proto.Provider {
	message := &proto.Provider{
		Name: row.Name, Type: row.Type, BaseUrl: row.BaseURL, Disabled: row.Disabled, Settings: string(row.Settings),
		ChangedAt: timestamppb.New(row.ChangedAt),
	}
	p, err := providerOf(row)
	if err == nil && !p.Disabled {
		message.Secrets, err = p.secretsFrom(ctx, f.plane.store)
	}
	if err != nil {
		message.Secrets, message.Error = nil, err.Error()
	}
	return message
}

// secretsFrom returns what the references in a provider stand for, by reference.
func (p providerConfig) secretsFrom(ctx context.Context, kept *store) (map[string]string, error) {
	secrets := map[string]string{}
	var failed error
	p.withReferences(func(text, kind string) string {
		if text == "" || kind == "" && !isReference(text) {
			return text
		}
		var secret string
		var err error
		if aibridgedserver.IsSecretReference(text) {
			secret, err = kept.Secret(ctx, text)
		} else {
			secret, err = p.secretOf(text, kind)
		}
		if err != nil && failed == nil {
			failed = fmt.Errorf("provider %q: %w", p.Name, err)
		}
		secrets[text] = secret
		return text
	})
	return secrets, failed
}

// givenBy returns a provider that a control plane elsewhere has sent.
func givenBy(message *proto.Provider) givenProvider {
	row := aibridgedserver.Provider{
		Name: message.GetName(), Type: message.GetType(), BaseURL: message.GetBaseUrl(), Disabled: message.GetDisabled(),
		Settings: []byte(message.GetSettings()),
	}
	given := givenProvider{name: row.Name, kind: row.Type, from: "control plane", changedAt: message.GetChangedAt().AsTime(), row: row}
	if problem := message.GetError(); problem != "" {
		given.err = fmt.Errorf("at the control plane: %s", problem)
		return given
	}
	given.config, given.err = providerOf(row)
	given.config.given = message.GetSecrets()
	if given.config.given == nil {
		given.config.given = map[string]string{} // Nothing is looked up here.
	}
	return given
}
