package prices

import (
	"cmp"
	"encoding/json"
	"math"
	"strings"

	"github.com/shopspring/decimal"
)

// unit says where the price of a kind of usage stands in the table, and for how many of them it is, as a power of ten.
type unit struct {
	key string
	per int32
}

// units returns the units of all kinds that a price may be set for.
func units() map[Kind]unit {
	const million, thousand = 6, 3
	return map[Kind]unit{
		Input: {"input_mtok", million}, CacheRead: {"cache_read_mtok", million}, CacheWrite: {"cache_write_mtok", million},
		CacheWrite1h: {"cache_write_1h_mtok", million}, Output: {"output_mtok", million},
		OutputReasoning: {"output_reasoning_mtok", million}, InputAudio: {"input_audio_mtok", million},
		OutputAudio: {"output_audio_mtok", million}, Image: {"", million}, Advice: {"", million},
		WebSearch: {"web_searches_kcount", thousand}, FileSearch: {"storage_searches_kcount", thousand},
		CodeExecution: {"code_execution_kcount", thousand}, Request: {"requests_kcount", thousand},
	}
}

// Each token of a stream takes about so many bytes: of the Messages API, whose events hold several tokens, and of the
// others, whose events hold one. They are for streams that were cut only.
const (
	messagesBytesPerToken = 30
	eventBytesPerToken    = 250
)

// Cost returns what a usage cost.
func (b *Book) Cost(u Usage) Cost {
	told := readMetadata(u.Metadata)
	if usd, ok := told.reportedCost(u.BYOK); ok {
		return Cost{USD: usd, Items: []Item{}, Row: "upstream", Exact: true}
	}
	cost := Cost{Items: []Item{}}
	a, known := b.applicable(u.Provider, []string{told.Model, u.Model}, u.At)
	cost.Row, cost.Exact = a.title, a.exact
	output := max(u.Output, 0)
	if told.Partial {
		perToken := int64(eventBytesPerToken)
		if u.Provider.Type == "anthropic" || u.Provider.Type == "bedrock" || strings.Contains(a.name, "claude") {
			perToken = messagesBytesPerToken
		}
		output, cost.Estimated = max(output, u.Delivered/perToken-u.Before), true
	}
	by, notes, certain := multiplier(told.labels(), a.vendor, a.name, a.factors)
	cost.Notes = notes
	if !known {
		cost.Notes = append(cost.Notes, "no price for "+cmp.Or(told.Model, u.Model, "a model without a name"))
	}
	p := pricing{row: a.row, claude: strings.Contains(a.name, "claude"), by: by, certain: certain}
	p.prompt(max(u.Input, 0), max(u.CacheRead, 0), max(u.CacheWrite, 0), told)
	p.output(output, told)
	p.tools(told)
	p.compaction(told)
	for _, item := range p.items {
		cost.USD = cost.USD.Add(item.USD)
	}
	cost.Items = append(cost.Items, p.items...)
	return cost
}

// pricing computes the items of one usage.
type pricing struct {
	row     row
	claude  bool            // The cost of cache writes follows from that of input.
	by      decimal.Decimal // Of tokens.
	certain bool            // by is known.
	size    int64           // Of the prompt, cached tokens included.
	items   []Item
}

// price returns the price of one unit, for the size of the prompt, and whether it is known.
func (p *pricing) price(kind Kind) (decimal.Decimal, bool) {
	unit := units()[kind]
	if found, ok := p.row.Prices[unit.key]; ok {
		return found.at(p.size).Shift(-unit.per), true
	}
	input, ok := p.row.Prices["input_mtok"]
	if !ok || !p.claude {
		return decimal.Zero, false
	}
	switch kind {
	case CacheWrite1h:
		return input.at(p.size).Mul(decimal.NewFromInt(2)).Shift(-6), true
	case CacheWrite:
		return input.at(p.size).Mul(decimal.NewFromFloat(1.25)).Shift(-6), true
	default:
		return decimal.Zero, false
	}
}

// has reports whether a kind has a price of its own.
func (p *pricing) has(kind Kind) bool { _, ok := p.row.Prices[units()[kind].key]; return ok }

