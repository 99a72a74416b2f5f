package prices

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// unit says where the price of a kind of usage stands in the table, and for how many of them it is, as a power of ten.
type unit struct {
	key string
	per int32
}

// unit returns the unit of a kind, and whether a price may be set for it.
func (k Kind) unit() (unit, bool) {
	const million, thousand = 6, 3
	switch k {
	case Input, Output, CacheRead, CacheWrite, CacheWrite1h, OutputReasoning, InputAudio, OutputAudio:
		return unit{string(k) + "_mtok", million}, true
	case WebSearch:
		return unit{"web_searches_kcount", thousand}, true
	case FileSearch:
		return unit{"storage_searches_kcount", thousand}, true
	case CodeExecution:
		return unit{"code_execution_kcount", thousand}, true
	case ImageCall:
		return unit{"image_generation_kcount", thousand}, true
	case Request:
		return unit{"requests_kcount", thousand}, true
	default:
		return unit{}, false
	}
}

// What an upstream claims beyond these numbers, for one request, is unknown: nobody believes it.
const (
	believableUSD   = 1_000_000
	believableCount = 1_000_000_000_000
)

// Each token of a stream takes about so many bytes: of the Messages API, whose events hold several tokens, and of the
// others, whose events hold one. They are for streams that were cut only.
const (
	messagesBytesPerToken = 30
	eventBytesPerToken    = 250
)

