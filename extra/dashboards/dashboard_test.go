package dashboards

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A dashboard is what these tests read of passbuddy.json.
type dashboard struct {
	ID     *int
	UID    string
	Inputs any `json:"__inputs"`
	Panels []struct {
		ID          int
		Title       string
		Description string
		Targets     []struct{ Expr string }
	}
	Templating struct{ List []struct{ Name string } }
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("passbuddy.json")
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Grafana takes it as it is: an id of another Grafana's, or __inputs, would stand in the way.
func TestTheDashboardCanBeProvisioned(t *testing.T) {
	d := readDashboard(t)
	if d.ID != nil || d.UID != "passbuddy" || d.Inputs != nil {
		t.Errorf("id %v, uid %q, __inputs %v", d.ID, d.UID, d.Inputs)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if got := strings.Join(variables, " "); got != "datasource job semaphore" {
		t.Errorf("its variables are %s", got)
	}
	seen := map[int]bool{}
	for _, p := range d.Panels {
		if seen[p.ID] || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d (%s): the id is used twice, or it has no description or no query", p.ID, p.Title)
		}
		seen[p.ID] = true
	}
}

var alerts = regexp.MustCompile(`(?m)^      - alert: PassBuddy(\w+)$`)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEachAlertHasARunbookAndIsTestedToFireAndToBeSilent(t *testing.T) {
	rules, tests, operations := read(t, "passbuddy.rules.yml"), read(t, "passbuddy.rules.test.yml"), read(t, "../../docs/operations.md")
	all := alerts.FindAllStringSubmatch(rules, -1)
	if len(all) != 12 {
		t.Errorf("there are %d alerts", len(all))
	}
	for _, alert := range all {
		name := "PassBuddy" + alert[1]
		if url := "/docs/operations.md#" + strings.ToLower(name) + "\n"; !strings.Contains(rules, url) {
			t.Errorf("no runbook_url ends with %s", url)
		}
		if heading := "\n### " + name + "\n"; !strings.Contains(operations, heading) {
			t.Errorf("docs/operations.md has no heading %s", name)
		}
		for _, what := range []string{", fires: ", ", silent: "} {
			if !strings.Contains(tests, "'"+name+what) {
				t.Errorf("no test is named %s%s", name, what)
			}
		}
	}
}