func (p *pricing) add(kind Kind, count int64) {
	if count <= 0 {
		return
	}
	item := Item{Kind: kind, Count: count, State: Unknown}
	each, known := p.price(kind)
	switch {
	case !known:
	case each.IsZero():
		item.State = Free
	case !kind.tokens():
		item.State, item.USD = Priced, each.Mul(decimal.NewFromInt(count))
	case p.certain:
		item.State, item.USD = Priced, each.Mul(decimal.NewFromInt(count)).Mul(p.by)
	}
	p.items = append(p.items, item)
}

// prompt adds what a prompt cost. Its whole size picks the prices, of the answer too.
func (p *pricing) prompt(input, read, write int64, told metadata) {
	p.size = sum(input, read, write)
	audio := min(told.PromptAudio, input)
	p.add(Input, input-audio)
	p.add(InputAudio, audio)
	p.add(CacheRead, read)
	five, hour := told.CacheWrite5m, told.CacheWrite1h
	switch {
	case five >= 0 && hour >= 0 && sum(five, hour) == write:
	case told.CacheTTL == "1h" && five == 0 && hour == 0: // The upstream does not tell: the request did.
		five, hour = 0, write
	default:
		five, hour = write, 0
	}
	p.add(CacheWrite, five)
	p.add(CacheWrite1h, hour)
}

func (p *pricing) output(output int64, told metadata) {
	audio := min(told.CompletionAudio, output)
	reasoning := int64(0)
	if p.has(OutputReasoning) {
		reasoning = min(told.reasoning(), output-audio)
	}
	p.add(Output, output-audio-reasoning)
	p.add(OutputAudio, audio)
	p.add(OutputReasoning, reasoning)
}

// tools adds what hosted tools cost. Fetches of pages and searches for tools cost nothing but their tokens.
func (p *pricing) tools(told metadata) {
	p.add(WebSearch, told.WebSearches)
	p.add(FileSearch, told.FileSearches)
	p.add(CodeExecution, sum(told.CodeExecutions, told.CodeInterpreters))
	p.add(Image, sum(told.ImageInput, told.ImageOutput))
	p.add(Advice, sum(told.AdvisorInput, told.AdvisorOutput, told.AdvisorCacheRead, told.AdvisorCacheWrite,
		told.OtherInput, told.OtherOutput, told.OtherCacheRead, told.OtherCacheWrite))
	if p.has(Request) {
		p.add(Request, 1)
	}
}

// compaction adds what it cost that the API summed the conversation up: a request of its own, to the same model.
func (p *pricing) compaction(told metadata) {
	own := pricing{row: p.row, claude: p.claude, by: p.by, certain: p.certain}
	own.prompt(told.CompactionInput, told.CompactionCacheRead, told.CompactionCacheWrite, metadata{})
	own.output(told.CompactionOutput, metadata{})
	p.items = append(p.items, own.items...)
}

// sum adds counts. It stays within an int64.
func sum(counts ...int64) (all int64) {
	for _, n := range counts {
		if n = max(n, 0); all > math.MaxInt64-n {
			return math.MaxInt64
		}
		all += n
	}
	return all
}

// metadata is what a recorded usage says beside its tokens.
type metadata struct {
	Partial                          bool
	Model                            string // That answered.
	ServiceTier, Speed, InferenceGeo string
	CacheTTL                         string // The time that the request asked its cache writes to be kept for: "5m" or "1h".
	Raw                              string // The upstream's own usage object.

	CacheWrite5m, CacheWrite1h                                                   int64
	PromptAudio, CompletionAudio                                                 int64
	WebSearches, FileSearches, CodeExecutions, CodeInterpreters                  int64
	ImageInput, ImageOutput                                                      int64
	AdvisorInput, AdvisorOutput, AdvisorCacheRead, AdvisorCacheWrite             int64
	OtherInput, OtherOutput, OtherCacheRead, OtherCacheWrite                     int64
	CompactionInput, CompactionOutput, CompactionCacheRead, CompactionCacheWrite int64
	OutputThinking, CompletionReasoning, OutputReasoning                         int64
}