// Cost returns what a usage cost.
func (b *Book) Cost(u Usage) Cost {
	told := readMetadata(u.Metadata)
	usage := readRaw(told.Raw)
	if usd, isPart, ok := told.reportedCost(u.BYOK); ok {
		if usd.GreaterThan(decimal.NewFromInt(believableUSD)) {
			return Cost{Items: []Item{{Kind: Told, State: Unknown}}, Row: "upstream", Exact: true, Notes: []string{"the upstream told $" + usd.String() + ", which nobody believes"}}
		}
		told := Cost{USD: usd, Items: []Item{}, Row: "upstream", Exact: true}
		if isPart {
			told.Items = append(told.Items, Item{Kind: Told, State: Unknown})
			told.Notes = []string{"the upstream told its own part, and not what the vendor takes from the caller"}
		}
		return told
	}
	cost := Cost{Items: []Item{}}
	a, known := b.applicable(u.Provider, []string{told.Model, told.SentModel, u.Model}, u.At)
	cost.Row, cost.Exact = a.title, a.exact
	output := max(u.Output, 0)
	if told.Partial || u.Unmetered && u.Delivered > 0 {
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
	if u.Unmetered {
		p.unknown(Input)
		cost.Notes = append(cost.Notes, "the answer was cut before the upstream told what it used")
	}
	if told.Untold {
		p.unknown(Input)
		cost.Notes = append(cost.Notes, "the upstream told no usage of this round")
	}
	for _, kind := range usage.unreadable {
		p.unknown(kind)
		cost.Notes = append(cost.Notes, "what the upstream told of "+string(kind)+" is no number")
	}
	if told.Raw != "" && !usage.tellsTokens && sum(u.Input, u.Output, u.CacheRead, u.CacheWrite) == 0 {
		p.unknown(Input)
		cost.Notes = append(cost.Notes, "the upstream told a usage without tokens")
	}
	p.prompt(max(u.Input, 0), max(u.CacheRead, 0), max(u.CacheWrite, 0), told)
	p.output(output, told)
	p.tools(told, usage, u.Hosted)
	p.compaction(told)
	cost.Notes = append(cost.Notes, p.notes...)
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
	notes   []string
}

// price returns the price of one unit, for the size of the prompt, and whether it is known.
func (p *pricing) price(kind Kind) (decimal.Decimal, bool) {
	unit, _ := kind.unit()
	if found, ok := p.row.Prices[unit.key]; ok {
		each, known := found.at(p.size)
		return each.Shift(-unit.per), known
	}
	found, ok := p.row.Prices["input_mtok"]
	input, known := found.at(p.size)
	if !ok || !known || !p.claude {
		return decimal.Zero, false
	}
	switch kind {
	case CacheWrite1h:
		return input.Mul(decimal.NewFromInt(2)).Shift(-6), true
	case CacheWrite:
		return input.Mul(decimal.NewFromFloat(1.25)).Shift(-6), true
	default:
		return decimal.Zero, false
	}
}

// has reports whether a kind has a price of its own.
func (p *pricing) has(kind Kind) bool {
	unit, _ := kind.unit()
	_, ok := p.row.Prices[unit.key]
	return ok
}

func (p *pricing) add(kind Kind, count int64) {
	if count <= 0 {
		return
	}
	item := Item{Kind: kind, Count: count, State: Unknown}
	each, known := p.price(kind)
	switch {
	case !known:
	case count > believableCount:
		p.notes = append(p.notes, "the upstream told a number of "+string(kind)+" that nobody believes")
	case each.IsZero():
		item.State = Free
	case !kind.tokens():
		item.State, item.USD = Priced, each.Mul(decimal.NewFromInt(count))
	case p.certain:
		item.State, item.USD = Priced, each.Mul(decimal.NewFromInt(count)).Mul(p.by)
	}
	if item.USD.GreaterThan(decimal.NewFromInt(believableUSD)) {
		item.State, item.USD = Unknown, decimal.Zero
		p.notes = append(p.notes, "a cost of "+string(kind)+" that nobody believes")
	}
	p.items = append(p.items, item)
}

// unknown notes that nobody knows how much of a kind there was.
func (p *pricing) unknown(kind Kind) { p.items = append(p.items, Item{Kind: kind, State: Unknown}) }

// prompt adds what a prompt cost. Its whole size picks the prices, of the answer too.
func (p *pricing) prompt(input, read, write int64, told metadata) {
	five, hour := told.CacheWrite5m, told.CacheWrite1h
	if write == 0 { // Only the parts are told.
		write = sum(five, hour)
	}
	p.size = sum(input, read, write)
	audio := min(max(told.PromptAudio, 0), input)
	p.add(Input, input-audio)
	p.add(InputAudio, audio)
	p.add(CacheRead, read)
	switch {
	case five >= 0 && hour >= 0 && sum(five, hour) == write:
	case told.CacheTTL == "1h" && five == 0 && hour == 0: // The upstream does not tell: the request did.
		five, hour = 0, write
	case told.CacheTTL == mixedTTL && five == 0 && hour == 0:
		five, hour = 0, 0
		p.unknown(CacheWrite)
		p.notes = append(p.notes, "the request asked for cache writes of five minutes and of an hour, and the upstream does not tell how many were which")
	default:
		five, hour = write, 0
	}
	p.add(CacheWrite, five)
	p.add(CacheWrite1h, hour)
}

func (p *pricing) output(output int64, told metadata) {
	audio := min(max(told.CompletionAudio, 0), output)
	reasoning := int64(0)
	if p.has(OutputReasoning) {
		reasoning = min(told.reasoning(), output-audio)
	}
	p.add(Output, output-audio-reasoning)
	p.add(OutputAudio, audio)
	p.add(OutputReasoning, reasoning)
}

// tools adds what hosted tools cost. Fetches of pages and searches for tools cost nothing but their tokens. The same calls
// are told in the usage, under several names: the largest number counts. Calls in the answer count where the usage tells none of
// their kind, not even that there were none: a search that failed is in the answer, and costs nothing.
func (p *pricing) tools(told metadata, usage rawUsage, seen map[Kind]int64) {
	number := func(kind Kind, counts ...int64) int64 {
		in, isTold := usage.calls[kind]
		if n := max(sum(counts...), in); n > 0 || isTold || slices.Contains(usage.unreadable, kind) {
			return n
		}
		return seen[kind]
	}
	calls := func(kind Kind, counts ...int64) { p.add(kind, number(kind, counts...)) }
	calls(WebSearch, told.WebSearches)
	calls(FileSearch, told.FileSearches)
	calls(CodeExecution, told.CodeExecutions, told.CodeInterpreters)
	calls(HostedTool)
	images := sum(told.ImageInput, told.ImageOutput)
	p.add(Image, images)
	if images == 0 {
		calls(ImageCall)
	}
	if p.has(WebSearch) { // Else they are part of the price of a request.
		if queries := usage.queries; queries > number(WebSearch, told.WebSearches) {
			p.add(WebSearch, queries)
		}
	}
	p.add(Unaccounted, told.Unaccounted)
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
	p.items, p.notes = append(p.items, own.items...), append(p.notes, own.notes...)
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

// mixedTTL says that a request asked for cache writes of both times.
const mixedTTL = "mixed"

// metadata is what a recorded usage says beside its tokens.
type metadata struct {
	Partial      bool   `json:"partial"`
	Model        string `json:"model"`      // That answered.
	SentModel    string `json:"sent_model"` // What the upstream calls the one that was asked for, if it is another name.
	ServiceTier  string `json:"service_tier"`
	Speed        string `json:"speed"`
	InferenceGeo string `json:"inference_geo"`
	Untold       bool   `json:"untold"`    // The answer told no usage.
	CacheTTL     string `json:"cache_ttl"` // The time that the request asked its cache writes to be kept for, if not five minutes alone: "1h" or mixedTTL.
	Raw          string `json:"raw"`       // The upstream's own usage object.

	Unaccounted          int64 `json:"unaccounted_tokens"`
	CacheWrite5m         int64 `json:"cache_ephemeral_5m_input"`
	CacheWrite1h         int64 `json:"cache_ephemeral_1h_input"`
	PromptAudio          int64 `json:"prompt_audio"`
	CompletionAudio      int64 `json:"completion_audio"`
	OutputThinking       int64 `json:"output_thinking"`
	CompletionReasoning  int64 `json:"completion_reasoning"`
	OutputReasoning      int64 `json:"output_reasoning"`
	WebSearches          int64 `json:"web_search_requests"`
	FileSearches         int64 `json:"file_search_requests"`
	CodeExecutions       int64 `json:"code_execution_requests"`
	CodeInterpreters     int64 `json:"code_interpreter_requests"`
	ImageInput           int64 `json:"image_gen_input"`
	ImageOutput          int64 `json:"image_gen_output"`
	AdvisorInput         int64 `json:"advisor_input"`
	AdvisorOutput        int64 `json:"advisor_output"`
	AdvisorCacheRead     int64 `json:"advisor_cache_read"`
	AdvisorCacheWrite    int64 `json:"advisor_cache_write"`
	OtherInput           int64 `json:"other_iterations_input"`
	OtherOutput          int64 `json:"other_iterations_output"`
	OtherCacheRead       int64 `json:"other_iterations_cache_read"`
	OtherCacheWrite      int64 `json:"other_iterations_cache_write"`
	CompactionInput      int64 `json:"compaction_input"`
	CompactionOutput     int64 `json:"compaction_output"`
	CompactionCacheRead  int64 `json:"compaction_cache_read"`
	CompactionCacheWrite int64 `json:"compaction_cache_write"`
}

// readMetadata reads what is recorded. A member of another type counts as not there.
func readMetadata(text []byte) (m metadata) {
	if len(text) == 0 {
		return m
	}
	var wrongType *json.UnmarshalTypeError // All other members are read.
	if err := json.Unmarshal(text, &m); err != nil && !errors.As(err, &wrongType) {
		return metadata{}
	}
	return m
}

// IsPartial reports whether the metadata of a recorded usage says that its answer was cut.
func IsPartial(text []byte) bool { return readMetadata(text).Partial }

func (m metadata) labels() [3]label {
	return [...]label{{"service_tier", m.ServiceTier}, {"speed", m.Speed}, {"inference_geo", m.InferenceGeo}}
}

func (m metadata) reasoning() int64 {
	return max(m.OutputThinking, m.CompletionReasoning, m.OutputReasoning, 0)
}

// reportedCost returns the cost that the upstream itself told, if it did. What it paid to a vendor with the caller's own
// credential comes on top: else its cost has that already. IsPart says that this was not told.
func (m metadata) reportedCost(byok bool) (usd decimal.Decimal, isPart, ok bool) {
	var raw struct {
		Cost    json.RawMessage `json:"cost"`
		IsBYOK  bool            `json:"is_byok"`
		Details struct {
			Upstream *decimal.Decimal `json:"upstream_inference_cost"`
		} `json:"cost_details"`
	}
	if m.Raw == "" || json.Unmarshal([]byte(m.Raw), &raw) != nil || len(raw.Cost) == 0 {
		return decimal.Zero, false, false
	}
	var cost *decimal.Decimal
	if raw.Cost[0] == '{' {
		var parts struct {
			Total *decimal.Decimal `json:"total_cost"`
		}
		if json.Unmarshal(raw.Cost, &parts) != nil {
			return decimal.Zero, false, false
		}
		cost = parts.Total
	} else if json.Unmarshal(raw.Cost, &cost) != nil {
		return decimal.Zero, false, false
	}
	if cost == nil || cost.IsNegative() || !sensible(*cost) {
		return decimal.Zero, false, false
	}
	if raw.IsBYOK && cost.IsZero() && raw.Details.Upstream == nil {
		return decimal.Zero, false, false // It is what the upstream itself takes, and the vendor's part is not told.
	}
	if upstream := raw.Details.Upstream; (byok || raw.IsBYOK) && upstream != nil && upstream.IsPositive() && sensible(*upstream) {
		return cost.Add(*upstream), false, true
	}
	return *cost, raw.IsBYOK && raw.Details.Upstream == nil, true
}

// sensible reports whether an amount has an exponent that amounts have: to add one of a billion takes a billion digits.
func sensible(amount decimal.Decimal) bool {
	return amount.Exponent() >= -40 && amount.Exponent() <= 12 && amount.NumDigits() <= 40
}
