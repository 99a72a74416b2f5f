package chat

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// usage is the usage of an answer. Some servers report it once, after the last choice; others beside the last choice;
// others in every chunk, as the figures so far.
type usage struct {
	told bool

	prompt, completion wire.Figure

	cached, cacheWrite, promptAudio      wire.Figure // Part of prompt.
	reasoning, audio, accepted, rejected wire.Figure // Part of completion.
}

// read reads a usage object. It ignores any other value.
func (u *usage) read(object gjson.Result) {
	if !object.IsObject() {
		return
	}
	u.told = true
	u.prompt.Read(object.Get("prompt_tokens"))
	u.completion.Read(object.Get("completion_tokens"))

	prompt := object.Get("prompt_tokens_details")
	u.cached.Read(prompt.Get("cached_tokens"))
	u.cacheWrite.Read(prompt.Get("cache_write_tokens"))
	u.promptAudio.Read(prompt.Get("audio_tokens"))

	completion := object.Get("completion_tokens_details")
	u.reasoning.Read(completion.Get("reasoning_tokens"))
	u.audio.Read(completion.Get("audio_tokens"))
	u.accepted.Read(completion.Get("accepted_prediction_tokens"))
	u.rejected.Read(completion.Get("rejected_prediction_tokens"))
}

// total returns the usage so far, or nil if none was reported.
func (u *usage) total(tier string) *wire.Usage {
	if !u.told {
		return nil
	}
	input, consistent := u.prompt.Less(u.cached, u.cacheWrite)
	return &wire.Usage{
		Input:      input,
		Output:     u.completion.Value(),
		CacheRead:  u.cached.Value(),
		CacheWrite: u.cacheWrite.Value(),
		Extra: wire.Extras(map[string]wire.Figure{
			"prompt_audio":                   u.promptAudio,
			"completion_audio":               u.audio,
			"completion_reasoning":           u.reasoning,
			"completion_accepted_prediction": u.accepted,
			"completion_rejected_prediction": u.rejected,
		}),
		ServiceTier: tier,
		Inconsistent: !consistent || u.promptAudio.Exceeds(u.prompt) || u.audio.Exceeds(u.completion) ||
			u.reasoning.Exceeds(u.completion) || u.accepted.Exceeds(u.completion) || u.rejected.Exceeds(u.completion),
	}
}
