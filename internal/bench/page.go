package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// pageEvery is the time between two looks at the page.
const pageEvery = 2 * time.Second

// withPage returns a gateway as a target whose page somebody looks at all the time: the overview of 30 days, anew every two seconds.
// Its data directory may have what was recorded before.
func (g *setup) withPage(data string) target {
	program := g.gatewayOn(data, "page open", "")
	return target{program.name, func(ctx context.Context) (*server, error) {
		s, err := program.start(ctx)
		if err != nil {
			return nil, err
		}
		token, err := exec.CommandContext(ctx, g.program, "token", "create", "--user", "viewer", "--admin", "--data-dir", data).Output()
		if err == nil {
			s.viewer, err = newViewer(ctx, "http://"+s.address+"/console/", strings.TrimSpace(string(token)))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look at the page: %w", err), s.stop())
		}
		return s, nil
	}}
}

// viewer looks at a page until it is stopped.
type viewer struct {
	client http.Client
	cancel context.CancelFunc
	ended  sync.WaitGroup
	err    error // Set once it has ended.
}

// newViewer signs in and begins to look. The caller stops it.
func newViewer(ctx context.Context, page, token string) (*viewer, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &viewer{client: http.Client{Jar: jar}}
	form, err := http.NewRequestWithContext(ctx, http.MethodPost, page+"sign-in", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		return nil, err
	}
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("Sec-Fetch-Site", "same-origin")
	if err := v.do(form); err != nil {
		return nil, err
	}
	ctx, v.cancel = context.WithCancel(ctx)
	v.ended.Go(func() { v.err = v.look(ctx, page) })
	return v, nil
}

func (v *viewer) look(ctx context.Context, page string) error {
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		if err == nil {
			err = v.do(r)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(pageEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// do sends a request, which must be answered with a view.
func (v *viewer) do(r *http.Request) error {
	response, err := v.client.Do(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(text), "<h1>Overview</h1>") {
		return fmt.Errorf("the page answered with status %d, and not with the overview", response.StatusCode)
	}
	return nil
}

// stop ends the looks, and says whether one failed.
func (v *viewer) stop() error {
	v.cancel()
	v.ended.Wait()
	v.client.CloseIdleConnections()
	return v.err
}
