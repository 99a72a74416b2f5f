package upstream_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/upstream"
)

// A provider has moved. The client learns only that it answered with a redirect, and no key goes to the new address.
func ExampleGuard() {
	provider := httptest.NewServer(http.RedirectHandler("https://elsewhere.example/", http.StatusPermanentRedirect))
	defer provider.Close()
	transport := upstream.NewTransport(upstream.Limits{})
	defer transport.CloseIdleConnections()
	next := upstream.Idle(upstream.Guard(transport), time.Minute)

	r, err := http.NewRequest(http.MethodPost, provider.URL+"/v1/messages", http.NoBody)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := next.RoundTrip(r)
	if failure, ok := errors.AsType[*apierror.Error](err); ok {
		fmt.Println(failure.Status, failure.Text)
		fmt.Println("for the log:", failure.Cause)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// 502 upstream answered with a redirect
	// for the log: status 308 to host "elsewhere.example"
}
