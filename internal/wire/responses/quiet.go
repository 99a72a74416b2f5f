package responses

// quietEvents is the table of the events of the API that say nothing of a call, a thought or usage, or nothing that
// another event does not say. It is written by the events' part of the answer, with what can happen to that.
var quietEvents = func() map[string]bool {
	events := map[string]bool{"ping": true, "keepalive": true}
	for part, happenings := range map[string][]string{
		"content_part":                    {"added", "done"},
		"output_text":                     {"done"},
		"output_text.annotation":          {"added"},
		"refusal":                         {"delta", "done"},
		"reasoning_part":                  {"added", "done"},
		"reasoning_summary_part":          {"added", "done"},
		"file_search_call":                {"in_progress", "searching", "completed"},
		"web_search_call":                 {"in_progress", "searching", "completed"},
		"code_interpreter_call":           {"in_progress", "interpreting", "completed"},
		"code_interpreter_call_code":      {"delta", "done"},
		"image_generation_call":           {"in_progress", "generating", "partial_image", "completed"},
		"mcp_call":                        {"in_progress", "completed", "failed"},
		"mcp_list_tools":                  {"in_progress", "completed", "failed"},
		"shell_call_command":              {"added", "delta", "done"},
		"shell_call_output_content":       {"delta", "done"},
		"apply_patch_call_operation_diff": {"delta", "done"},
		"compaction":                      {"compacting", "in_progress", "completed"},
		"audio":                           {"delta", "done"},
		"audio.transcript":                {"delta", "done"},
		"steer":                           {"accepted", "pending", "failed"},
	} {
		for _, happening := range happenings {
			events["response."+part+"."+happening] = true
		}
	}
	return events
}()

// saysNothing reports whether an event of that type is known and of no interest.
func saysNothing(kind string) bool { return quietEvents[kind] }
