package bedrock_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/testkit"
)

// setEnvironment puts credentials into the environment, and nothing else that AWS's SDK reads.
func setEnvironment(t *testing.T, of fakebedrock.Key) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", of.ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", of.Secret)
	t.Setenv("AWS_SESSION_TOKEN", of.Token)
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_BEARER_TOKEN_BEDROCK", "bearer-of-the-environment")
}

func TestDefaultChain(t *testing.T) {
	setEnvironment(t, key())
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: bedrock.Credentials{Default: true}})
	if got := post(t, g, "/bedrock/v1/messages", ask); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestEnvironmentDoesNotCount checks that nothing in the environment changes a request unless the default chain is chosen.
func TestEnvironmentDoesNotCount(t *testing.T) {
	setEnvironment(t, fakebedrock.Key{ID: "AKIAENVIRONMENT", Secret: "other"})
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	credentials := static()
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: credentials})
	if got := post(t, g, "/bedrock/v1/messages", ask); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	sent := fake.Requests()[0]
	if authorization := sent.Header.Get("Authorization"); !strings.Contains(authorization, key().ID) || !strings.Contains(authorization, "us-east-1") {
		t.Error(authorization)
	}
	none := newGateway(t, fake.URL, bedrock.Options{})
	if got := post(t, none, "/bedrock/v1/messages", ask); got.status != http.StatusForbidden || len(fake.Requests()) != 1 {
		t.Errorf("without credentials: %d %s", got.status, got.body)
	}
}

