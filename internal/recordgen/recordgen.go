// Package recordgen makes up the records of many interceptions, as a team's coding clients leave them: sessions with turns,
// tool calls and their results, sub-agents, caches, failures. Equal options make equal records. It is for tests of what is
// derived from records, and for measuring.
package recordgen

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/proto"
)

// Options say how many records there are. All but Seed must be set.
type Options struct {
	Interceptions int
	Users         []string // Their ids.
	From, To      time.Time
	Seed          uint64
}

// Batches yields the records in batches, of which each holds one session or a part of it.
func Batches(o Options) iter.Seq[[]*proto.Record] {
	return func(yield func([]*proto.Record) bool) {
		g := &generator{Options: o, random: rand.New(rand.NewPCG(o.Seed, 1))}
		for g.made < o.Interceptions {
			// Sessions begin in their order, as they would be recorded.
			share := float64(g.made) / float64(o.Interceptions)
			begin := o.From.Add(time.Duration(share * float64(o.To.Sub(o.From)-time.Hour)))
			if !yield(g.session(begin)) {
				return
			}
		}
	}
}

type generator struct {
	Options

	random *rand.Rand
	made   int
}

// profile is a client with the provider and the models that it uses.
type profile struct {
	client, agent, kind string
	models              []string
	hasSession          bool
}

var profiles = []profile{
	{"Claude Code", "claude-cli/2.1.330 (external, cli)", "anthropic", []string{"claude-opus-4-8", "claude-opus-4-5", "claude-haiku-4-5-20251001"}, true},
	{"Claude Code", "claude-cli/2.1.330 (external, cli)", "anthropic", []string{"claude-opus-5", "claude-haiku-4-5-20251001"}, true},
	{"Codex", "codex_exec/0.169.0", "openai", []string{"gpt-5.3-codex", "gpt-5.4-mini"}, true},
	{"OpenCode", "opencode/1.18", "openai", []string{"gpt-5.4", "gpt-5-nano"}, true},
	{"Cline", "ai-sdk/6", "anthropic", []string{"claude-opus-4-8"}, false},
	{"OpenAI SDK (Python)", "OpenAI/Python 2.1", "openai", []string{"gpt-4.1", "our-own-model"}, false},
}

var (
	tools = []string{"Bash", "Read", "Edit", "Grep", "Task", "WebSearch", "apply_patch", "TodoWrite"}
	words = strings.Fields(`please fix the failing test in this package and explain why it broke after the refactoring of our
		parser add a migration for users rename the handler make it faster write documentation review my change look at logs
		deploy staging database timeout retry queue cache index button page layout colour züri naïve 世界`)
	failures = []string{"rate_limited", "overloaded", "server_error", "truncated", "client_closed"}
)

// id returns an id in the order of time.
func (g *generator) id(at time.Time) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|g.random.Uint64()&0xffff)
	binary.BigEndian.PutUint64(id[8:], g.random.Uint64())
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// user returns one of the users. Some do much more than others.
func (g *generator) user() string {
	share := g.random.Float64()
	return g.Users[int(share*share*float64(len(g.Users)))]
}

func (g *generator) text(n int) string {
	picked := make([]string, n)
	for i := range picked {
		picked[i] = words[g.random.IntN(len(words))]
	}
	return strings.Join(picked, " ")
}

// session makes a session of some turns.
func (g *generator) session(at time.Time) (records []*proto.Record) {
	p := profiles[g.random.IntN(len(profiles))]
	user, session := g.user(), g.id(at).String()
	cached := int64(0)
	for range 1 + g.random.IntN(6) {
		answers := ""
		for step := 0; step == 0 || answers != ""; step++ {
			if g.made == g.Interceptions {
				return records
			}
			g.made++
			r := request{profile: p, user: user, session: session, at: at, answers: answers, cached: cached, first: step == 0}
			var took time.Duration
			records, answers, took = g.interception(records, r)
			cached = min(cached+int64(g.random.IntN(4000)), 150_000)
			at = at.Add(took + time.Duration(g.random.IntN(5000))*time.Millisecond)
		}
		at = at.Add(time.Duration(g.random.IntN(120)) * time.Second)
	}
	return records
}

