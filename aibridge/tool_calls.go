package aibridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/wire"
)

// invocation is one call of a tool of the gateway that was run.
type invocation struct {
	call wire.ToolCall
	err  string // Why it has no result, or what the tool says went wrong; empty: it did not fail.
}

// runCalls runs the calls of a turn, as many at a time as the limit allows, and returns their results in the order of the
// calls. A call without a result has an error in its place, which the model can read.
func (x *relay) runCalls(calls []wire.ToolCall) []wire.Result {
	if x.tools.until.IsZero() {
		x.tools.until = time.Now().Add(x.tools.limits.Total)
	}
	results := make([]wire.Result, len(calls))
	run := make([]invocation, len(calls))
	x.meanwhile(func() {
		ctx, cancel := context.WithDeadline(x.ctx, x.tools.until)
		defer cancel()
		free := make(chan struct{}, x.tools.limits.Calls)
		var all sync.WaitGroup
		for i, call := range calls {
			all.Go(func() {
				select {
				case free <- struct{}{}:
					defer func() { <-free }()
				case <-ctx.Done():
				}
				results[i], run[i] = x.runCall(ctx, call)
			})
		}
		all.Wait()
	})
	x.lastRound().run = run
	return results
}

// declineCalls returns errors in the place of the results of calls that are not run, since the model will not read them. They
// are recorded, and kept where the provider insists on a result.
func (x *relay) declineCalls(calls []wire.ToolCall, why string) []wire.Result {
	results := make([]wire.Result, len(calls))
	for i, call := range calls {
		results[i] = failedResult(why)
		x.lastRound().run = append(x.lastRound().run, invocation{call: call, err: why})
	}
	return results
}

// What is told of calls that the end of the request cut off. A model that reads that one was not run makes it again.
const (
	callCut      = "the request ended while the tool ran: the call may have run, and its result is not known"
	callNotBegun = "the call was not run: the request ended before"
)

// runCall runs one call.
func (x *relay) runCall(ctx context.Context, call wire.ToolCall) (wire.Result, invocation) {
	tool := x.tools.set.byName[call.Name]
	ctx, span := x.bridge.options.Tracer.Start(ctx, "Intercept.ToolCall", trace.WithAttributes(
		spanOperation.String("execute_tool"), spanTool.String(spanName(call.Name)), spanToolCall.String(spanName(call.ID))))
	defer span.End()
	limited, cancel := context.WithTimeout(ctx, x.tools.limits.Call)
	defer cancel()
	var answered mcp.Result
	err, began := limited.Err(), false
	switch {
	case err != nil:
	case !isObject(call.Input):
		err = errors.New("the input of the call is not a JSON object")
	default:
		began = true
		err = contain.Call(func() (err error) {
			answered, err = x.bridge.options.Tools.Call(limited, call.Name, json.RawMessage(call.Input))
			return err
		})
	}
	result := wire.Result{IsError: answered.IsError}
	panicked, _ := errors.AsType[*contain.Panic](err)
	switch {
	case panicked != nil:
		x.bridge.options.Logger.Error(ctx, "calling a tool panicked", append(contain.Fields(err), slog.F("interception_id", x.id))...)
		result = failedResult("the tool could not be called")
	case err != nil && x.ctx.Err() != nil && began:
		result, err = failedResult(callCut), fmt.Errorf("%s: %w", callCut, context.Cause(x.ctx))
	case err != nil && x.ctx.Err() != nil:
		result, err = failedResult(callNotBegun), fmt.Errorf("%s: %w", callNotBegun, context.Cause(x.ctx))
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		result = failedResult(fmt.Sprintf("the tool did not answer within %s", x.tools.limits.Call))
	case errors.Is(err, context.DeadlineExceeded) && !began:
		result = failedResult(fmt.Sprintf("the call was not run: the tools of this request took longer than %s", x.tools.limits.Total))
	case errors.Is(err, context.DeadlineExceeded):
		result = failedResult(fmt.Sprintf("the tools of this request took longer than %s", x.tools.limits.Total))
	case err != nil:
		result = failedResult(toldOf(err))
	default:
		for _, part := range answered.Parts {
			result.Parts = append(result.Parts, wire.Part{Text: part.Text, MediaType: part.MediaType, Data: part.Data})
		}
	}
	done := invocation{call: call}
	if result.IsError {
		result = withReason(result)
		done.err = textOf(result)
		if err != nil && panicked == nil && !errors.Is(err, context.DeadlineExceeded) {
			done.err = err.Error()
		}
		span.SetStatus(codes.Error, "the call failed") // Why may be anything that the tool has said.
		span.SetAttributes(spanErrorType.String("tool_error"))
	}
	server := ""
	if tool != nil {
		server = tool.ServerID
		span.SetAttributes(attribute.String("mcp.server", server))
	}
	x.bridge.options.Metrics.invoked(x.interception, server, result.IsError)
	return result, done
}

// isObject reports whether a call's input is a JSON object. An empty one stands for an object without members.
func isObject(input string) bool {
	if input == "" {
		return true
	}
	object := wire.View([]byte(input))
	return object.IsObject() && wire.IsSound([]byte(input))
}

// toldOf returns what the model may know of an error. The record has all of it.
func toldOf(err error) string {
	if failure, ok := errors.AsType[interface {
		error
		Told() string
	}](err); ok {
		return failure.Told()
	}
	return err.Error()
}

// withReason returns an error with a text that the model can read.
func withReason(result wire.Result) wire.Result {
	for _, part := range result.Parts {
		if strings.TrimSpace(part.Text) != "" {
			return result
		}
	}
	result.Parts = slices.Insert(slices.Clone(result.Parts), 0, wire.Part{Text: "The tool failed and gave no reason."})
	return result
}

func failedResult(text string) wire.Result {
	return wire.Result{IsError: true, Parts: []wire.Part{{Text: text}}}
}

// textOf returns the first text of a result.
func textOf(result wire.Result) string {
	for _, part := range result.Parts {
		if part.Text != "" {
			return part.Text
		}
	}
	return ""
}
