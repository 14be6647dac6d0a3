package lease_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The arrows between the packages run one way: docs/architecture.md draws them. Each line has all packages of this
// module that a package may import, and whether it may talk to Redis.
func TestArrowsRunOneWay(t *testing.T) {
	const module = "github.com/eqworks/passbuddy/"
	arrows := map[string][]string{
		"internal/backoff":   {},
		"internal/hooks":     {},
		"internal/protocol":  {"internal/backoff"},
		"lease/scripts":      {},
		"internal/transport": {"internal/backoff", "internal/protocol", "lease/scripts", "go-redis"},
		"lease":              {"internal/hooks", "internal/protocol", "internal/transport", "lease/scripts", "go-redis"},
		"lease/leasehttp":    {"lease"},
		"lease/leader":       {"internal/backoff", "lease"},
		"internal/view":      {"lease"},
		"internal/telemetry": {"internal/transport", "lease"},
		"lease/leasetest":    {"internal/hooks", "internal/sim", "lease", "go-redis"},
	}
	free := []string{"internal/mutants", "internal/redistest", "internal/sim", "internal/telemetry/telemetrytest"} // which serve tests
	seen := 0
	for _, line := range list(t, "-f", `{{.ImportPath}}{{range .Imports}},{{.}}{{end}}`, module+"lease/...", module+"internal/...") {
		paths := strings.Split(line, ",")
		name := strings.TrimPrefix(paths[0], module)
		may, known := arrows[name]
		if !known {
			if !slices.Contains(free, name) {
				t.Errorf("say here, and in docs/architecture.md, what %s may import", name)
			}
			continue
		}
		seen++
		for _, path := range paths[1:] {
			imported, ours := strings.CutPrefix(path, module)
			if strings.HasPrefix(path, "github.com/redis/go-redis/") {
				imported, ours = "go-redis", true
			}
			if ours && !slices.Contains(may, imported) {
				t.Errorf("%s imports %s; it may import %q", name, imported, may)
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("%d of %d packages are there", seen, len(arrows))
	}
}

// A web server is linked into the programs that have one. Package leasehttp is for those.
func TestPackageLeaseDoesNotImportNetHTTP(t *testing.T) {
	packages := list(t, "-deps", ".")
	if !slices.Contains(packages, "github.com/eqworks/passbuddy/lease") || !slices.Contains(packages, "net") {
		t.Fatalf("go list names %q", packages)
	}
	for _, p := range packages {
		if p == "net/http" || strings.HasPrefix(p, "net/http/") {
			t.Errorf("package lease depends on %s", p)
		}
	}
}

// list is what go list prints, by words.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %q: %v", args, err)
	}
	return strings.Fields(string(out))
}
