package e2e

import (
	"net/http/httptest"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/bedrock"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/fakevertex"
)

// clouds are a Bedrock and a Vertex, each with a scripted upstream behind it.
type clouds struct {
	key             fakebedrock.Key // What Bedrock knows of the gateway.
	fakeVertex      *fakevertex.Server
	bedrock, vertex *httptest.Server
}

func newClouds() *clouds {
	c := &clouds{key: fakebedrock.Key{ID: "AKIAEXAMPLEGATEWAY", Secret: "secret-access-key-of-the-gateway"}, fakeVertex: fakevertex.NewHandler(nil)}
	c.fakeVertex.Messages = fakellm.New(fakellm.Options{IDPrefix: "vrtx"})
	c.bedrock = httptest.NewServer(fakebedrock.NewHandler(fakebedrock.Options{
		Keys: []fakebedrock.Key{c.key}, Messages: fakellm.New(fakellm.Options{IDPrefix: "bdrk"}),
	}))
	c.vertex = httptest.NewServer(c.fakeVertex)
	c.fakeVertex.URL = c.vertex.URL
	return c
}

func (c *clouds) close() {
	c.bedrock.Close()
	c.vertex.Close()
}

// TestBedrockSDK has Anthropic's SDK for Bedrock talk to the fake Bedrock, which checks its signatures, and then through the
// gateway: it sees the same.
func TestBedrockSDK(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	own := program.clouds.key
	for name, with := range map[string]struct {
		base   string
		config aws.Config
	}{
		"direct": {program.clouds.bedrock.URL, aws.Config{
			Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(own.ID, own.Secret, ""),
		}},
		"gateway": {program.url + "/bedrock", aws.Config{
			Region: "us-east-1", BearerAuthTokenProvider: bedrock.NewStaticBearerTokenProvider(u.token),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			client := anthropic.NewClient(bedrock.WithConfig(with.config), option.WithBaseURL(with.base), option.WithMaxRetries(0), option.WithHTTPClient(u.http))
			const typed = `Go on. [[text: Hello.]] [[tool: ls {"a":1}]] [[usage: input=10 output=7]]`
			ask := anthropic.MessageNewParams{
				Model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", MaxTokens: 100,
				Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(typed))},
				Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
					Name: "ls", InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{}},
				}}},
			}
			whole, err := client.Messages.New(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			var streamed anthropic.Message
			stream := client.Messages.NewStreaming(t.Context(), ask)
			for stream.Next() {
				if err := streamed.Accumulate(stream.Current()); err != nil {
					t.Fatal(err)
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			for _, message := range []*anthropic.Message{whole, &streamed} {
				if len(message.Content) != 2 || message.Content[0].Text != "Hello." || message.Content[1].Name != "ls" || string(message.Content[1].Input) != `{"a":1}` ||
					message.Usage.InputTokens != 10 || message.Usage.OutputTokens != 7 || message.StopReason != "tool_use" {
					t.Errorf("the SDK saw %s", indented(message))
				}
			}
		})
	}
	for _, i := range u.recorded(t, 2) {
		if i.ProviderName != "bedrock" || i.Model != "us.anthropic.claude-sonnet-4-5-20250929-v1:0" || i.ErrorType != nil || len(i.ToolUsages) != 1 ||
			len(i.TokenUsages) != 1 || i.TokenUsages[0].InputTokens != 10 || i.TokenUsages[0].OutputTokens != 7 {
			t.Errorf("recorded is\n%s", indented(i))
		}
	}
}

// TestClaudeCodeInClouds has Claude Code run a command with Claude of Bedrock and of Vertex, by their own APIs and by the
// Messages API.
func TestClaudeCodeInClouds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		provider    string
		environment func(token string) []string
	}{
		"bedrock": {"bedrock", func(token string) []string {
			return []string{
				"CLAUDE_CODE_USE_BEDROCK=1", "ANTHROPIC_BEDROCK_BASE_URL=" + program.url + "/bedrock", "AWS_BEARER_TOKEN_BEDROCK=" + token, "AWS_REGION=us-east-1",
			}
		}},
		"bedrock by messages": {"bedrock", func(token string) []string {
			return []string{"ANTHROPIC_BASE_URL=" + program.url + "/bedrock", "ANTHROPIC_AUTH_TOKEN=" + token}
		}},
		"vertex": {"vertex", func(token string) []string {
			return []string{
				"CLAUDE_CODE_USE_VERTEX=1", "CLAUDE_CODE_SKIP_VERTEX_AUTH=1", "ANTHROPIC_VERTEX_BASE_URL=" + program.url + "/vertex/v1",
				"ANTHROPIC_VERTEX_PROJECT_ID=a-project", "CLOUD_ML_REGION=us-east5", "ANTHROPIC_AUTH_TOKEN=" + token,
			}
		}},
		"vertex by messages": {"vertex", func(token string) []string {
			return []string{"ANTHROPIC_BASE_URL=" + program.url + "/vertex", "ANTHROPIC_AUTH_TOKEN=" + token}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			turn := u.turnOfClaude(t, newClaudeWith(t, test.environment(u.token)...))
			turn.provider = test.provider
			turn.check(t)
		})
	}
}
