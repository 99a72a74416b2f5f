package mcp_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/coder/aibridged/aibridge/mcp"
)

func ExampleManager() {
	there := server.NewMCPServer("weather", "1")
	there.AddTool(mcpgo.NewTool("forecast", mcpgo.WithString("city")),
		func(_ context.Context, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			return mcpgo.NewToolResultText("rain in " + request.GetString("city", "")), nil
		})
	there.AddTool(mcpgo.NewTool("set_weather"), nil)
	listening := httptest.NewServer(server.NewStreamableHTTPServer(there))
	defer listening.Close()

	proxy, err := mcp.NewStreamableHTTPProxy(mcp.ProxyOptions{
		ID:      "weather",
		URL:     listening.URL + "/mcp",
		Headers: map[string]string{"Authorization": "Bearer token-of-the-user"},
		Deny:    regexp.MustCompile("^set_"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	manager := mcp.NewManager([]mcp.ServerProxier{proxy}, mcp.ManagerOptions{})
	defer func() { _ = manager.Shutdown(ctx) }()
	if err := manager.Init(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for _, tool := range manager.Tools() {
		result, err := manager.Call(ctx, tool.ID, []byte(`{"city":"Bergen"}`))
		fmt.Println(tool.ID, result.Parts[0].Text, err)
	}
	// Output: bmcp_weather_forecast rain in Bergen <nil>
}