type request struct {
	profile

	user, session string
	at            time.Time
	answers       string
	cached        int64
	first         bool // Of its turn.
}

// interception makes an interception. It returns the id of the tool call that the next one answers, if there is one.
func (g *generator) interception(records []*proto.Record, r request) (all []*proto.Record, call string, took time.Duration) {
	id := g.id(r.at).String()
	took = time.Duration(800+g.random.IntN(20_000)) * time.Millisecond
	model := r.models[min(g.random.IntN(2*len(r.models)), 3*len(r.models)-1)%len(r.models)]
	start := &proto.RecordInterceptionRequest{
		Id: id, InitiatorId: r.user, ApiKeyId: "abcdefghij", Provider: r.kind, ProviderName: r.kind, Model: model, Client: r.client,
		UserAgent: r.agent, CredentialKind: "centralized", CredentialHint: "sk-a...wxyz", StartedAt: timestamppb.New(r.at),
		RequestBytes: 40_000, RequestSha256: make([]byte, 32), Metadata: metadata(map[string]any{"Username": "someone"}),
	}
	if r.hasSession {
		start.ClientSessionId = &r.session
		if !r.first && g.random.IntN(10) == 0 {
			start.Metadata = metadata(map[string]any{"Username": "someone", "agent_id": "agent-" + r.session[:8]})
		}
	}
	if r.answers != "" {
		start.CorrelatingToolCallId = &r.answers
	}
	records = append(records, &proto.Record{Record: &proto.Record_Interception{Interception: start}})
	if r.first {
		records = append(records, &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			InterceptionId: id, RecordId: g.id(r.at).String(), Prompt: g.text(5 + g.random.IntN(60)), CreatedAt: timestamppb.New(r.at),
		}}})
	}
	end := r.at.Add(took)
	last := &proto.RecordInterceptionEndedRequest{
		Id: id, EndedAt: timestamppb.New(end), RecordId: g.id(end).String(), ResponseBytes: 20_000, ResponseSha256: make([]byte, 32),
		FirstByteMicros: int64(200_000 + g.random.IntN(2_000_000)),
	}
	failed := g.random.IntN(40) == 0
	if failed {
		kind := failures[g.random.IntN(len(failures))]
		last.ErrorType, last.ErrorMessage = &kind, &kind
	} else {
		records = append(records, g.usage(id, model, r, end))
		if g.random.IntN(4) > 0 {
			call = "toolu_" + g.id(end).String()
			records = append(records, &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
				InterceptionId: id, RecordId: g.id(end).String(), MsgId: "msg_1", Tool: tools[g.random.IntN(len(tools))], ToolCallId: call,
				Input: fmt.Sprintf(`{"command":%q}`, g.text(8)), CreatedAt: timestamppb.New(end),
			}}})
		}
	}
	return append(records, &proto.Record{Record: &proto.Record_InterceptionEnded{InterceptionEnded: last}}), call, took
}

func (g *generator) usage(id, model string, r request, at time.Time) *proto.Record {
	u := &proto.RecordTokenUsageRequest{
		InterceptionId: id, RecordId: g.id(at).String(), MsgId: "msg_1", InputTokens: int64(g.random.IntN(3000)),
		OutputTokens: int64(20 + g.random.IntN(1500)), CacheReadInputTokens: r.cached, CreatedAt: timestamppb.New(at),
	}
	told := map[string]any{"model": model, "service_tier": "standard"}
	if r.kind == "anthropic" {
		u.CacheWriteInputTokens = int64(g.random.IntN(4000))
		told["cache_ephemeral_5m_input"], told["cache_ephemeral_1h_input"] = u.GetCacheWriteInputTokens(), 0
		told["raw"] = fmt.Sprintf(`{"input_tokens":%d,"output_tokens":%d}`, u.GetInputTokens(), u.GetOutputTokens())
	}
	u.Metadata = metadata(told)
	return &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: u}}
}

func metadata(values map[string]any) map[string]*anypb.Any {
	packed := make(map[string]*anypb.Any, len(values))
	for name, value := range values {
		wrapped, err := structpb.NewValue(value)
		if err != nil {
			panic(err) // All values are texts and numbers.
		}
		if packed[name], err = anypb.New(wrapped); err != nil {
			panic(err)
		}
	}
	return packed
}
