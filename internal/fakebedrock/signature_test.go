package fakebedrock

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestSignaturesOfAWS checks that what AWS's own signer signs is accepted, and that it is refused once anything of it has
// changed.
func TestSignaturesOfAWS(t *testing.T) {
	const body, digest = `{"a":1}`, "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
	key := Key{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI", Token: "session"}
	uri := "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.anthropic.claude-v1:0/invoke?b=2&a=%201"
	sign := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "http://bedrock.test"+uri, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header["X-Amzn-Bedrock-Trace"] = []string{" a  b ", "c"}
		credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.Token}
		if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, digest, "bedrock", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	check := func(r *http.Request, uri, body string) error {
		return checkSignature(r, uri, []byte(body), []Key{key}, scope{"us-east-1", "bedrock", time.Now()})
	}
	signed := sign()
	sent := strings.ReplaceAll(uri, "?b=2&a=%201", "?"+signed.URL.RawQuery)
	if err := check(signed, sent, body); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(r *http.Request) (uri, body string){
		"body":     func(*http.Request) (string, string) { return sent, body + " " },
		"path":     func(*http.Request) (string, string) { return strings.Replace(sent, "%2F", "/", 1), body },
		"query":    func(*http.Request) (string, string) { return sent + "&c=3", body },
		"host":     func(r *http.Request) (string, string) { r.Host = "other.test"; return sent, body },
		"method":   func(r *http.Request) (string, string) { r.Method = http.MethodPut; return sent, body },
		"header":   func(r *http.Request) (string, string) { r.Header.Set("Content-Type", "x"); return sent, body },
		"token":    func(r *http.Request) (string, string) { r.Header.Set("X-Amz-Security-Token", "x"); return sent, body },
		"no token": func(r *http.Request) (string, string) { r.Header.Del("X-Amz-Security-Token"); return sent, body },
		"unsigned": func(r *http.Request) (string, string) { r.Header.Set("X-Amz-Target", "x"); return sent, body },
		"none":     func(r *http.Request) (string, string) { r.Header.Del("Authorization"); return sent, body },
		"old": func(r *http.Request) (string, string) {
			r.Header.Set("X-Amz-Date", time.Now().Add(-time.Hour).UTC().Format("20060102T150405Z"))
			return sent, body
		},
	} {
		r := sign()
		uri, body := change(r)
		if check(r, uri, body) == nil {
			t.Errorf("a changed %s is accepted", name)
		}
	}
	if checkSignature(signed, sent, []byte(body), []Key{key}, scope{"us-east-1", "bedrock-mantle", time.Now()}) == nil {
		t.Error("a signature for another service is accepted")
	}
}

// TestPublishedSignature checks the first example of AWS's own test suite for signers.
func TestPublishedSignature(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://example.amazonaws.com/", nil)
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "+
		"SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
	keys := []Key{{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}}
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	if err := checkSignature(r, "/", nil, keys, scope{"us-east-1", "service", at}); err != nil {
		t.Error(err)
	}
}
