package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile(`\bTest[A-Z]\w+`)
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	promise  = regexp.MustCompile(`(?ms)^(\d+)\. \*\*(.*?)(?:\n\d+\. |\n\n)`)
	quote    = regexp.MustCompile(`(?m)^## (\d+)\. .*\n\n((?:> .*\n)+)`)
)

// tests returns the names of the tests in the files below a directory.
func tests(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, path := range find(t, dir, func(p string) bool { return strings.HasSuffix(p, "_test.go") }) {
		for _, m := range testFunc.FindAllStringSubmatch(read(t, path).text, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

func TestTheTestsThatThePagesNameExist(t *testing.T) {
	all := tests(t, ".")
	named := 0
	for _, p := range pages(t) {
		for _, code := range append(spans(p.prose()), commandsOf(p)...) {
			for _, name := range testName.FindAllString(code, -1) {
				named++
				if !slices.Contains(all, name) && !strings.Contains(code, "-run "+name) {
					t.Errorf("%s names %s, which does not exist", p.path, name)
				}
			}
		}
	}
	if named < 40 {
		t.Errorf("found %d names", named)
	}
}

func commandsOf(p page) (list []string) {
	for _, b := range p.blocks() {
		if b.language == "sh" {
			list = append(list, b.code)
		}
	}
	return list
}

// The page has each promise as the README has it, and each test that bears a promise's number.
func TestGuaranteesHasEveryPromiseAndItsTests(t *testing.T) {
	guarantees := read(t, "docs/guarantees.md")
	quoted := map[string]string{}
	for _, m := range quote.FindAllStringSubmatch(guarantees.text, -1) {
		quoted[m[1]] = plain(strings.ReplaceAll(m[2], "> ", ""))
	}
	promised := promises(read(t, "README.md").text)
	if len(promised) != 11 || len(quoted) != 11 {
		t.Errorf("the README has %d promises, docs/guarantees.md %d; want 11", len(promised), len(quoted))
	}
	for n, text := range promised {
		if text != quoted[n] {
			t.Errorf("promise %s differs: change both\nREADME.md:          %s\ndocs/guarantees.md: %s", n, text, quoted[n])
		}
	}
	for _, name := range tests(t, "lease") {
		if strings.HasPrefix(name, "TestPromise") && !strings.Contains(guarantees.text, "`"+name+"`") {
			t.Errorf("docs/guarantees.md does not name %s", name)
		}
	}
}

// promises returns the numbered list that begins each item with bold text. A title, which ends with a full stop, is left out.
func promises(text string) map[string]string {
	list := map[string]string{}
	for {
		m := promise.FindStringSubmatchIndex(text)
		if m == nil {
			return list
		}
		number, item := text[m[2]:m[3]], text[m[4]:m[5]]
		if title, rest, _ := strings.Cut(item, "**"); strings.HasSuffix(title, ".") {
			item = rest
		}
		list[number] = plain(strings.ReplaceAll(item, "**", ""))
		text = text[m[5]:]
	}
}

func plain(text string) string { return strings.Join(strings.Fields(text), " ") }

// What the page says of the simulation, the mutants and the model is there.
func TestWhatChecksThePromisesExists(t *testing.T) {
	var sim, mutants strings.Builder
	for dir, text := range map[string]*strings.Builder{"internal/sim": &sim, "internal/mutants": &mutants} {
		for _, path := range find(t, dir, func(p string) bool { return strings.HasSuffix(p, ".go") }) {
			text.WriteString(read(t, path).text)
		}
	}
	model := read(t, "docs/model/run").text
	exists := map[string]func(name string) bool{
		"Simulation": func(name string) bool { return strings.Contains(sim.String(), ") "+name+"(") },
		"Mutants":    func(name string) bool { return strings.Contains(mutants.String(), `("`+name+`",`) },
		"Model": func(name string) bool {
			return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` .* caught `).MatchString(model)
		},
	}
	item := regexp.MustCompile(`(?m)^- \*\*(Simulation|Mutants|Model):\*\* (.*\n(?:  .*\n)*)`)
	seen := map[string]int{}
	for _, m := range item.FindAllStringSubmatch(read(t, "docs/guarantees.md").text, -1) {
		seen[m[1]]++
		for _, name := range spans(m[2]) {
			if !exists[m[1]](name) {
				t.Errorf("docs/guarantees.md: %s: %q does not exist", m[1], name)
			}
		}
	}
	if seen["Simulation"] != 11 || seen["Mutants"] != 11 || seen["Model"] < 5 {
		t.Errorf("items: %v", seen)
	}
}