// readMetadata reads what is recorded. What is not as expected counts as not there.
func readMetadata(text []byte) (m metadata) {
	members := map[string]json.RawMessage{}
	if len(text) == 0 || json.Unmarshal(text, &members) != nil {
		return m
	}
	read(members, "partial", &m.Partial)
	for name, to := range map[string]*string{
		"service_tier": &m.ServiceTier, "speed": &m.Speed, "inference_geo": &m.InferenceGeo, "cache_ttl": &m.CacheTTL, "raw": &m.Raw, "model": &m.Model,
	} {
		read(members, name, to)
	}
	for name, to := range map[string]*int64{
		"cache_ephemeral_5m_input": &m.CacheWrite5m, "cache_ephemeral_1h_input": &m.CacheWrite1h,
		"prompt_audio": &m.PromptAudio, "completion_audio": &m.CompletionAudio,
		"web_search_requests": &m.WebSearches, "file_search_requests": &m.FileSearches,
		"code_execution_requests": &m.CodeExecutions, "code_interpreter_requests": &m.CodeInterpreters,
		"image_gen_input": &m.ImageInput, "image_gen_output": &m.ImageOutput,
		"advisor_input": &m.AdvisorInput, "advisor_output": &m.AdvisorOutput,
		"advisor_cache_read": &m.AdvisorCacheRead, "advisor_cache_write": &m.AdvisorCacheWrite,
		"other_iterations_input": &m.OtherInput, "other_iterations_output": &m.OtherOutput,
		"other_iterations_cache_read": &m.OtherCacheRead, "other_iterations_cache_write": &m.OtherCacheWrite,
		"compaction_input": &m.CompactionInput, "compaction_output": &m.CompactionOutput,
		"compaction_cache_read": &m.CompactionCacheRead, "compaction_cache_write": &m.CompactionCacheWrite,
		"output_thinking": &m.OutputThinking, "completion_reasoning": &m.CompletionReasoning, "output_reasoning": &m.OutputReasoning,
	} {
		read(members, name, to)
		*to = max(*to, 0)
	}
	return m
}

// read sets to to the member with that name, if it has its type.
func read[T any](members map[string]json.RawMessage, name string, to *T) {
	var value T
	if text, ok := members[name]; ok && json.Unmarshal(text, &value) == nil {
		*to = value
	}
}

func (m metadata) labels() map[string]string {
	return map[string]string{"service_tier": m.ServiceTier, "speed": m.Speed, "inference_geo": m.InferenceGeo}
}

func (m metadata) reasoning() int64 {
	return max(m.OutputThinking, m.CompletionReasoning, m.OutputReasoning)
}

// reportedCost returns the cost that the upstream itself told, if it did. What it paid to a vendor with the caller's own
// credential comes on top: else its cost has that already.
func (m metadata) reportedCost(byok bool) (decimal.Decimal, bool) {
	var raw struct {
		Cost    json.RawMessage `json:"cost"`
		IsBYOK  bool            `json:"is_byok"`
		Details struct {
			Upstream *decimal.Decimal `json:"upstream_inference_cost"`
		} `json:"cost_details"`
	}
	if m.Raw == "" || json.Unmarshal([]byte(m.Raw), &raw) != nil || len(raw.Cost) == 0 {
		return decimal.Zero, false
	}
	var cost *decimal.Decimal
	if raw.Cost[0] == '{' {
		var parts struct {
			Total *decimal.Decimal `json:"total_cost"`
		}
		if json.Unmarshal(raw.Cost, &parts) != nil {
			return decimal.Zero, false
		}
		cost = parts.Total
	} else if json.Unmarshal(raw.Cost, &cost) != nil {
		return decimal.Zero, false
	}
	if cost == nil || cost.IsNegative() || !sensible(*cost) {
		return decimal.Zero, false
	}
	if upstream := raw.Details.Upstream; (byok || raw.IsBYOK) && upstream != nil && upstream.IsPositive() && sensible(*upstream) {
		return cost.Add(*upstream), true
	}
	return *cost, true
}

// sensible reports whether an amount has an exponent that amounts have: to add one of a billion takes a billion digits.
func sensible(amount decimal.Decimal) bool {
	return amount.Exponent() >= -40 && amount.Exponent() <= 12 && amount.NumDigits() <= 40
}
