package prices

import (
	"strings"

	"github.com/tidwall/gjson"
)

// serverCall is how the ids begin of the calls in a Messages answer that the upstream itself ran.
const serverCall = "srvtoolu_"

// HostedKind returns what a recorded call is priced as, by its tool, its ids and the beginning of its input: server tools of the
// Messages API, and items of the Responses API that are calls without a call id, were run by the upstream. Empty: such a call costs
// nothing but tokens, or the client runs it.
func HostedKind(tool, callID, itemID, input string) Kind {
	if strings.HasPrefix(callID, serverCall) && itemID == "" {
		return countedKind(tool)
	}
	if callID != "" || itemID == "" || !strings.HasSuffix(tool, "_call") {
		return ""
	}
	switch tool {
	case "web_search_call":
		if action := gjson.Get(input, "type").Str; action != "" && action != "search" { // It opens a page, or looks for text in it.
			return ""
		}
		return WebSearch
	case "file_search_call":
		return FileSearch
	case "code_interpreter_call":
		return CodeExecution
	case "image_generation_call":
		return ImageCall
	case "mcp_call", "tool_search_call", "function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call":
		return ""
	default:
		return HostedTool
	}
}

// countedKind returns the kind that a count of calls is priced as, by its name. Empty: such calls cost nothing but tokens. A
// name that is not known may cost something.
func countedKind(name string) Kind {
	stem := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_requests"), "_calls"), "s")
	switch stem {
	case "web_search", "x_search", "live_search":
		return WebSearch
	case "file_search", "collections_search":
		return FileSearch
	case "code_execution", "bash_code_execution", "text_editor_code_execution", "code_interpreter":
		return CodeExecution
	case "image_generation":
		return ImageCall
	case "web_fetch", "tool_search", "tool_search_tool_regex", "tool_search_tool_bm25", "advisor", "mcp", "tool_calls_requested", "tool_calls_executed", "view_image", "document_search":
		return ""
	default:
		return HostedTool
	}
}