// TestRole checks that a role is assumed with the credentials that are there, once, and signs the requests.
func TestRole(t *testing.T) {
	session := fakebedrock.Key{ID: "ASIAROLE", Secret: "secret-of-the-role", Token: "token-of-the-role"}
	asked := make(chan url.Values, 10)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		form.Set("signed", r.Header.Get("Authorization"))
		asked <- form
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
			`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, session.ID, session.Secret, session.Token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	options := answering(fakebedrock.Answer{Body: helloBody})
	options.Keys = []fakebedrock.Key{session}
	fake := fakebedrock.New(t, options)
	credentials := static()
	credentials.RoleARN, credentials.ExternalID, credentials.STSURL = "arn:aws:iam::1:role/r", "ext", sts.URL
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: credentials})
	for range 2 {
		if got := post(t, g, "/bedrock/v1/messages", ask); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	form := <-asked
	if form.Get("RoleArn") != "arn:aws:iam::1:role/r" || form.Get("ExternalId") != "ext" || form.Get("RoleSessionName") != "aibridged" ||
		!strings.Contains(form.Get("signed"), key().ID) {
		t.Errorf("%v", form)
	}
	if len(asked) != 0 {
		t.Error("the role was assumed twice")
	}
}

func TestNoCredentialsAtTheMoment(t *testing.T) {
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
	}))
	defer sts.Close()
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	credentials := static()
	credentials.RoleARN, credentials.STSURL = "arn:aws:iam::1:role/r", sts.URL
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: credentials})
	got := post(t, g, "/bedrock/v1/messages", ask)
	const want = `{"type":"error","error":{"type":"api_error","message":"the gateway has no AWS credentials at the moment"}}`
	if got.status != http.StatusBadGateway || got.body != want {
		t.Errorf("%d %s", got.status, got.body)
	}
	if len(fake.Requests()) != 0 {
		t.Error("a request was sent without a signature")
	}
}

// TestCredentialsOfCallers checks which credential goes upstream where a caller brings one.
func TestCredentialsOfCallers(t *testing.T) {
	const own = "bedrock-api-key-of-somebody"
	for name, test := range map[string]struct {
		headers []string
		status  int
		sent    string // Authorization.
	}{
		"bearer":       {[]string{"Authorization", "Bearer " + own}, 200, "Bearer " + own},
		"API key":      {[]string{"X-Api-Key", own}, 200, "Bearer " + own},
		"unknown key":  {[]string{"X-Api-Key", "other-key-of-somebody"}, 403, ""},
		"none":         {nil, 403, ""},
		"signature":    {[]string{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/1/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"}, 403, ""},
		"sign for me":  {[]string{"X-Ai-Bridge-Sign", "1"}, 403, ""},
		"sign for me_": {[]string{"X_Ai_Bridge_Sign", "1"}, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
			g := newGateway(t, fake.URL, bedrock.Options{Credentials: static()})
			r := g.Request(t, http.MethodPost, "/bedrock/v1/messages", ask)
			r.Header.Del("Authorization")
			r.Header.Set("X-Coder-AI-Governance-Token", testkit.Token)
			for i := 0; i < len(test.headers); i += 2 {
				r.Header.Set(test.headers[i], test.headers[i+1])
			}
			if got := do(t, r); got.status != test.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			sent := fake.Requests()
			if test.sent == "" {
				if len(sent) != 0 {
					t.Errorf("accepted %+v", sent)
				}
				return
			}
			if sent[0].Header.Get("Authorization") != test.sent || sent[0].Header.Get("X-Api-Key") != "" || sent[0].Header.Get("X-Amz-Date") != "" {
				t.Errorf("sent %v", sent[0].Header)
			}
			if records := testkit.RenderRecords(t, g.Control.WaitEnds(t, 1)); !strings.Contains(records, `"credential_kind":"byok"`) {
				t.Error(records)
			}
		})
	}
}

// TestRefusedSignature checks that what Bedrock repeats of a signature that it refuses does not show the session's token.
func TestRefusedSignature(t *testing.T) {
	options := answering(fakebedrock.Answer{Body: helloBody})
	options.Keys[0].Secret = "another"
	fake := fakebedrock.New(t, options)
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: static()})
	for _, path := range []string{"/bedrock/v1/messages", "/bedrock/model/m/invoke", "/bedrock/model/m/count-tokens"} {
		got := post(t, g, path, ask)
		if got.status != http.StatusForbidden || got.err != nil || !strings.Contains(got.body, "x-amz-security-token:cana...eway") {
			t.Errorf("%s: %d %s, %v", path, got.status, got.body, got.err)
		}
		if strings.Contains(got.body, key().Token) {
			t.Errorf("%s: the token is in %s", path, got.body)
		}
	}
	if text := testkit.RenderRecords(t, g.Control.WaitEnds(t, 2)) + g.Log.String(); strings.Contains(text, key().Token) {
		t.Errorf("the token is in %s", text)
	}
}

func TestAPIKey(t *testing.T) {
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	g := newGateway(t, fake.URL, bedrock.Options{Provider: aibridge.ProviderOptions{Key: "bedrock-api-key-of-somebody"}})
	if got := post(t, g, "/bedrock/v1/messages", ask); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := fake.Requests()[0].Header.Get("Authorization"); got != "Bearer bedrock-api-key-of-somebody" {
		t.Error(got)
	}
}

func TestOptionsThatContradict(t *testing.T) {
	chain := bedrock.Credentials{Default: true}
	for want, options := range map[string]bedrock.Options{
		`provider "b": region "": write one of AWS's, for example us-east-1`:                                          {},
		`provider "b": region "evil.test/": write one of AWS's, for example us-east-1`:                                {Region: "evil.test/"},
		`provider "b": API "converse": use invoke-model or mantle`:                                                    {Region: "us-east-1", API: "converse"},
		`provider "b": both a Bedrock API key and AWS credentials are set: choose one`:                                {Region: "us-east-1", Credentials: chain, Provider: aibridge.ProviderOptions{Key: "k"}},
		`provider "b": credentials: both the default chain and an access key are set: choose one`:                     {Region: "us-east-1", Credentials: bedrock.Credentials{Default: true, AccessKeyID: "a", SecretAccessKey: "b"}},
		`provider "b": credentials: an access key and its secret go together`:                                         {Region: "us-east-1", Credentials: bedrock.Credentials{AccessKeyID: "a"}},
		`provider "b": credentials: a session token needs its access key`:                                             {Region: "us-east-1", Credentials: bedrock.Credentials{SessionToken: "a"}},
		`provider "b": credentials: a role is assumed with other credentials: set the default chain or an access key`: {Region: "us-east-1", Credentials: bedrock.Credentials{RoleARN: "a"}},
		`provider "b": credentials: an external id or an address of STS is for a role, and there is none`:             {Region: "us-east-1", Credentials: bedrock.Credentials{Default: true, ExternalID: "a"}},
		`provider "b": base URL: scheme "ftp": use https or http`:                                                     {Region: "us-east-1", Provider: aibridge.ProviderOptions{BaseURL: "ftp://host"}},
		`provider "b": control URL: it cannot be parsed; write it as https://host/path`:                               {Region: "us-east-1", ControlURL: "https://a b"},
	} {
		if _, err := bedrock.NewProvider("b", options); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
