package upstream

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
)

// BareInformational returns a RoundTripper whose informational answers (1xx) have no headers, since nothing checks these on
// their way to the client. It is for a caller that forwards such answers with what they carry, as httputil.ReverseProxy
// does.
func BareInformational(next http.RoundTripper) http.RoundTripper { return bareInformational{next} }

type bareInformational struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper]. Its trace runs before the caller's.
func (b bareInformational) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
		clear(header)
		return nil
	}}
	return b.next.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
}
