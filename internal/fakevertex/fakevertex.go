// Package fakevertex is a Vertex AI for tests. It gives access tokens to those who sign for them with the key of its service
// account, checks the token of each request, keeps what came, and answers as its test says.
package fakevertex

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Token is the access token that the service account gets.
const Token = "ya29.canary-access-token-of-the-gateway"

// OwnToken is another token that is accepted.
const OwnToken = "ya29.access-token-of-somebody"

// account is the service account's address.
const account = "gateway@project.iam.gserviceaccount.com"

// Request is a request as it came.
type Request struct {
	Method string
	URI    string // The path and query as they stood in the request line.
	Header http.Header
	Body   string
}

// Answer is what is answered.
type Answer struct {
	Status      int    // Zero: 200.
	ContentType string // Empty: application/json.
	Body        string
}

// Server is a Vertex.
type Server struct {
	// URL is its address. One that was made by NewHandler must be told it before the first request.
	URL string
	// Messages is an upstream of the Messages API that answers instead, where set.
	Messages http.Handler

	key    *rsa.PrivateKey
	answer func(Request) Answer

	mu       sync.Mutex
	requests []Request // Guarded by mu.
	fetched  int       // Guarded by mu; how many tokens were given.
}

// New starts a Vertex at an address of its own, which gives these answers. It is closed with the test.
func New(t testing.TB, answer func(Request) Answer) *Server {
	t.Helper()
	s := NewHandler(answer)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// NewHandler returns a Vertex that has no address yet.
func NewHandler(answer func(Request) Answer) *Server {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // It never fails.
	}
	return &Server{key: key, answer: answer}
}

// ServiceAccount returns the JSON of the service account's key.
func (s *Server) ServiceAccount() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		panic(err) // It never fails for such a key.
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": account, "private_key_id": "1", "token_uri": s.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		panic(err) // Strings always marshal.
	}
	return text
}

// Requests returns the requests that were accepted, in their order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Fetched returns how many access tokens were given.
func (s *Server) Fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/token" {
		s.serveToken(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The client is gone.
	}
	if bearer := r.Header.Get("Authorization"); bearer != "Bearer "+Token && bearer != "Bearer "+OwnToken {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `[{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}]`)
		return
	}
	request := Request{Method: r.Method, URI: r.RequestURI, Header: r.Header.Clone(), Body: string(body)}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	s.mu.Unlock()
	if s.Messages != nil {
		s.serveMessages(w, r, request)
		return
	}
	answer := s.answer(request)
	if answer.ContentType != "" {
		w.Header().Set("Content-Type", answer.ContentType)
	}
	w.WriteHeader(max(answer.Status, http.StatusOK))
	_, _ = io.WriteString(w, answer.Body)
}

// serveToken gives an access token for an assertion: RFC 7523.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if err := s.checkAssertion(r.PostFormValue("assertion")); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": err.Error()})
		return
	}
	s.mu.Lock()
	s.fetched++
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": Token, "token_type": "Bearer", "expires_in": 3600})
}

func (s *Server) checkAssertion(assertion string) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return errors.New("no assertion")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return err
		}
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, digest[:], decoded[2]); err != nil {
		return err
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Scope    string `json:"scope"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil {
		return err
	}
	if claims.Issuer != account || claims.Audience != s.URL+"/token" || claims.Scope != "https://www.googleapis.com/auth/cloud-platform" ||
		time.Unix(claims.Expires, 0).Before(time.Now()) {
		return fmt.Errorf("claims %+v", claims)
	}
	return nil
}
