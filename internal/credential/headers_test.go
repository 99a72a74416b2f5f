package credential

import (
	"net/http"
	"strings"
	"testing"
)

// TestRows checks that the table is one: each pattern once, in a form that the lookup knows, with a reason.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows {
		name := strings.Trim(r.pattern, "*-")
		switch {
		case seen[r.pattern]:
			t.Errorf("%s is there twice", r.pattern)
		case r.reason == "":
			t.Errorf("%s has no reason", r.pattern)
		case http.CanonicalHeaderKey(name) != name:
			t.Errorf("%s is not in the canonical form, which is %s", r.pattern, http.CanonicalHeaderKey(name))
		case strings.Contains(name, "*"), strings.HasSuffix(r.pattern, "*") && !strings.HasPrefix(r.pattern, "*") && len(name) < keyLen-1:
			t.Errorf("%s is no pattern", r.pattern)
		}
		seen[r.pattern] = true
	}
}

// TestFateOf checks the table against headers that are seen in the wild, most of which no row names.
func TestFateOf(t *testing.T) {
	for want, names := range map[fate][]string{
		stays: {
			// Edges.
			"Via", "Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Forwarded-Tls-Client-Cert", "X-Real-Ip", "True-Client-Ip",
			"Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Ray", "Cf-Warp-Tag-Id", "Cf-Access-Jwt-Assertion", "Cf-Access-Client-Secret",
			"Cdn-Loop", "Cdn-Requestid", "Fly-Client-Ip", "Fly-Region", "X-Envoy-External-Address", "X-Envoy-Peer-Metadata", "X-Amzn-Trace-Id",
			"X-Client-Ip", "X-Vercel-Forwarded-For", "X-Vercel-Ip-Country", "X-Appengine-User-Ip", "X-Proxyuser-Ip", "X-Original-Url",
			"X-Original-Forwarded-For", "X-Rewrite-Url", "X-Azure-Clientip", "X-Azure-Socketip", "X-Azure-Fdid", "Fastly-Client-Ip", "Fastly-Ff",
			"Akamai-Origin-Hop", "X-Akamai-Config-Log-Detail", "X-Cluster-Client-Ip", "Cloudfront-Viewer-Address", "X-Amz-Cf-Id", "X-Nf-Client-Connection-Ip",
			"X-Remote-User", "Remote-User", "X-Auth-Request-Email", "X-Amzn-Oidc-Data", "X-Ms-Client-Principal-Name", "X-Goog-Iap-Jwt-Assertion",
			"Tailscale-User-Login", "X-Arr-Clientcert", "Client-Ip", "Wl-Proxy-Client-Ip", "Proxy-Client-Ip", "X-Source-Ip", "X-New-Edge-Client-Ip",
			"X-User-Ip-Country", "X-Sucuri-Clientip", "Incap-Client-Ip", "X-Cdn-Src-Ip", "X-Ssl-Client-Cert", "X-Client-Cert-Dn", "X-Host",
			"Ip", "X-Ip", "X-Do-App-Origin", "Do-Connecting-Ip", "X-Tencent-Ua", "X-Sigsci-Tags", "X-Sigsci-Requestid", "X-Heroku-Dynos-In-Use",
			"X-Heroku-Queue-Depth", "X-Cf-Applicationid", "L5d-Dst-Override", "X-Zscaler-User", "X-Ip4", "X-Source-Ip2", "X-Peer-Ipv4-Source",
			"Clientip", "X-Clientip-Chain", "Authorization_", "X_auth_email", "X-Anything-Forwarded-For", "X-Cloud-Trace-Context",
			// The gateway and its host.
			"X-Coder-Ai-Governance-Token", "X-Coder-Chat-Id", "X-Coder-Whatever", "Coder-Session-Token", "X-Ai-Bridge-Actor-Id", "Cookie", "X-Csrf-Token",
			// This hop.
			"Connection", "Proxy-Authorization", "Proxy-Anything", "Te", "Trailer", "Transfer-Encoding", "Content-Length", "Upgrade", "Expect",
			"Sec-Websocket-Protocol", "Sec-Websocket-Key", "Host", "X-Http-Method-Override",
			// Twins.
			"Content_length", "Transfer_encoding", "X_api_key", "X_api-Key", "X-Api_key", "X.api.key", "Content_type", "Anthropic_version",
			"X_forwarded_for", "Openai_project", "Some_token", "Some_ip", "Idempotency_key", "X_coder_x",
		},
		own: {"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "x-api-key", "AUTHORIZATION"},
		account: {
			"Openai-Organization", "Openai-Project", "Chatgpt-Account-Id", "Anthropic-Workspace-Id", "X-Amz-Security-Token", "X-Amz-Date",
			"X-Goog-User-Project", "X-Auth-Token", "X-Access-Token", "X-New-Key", "Ocp-Apim-Subscription-Key", "Apikey", "X-Session-Token",
			"Anthropic-Api-Key", "Openai-Api-Key", "X-Codex-Token", "Helicone-Auth", "X-Portkey-Api-Key", "Cf-Aig-Authorization", "Dpop",
			"X-Client-Secret", "X-Vault-Token", "Private-Token", "Authentication", "X-Access-Key-Id", "X-Auth-Email", "X-Apikey-Id", "X-Token-Id",
			"X-Goog-Authuser", "Token-Type", "X-Key2", "X-Api-Key-2", "Secret-Id", "X-Oauth2-Scope", "X-Jwt-Claims", "X-Account", "X-Aws-Account-Number",
			"X-Password-Hash", "X-Hub-Signature-256", "Bearer", "X-Github-Otp", "Credential-Scope", "Key", "Auth", "X-Authorization-Scope",
		},
		passes: {
			"Accept", "Content-Type", "Content-Encoding", "User-Agent", "Anthropic-Version", "Anthropic-Beta", "Anthropic-Dangerous-Direct-Browser-Access",
			"Openai-Beta", "X-Stainless-Lang", "X-Stainless-Retry-Count", "Idempotency-Key", "X-Idempotency-Key", "X-Request-Id", "X-Client-Request-Id",
			"Traceparent", "Tracestate", "Baggage", "Session-Id", "Session_id", "Conversation_id", "X-Session-Id", "X-Session-Affinity", "X-Claude-Code-Session-Id",
			"X-Claude-Code-Agent-Id", "Originator", "X-Codex-Turn-State", "X-Codex-Turn-Metadata", "X-Initiator", "X-Interaction-Type", "Copilot-Integration-Id",
			"Copilot-Vision-Request", "Editor-Version", "Http-Referer", "X-Title", "Helicone-Session-Id", "X-Amzn-Bedrock-Guardrailidentifier",
			"X-Ms-Client-Request-Id", "Cf-Aig-Cache-Ttl", "Cf-Aig-Cache-Key", "X-Unknown", "My_unknown", "X-Mux-Workspace-Id", "X-Kilocode-Taskid",
			"X-Max-Tokens", "X-Tokens-Budget", "X-Keyboard", "X-Ship", "X-Zip", "X-Goog-Api-Client", "Mcp-Session-Id", "Mcp-Method", "Priority", "Sec-Fetch-Mode",
			"X-Cursor-Client-Version", "X-Opencode-Session", "B3", "X-B3-Traceid",
			"X-B3-Sampled", "X-Correlation-Id", "X-Monkey-Id", "X-Author", "X-Authority", "X-Tokenizer",
		},
	} {
		for _, name := range names {
			if got := fateOf(name); got != want {
				t.Errorf("%s: fate %d, want %d", name, got, want)
			}
		}
	}
}

// TestForwardDropsAccountsWithTheGatewaysKey is about what belongs to a credential: it goes with the caller's only.
func TestForwardDropsAccountsWithTheGatewaysKey(t *testing.T) {
	header := http.Header{"Anthropic-Workspace-Id": {"w"}, "X-New-Token": {"t"}, "Idempotency-Key": {"i"}, "x-api-key": {"k"}}
	if out := Forward(header, ""); len(out) != 1 || out.Get("Idempotency-Key") == "" {
		t.Errorf("with the gateway's key: %v", out)
	}
	if out := Forward(header, Authorization); len(out) != 3 {
		t.Errorf("with the caller's: %v", out)
	}
}

// FuzzFateOf checks that no spelling of a header that stays lets it pass: other cases, and other characters in the place
// of hyphens.
func FuzzFateOf(f *testing.F) {
	f.Add(uint8(3), uint64(0x5555), byte('_'))
	f.Add(uint8(40), uint64(1), byte('.'))
	f.Fuzz(func(t *testing.T, which uint8, changes uint64, odd byte) {
		name := strings.Trim(rows[int(which)%len(rows)].pattern, "*-")
		if fateOf(name) == passes || isAlphanumeric(odd) {
			return
		}
		spelled := []byte(name)
		for i := range spelled {
			switch change := changes>>(i%64)&1 == 1; {
			case change && spelled[i] == '-':
				spelled[i] = odd
			case change && isAlphanumeric(spelled[i]) && spelled[i] > '9':
				spelled[i] ^= 0x20
			}
		}
		if got := fateOf(string(spelled)); got == passes {
			t.Errorf("%q passes, but %s does not", spelled, name)
		}
	})
}

// TestSettable checks which headers an operator may set.
func TestSettable(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Team": true, "http-referer": true, "Cf-Aig-Authorization": true, "Openai-Organization": true, "Helicone-Auth": true,
		"Authorization": false, "api-key": false, "Host": false, "Connection": false, "Via": false, "X-Ai-Bridge-Actor-Id": false,
		"Content-Encoding": false, "X_Team": false, "X Team": false, "": false, "X-T\r\nY": false,
	} {
		if Settable(name) != want {
			t.Errorf("%q: want %t", name, want)
		}
	}
}
