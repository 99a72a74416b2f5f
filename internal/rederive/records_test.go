package rederive_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
)

func formats() []string {
	return []string{rederive.FormatMessages, rederive.FormatChat, rederive.FormatResponses}
}

// checkExchange makes the exchange of a seed, plays it, and returns the differences.
func checkExchange(t testing.TB, gateway *gateway, format string, seed uint64, mutations []byte) {
	d := newDice(seed)
	request := newAsk(d, format, !d.oneIn(3))
	answer := newUpstream(d, format, request, mutations)
	p := gateway.play(t, d, format, request, answer)
	if wrong := p.check(format); len(wrong) > 0 {
		t.Errorf("seed %d:\n\t%s\nrequest %v %s\nanswer %d %v, whole: %v, client left: %v\n%s", seed, strings.Join(wrong, "\n\t"),
			request.header, request.body, answer.status, answer.header, answer.whole, p.left, answer.body[:p.handed])
	}
}

// TestRecordsAreExact plays generated exchanges through a gateway: the bytes stay unchanged, and the records equal what
// the second decoder derives from the bytes.
func TestRecordsAreExact(t *testing.T) {
	const exchanges = 700
	for _, format := range formats() {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			gateway := newGateway(t)
			for seed := range uint64(exchanges) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { checkExchange(t, gateway, format, seed, nil) })
			}
		})
	}
}

// TestTwins plays each answer twice, streamed and not: both must leave the same records.
func TestTwins(t *testing.T) {
	const pairs = 100
	for _, format := range formats() {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			gateway := newGateway(t)
			for seed := range uint64(pairs) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { checkTwins(t, gateway, format, seed) })
			}
		})
	}
}

func checkTwins(t *testing.T, gateway *gateway, format string, seed uint64) {
	speak := speakerOf(newDice(seed), format, newScript(newDice(seed), true), true)
	var facts []rederive.Facts
	for _, stream := range []bool{true, false} {
		d := newDice(seed)
		request := newAsk(d, format, stream)
		answer := newPlainUpstream(d, format, speak, stream)
		p := gateway.play(t, d, format, request, answer)
		for _, wrong := range p.check(format) {
			t.Errorf("stream: %t: %s", stream, wrong)
		}
		derived, err := rederive.Derive(p.exchange(format))
		if (err != nil) != request.refused {
			t.Fatal(err)
		}
		for _, usage := range derived.TokenUsages {
			delete(usage.Metadata, "raw") // The generator writes the usage object of each twin in another way.
		}
		facts = append(facts, derived)
	}
	for _, difference := range facts[0].Diff(facts[1]) {
		t.Errorf("the stream and its twin: %s", difference)
	}
}

func FuzzMessages(f *testing.F)  { fuzz(f, rederive.FormatMessages) }
func FuzzChat(f *testing.F)      { fuzz(f, rederive.FormatChat) }
func FuzzResponses(f *testing.F) { fuzz(f, rederive.FormatResponses) }

// fuzz plays exchanges with mutated streams: events are missing, repeated, in another order, or after an error.
func fuzz(f *testing.F, format string) {
	gateway := newGateway(f)
	f.Fuzz(func(t *testing.T, seed uint64, mutations []byte) { checkExchange(t, gateway, format, seed, mutations) })
}
