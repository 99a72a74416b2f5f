package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/internal/fakellm"
)

func newFakeLLMCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "fakellm",
		Short: "Run a scripted upstream for all three formats, to try the gateway without a key",
		Long:  fakellm.Help(),
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w", listen, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "fakellm listens on http://%s\n", listener.Addr())
			return serveUntil(cmd.Context(), listener, fakellm.New(fakellm.Options{IDPrefix: fakellmPrefix(time.Now())}))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:4002", "address to listen on")
	return cmd
}

// fakellmPrefix returns a prefix that makes the ids of one run differ from those of another.
func fakellmPrefix(now time.Time) string { return fmt.Sprintf("r%x", now.UnixMilli()) }

// serveUntil serves until ctx ends. It then cuts answers that are under way.
func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err := server.Close()
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
