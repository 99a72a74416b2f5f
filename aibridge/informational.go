package aibridge

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// forwardInformational returns a context whose request passes informational answers (1xx) on to the client, without
// their headers, which nothing checks. They come in a goroutine of the transport's while the handler waits for the
// answer; once done was called, none does.
func forwardInformational(ctx context.Context, client http.ResponseWriter) (_ context.Context, done func()) {
	var (
		mu   sync.Mutex
		over bool // Guarded by mu.
	)
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			client.WriteHeader(status)
		}
		return nil
	}}
	return httptrace.WithClientTrace(ctx, trace), func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}
