package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/fakemcp"
)

// query is an expression of a dashboard or an alert, and the labels that the text beside it uses.
type query struct {
	name, expr string
	shown      []string
}

// labelsIn returns the labels in a legend or an annotation.
func labelsIn(text string) []string {
	var labels []string
	for _, match := range regexp.MustCompile(`{{ *(?:\$labels\.)?(\w+) *}}`).FindAllStringSubmatch(text, -1) {
		labels = append(labels, match[1])
	}
	return labels
}

// readDashboard returns the queries of deploy/dashboard.json.
func readDashboard(t *testing.T) []query {
	t.Helper()
	text, err := os.ReadFile("../../deploy/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []query
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q: its id %d is another's, or it shows nothing", panel.Title, panel.ID)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries = append(queries, query{panel.Title, target.Expr, labelsIn(target.LegendFormat)})
		}
	}
	values := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
	for _, variable := range dashboard.Templating.List {
		if variable.Type != "query" {
			continue
		}
		match := values.FindStringSubmatch(variable.Query)
		if match == nil {
			t.Fatalf("variable %s: %s", variable.Name, variable.Query)
		}
		queries = append(queries, query{variable.Name, match[1], []string{match[2]}})
	}
	return queries
}

// readAlerts returns the queries of deploy/alerts.yaml.
func readAlerts(t *testing.T) []query {
	t.Helper()
	text, err := os.ReadFile("../../deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(text, &rules, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var queries []query
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Annotations["summary"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("alert %s has no summary or no severity", rule.Alert)
			}
			queries = append(queries, query{rule.Alert, rule.Expr, labelsIn(rule.Annotations["summary"] + rule.Annotations["description"])})
		}
	}
	return queries
}

// scraped is what a gateway exposes: the type of each metric, and the values of its labels.
type scraped struct {
	types  map[string]string
	labels map[string]map[string][]string
}

func parseScrape(text string) scraped {
	s := scraped{types: map[string]string{}, labels: map[string]map[string][]string{}}
	sample, label := regexp.MustCompile(`^([a-z_]+)(?:{(.*)})? \S+$`), regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
			s.types[fields[2]] = fields[3]
		}
		match := sample.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		if s.labels[match[1]] == nil {
			s.labels[match[1]] = map[string][]string{"instance": nil, "job": nil} // Prometheus adds these.
		}
		for _, pair := range label.FindAllStringSubmatch(match[2], -1) {
			s.labels[match[1]][pair[1]] = append(s.labels[match[1]][pair[1]], pair[2])
		}
	}
	return s
}

// check returns what is wrong with a query: metrics and labels that the gateway does not have, values that a label never has,
// and rates of what is no counter.
func (s scraped) check(q query) []string {
	var wrong []string
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	metric := regexp.MustCompile(`((?:\w+\()*)\b((?:aibridged|process|go)_\w+)(?:{([^}]*)})?`)
	labels := map[string]bool{}
	found := metric.FindAllStringSubmatch(q.expr, -1)
	if len(found) == 0 {
		fail("no metric in %s", q.expr)
	}
	for _, match := range found {
		name, has := match[2], s.labels[match[2]]
		if has == nil {
			fail("no metric %s", name)
			continue
		}
		for label := range has {
			labels[label] = true
		}
		family := strings.TrimSuffix(name, "_bucket")
		isRate := strings.Contains(match[1], "rate(") || strings.Contains(match[1], "increase(")
		if isRate != (s.types[family] == "counter" || s.types[family] == "histogram") {
			fail("%s is a %s", name, s.types[family])
		}
		for _, pair := range regexp.MustCompile(`(\w+)([=!~]+)"([^"]*)"`).FindAllStringSubmatch(match[3], -1) {
			values, ok := has[pair[1]]
			if !ok {
				fail("%s has no label %s", name, pair[1])
			}
			for value := range strings.SplitSeq(pair[3], "|") {
				if !strings.HasPrefix(value, "$") && !slices.Contains(values, value) && !(pair[1] == "status" && isErrorType(value)) {
					fail("%s of %s is never %q", pair[1], name, value)
				}
			}
		}
	}
	for _, match := range regexp.MustCompile(`\b(?:by|on) *\(([^)]*)\)`).FindAllStringSubmatch(q.expr, -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			if !labels[strings.TrimSpace(label)] {
				fail("no label %s in %s", label, q.expr)
			}
		}
	}
	for _, label := range q.shown {
		if !labels[label] || !regexp.MustCompile(`\bby *\([^)]*\b`+label+`\b[^)]*\)`).MatchString(q.expr) && strings.Contains(q.expr, "by") {
			fail("%s shows the label %s, which it does not have", q.expr, label)
		}
	}
	return wrong
}

// isErrorType reports whether interceptions can end with this status.
func isErrorType(status string) bool {
	return slices.Contains([]aibridge.ErrorType{
		aibridge.ErrorBadRequest, aibridge.ErrorUnauthorized, aibridge.ErrorRateLimited, aibridge.ErrorOverloaded, aibridge.ErrorTimeout,
		aibridge.ErrorServer, aibridge.ErrorTruncated, aibridge.ErrorClientClosed, aibridge.ErrorUnknown,
	}, aibridge.ErrorType(status))
}

// TestDeployedQueries holds each query of the dashboard and of the alerts against what a gateway exposes that has served all
// kinds of requests.
func TestDeployedQueries(t *testing.T) {
	tools := httptest.NewServer(fakemcp.New(fakemcp.Tool{Name: "search", Results: []json.RawMessage{json.RawMessage(`{"content":[{"type":"text","text":"found"}]}`)}}))
	defer func() {
		tools.CloseClientConnections()
		tools.Close()
	}()
	s := serveWith(t, "- {name: odd, type: acme}\nadmission: {user_per_minute: 2}\nmcp_servers: [{id: docs, url: '"+tools.URL+"'}]\n")
	token := s.token(t)
	for _, body := range []string{
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"[[tool: bmcp_docs_search {}]] [[then]] [[text: Done.]]"}]}`,
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"[[tool: Bash {}]]"}],"tools":[{"name":"Bash","input_schema":{"type":"object"}}]}`,
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"One too many."}]}`,
	} {
		s.ask(t, "/anthropic/v1/messages", token, body)
	}
	s.ask(t, "/anthropic/v1/messages/count_tokens", token, `{}`)
	got := parseScrape(s.metrics(t))
	queries := append(readDashboard(t), readAlerts(t)...)
	if len(queries) < 40 {
		t.Errorf("%d queries", len(queries))
	}
	for _, query := range queries {
		for _, wrong := range got.check(query) {
			t.Errorf("%s: %s", query.name, wrong)
		}
	}
	for expr, want := range map[string]string{ // The check itself.
		"rate(aibridged_no_such_total[5m])":                            "no metric",
		"aibridged_interceptions_total":                                "is a counter",
		"rate(aibridged_records_pending[5m])":                          "is a gauge",
		`aibridged_key_pool_state{provder="anthropic"}`:                "has no label",
		`aibridged_key_pool_state{state="asleep"}`:                     "is never",
		"sum by (modle) (rate(aibridged_interceptions_total[5m]))":     "no label",
		`rate(aibridged_interceptions_total{status=~"success|x"}[1m])`: "is never",
	} {
		if wrong := strings.Join(got.check(query{expr: expr}), "; "); !strings.Contains(wrong, want) {
			t.Errorf("%s: %q", expr, wrong)
		}
	}
}
