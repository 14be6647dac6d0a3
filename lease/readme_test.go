package lease_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every Go block of the README is made of code that compiles and runs: each of its paragraphs stands,
// line by line, in an example of this package or of those below it, or in one of the examples' programs.
func TestTheREADMEsCodeComesFromTheExamples(t *testing.T) {
	var sources [][]string
	for _, pattern := range []string{"example*_test.go", "leasehttp/example*_test.go", "leasetest/*_test.go", "../examples/*/*.go", "../extra/*/example*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			sources = append(sources, linesOf(t, file))
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(readme, -1)
	if len(blocks) < 5 {
		t.Fatalf("found %d Go blocks", len(blocks))
	}
	for _, block := range blocks {
		for paragraph := range strings.SplitSeq(strings.TrimSpace(string(block[1])), "\n\n") {
			want := trimmed(paragraph)
			if !slices.ContainsFunc(sources, func(lines []string) bool { return contains(lines, want) }) {
				t.Errorf("this stands in the README, and in no example:\n%s", paragraph)
			}
		}
	}
}

func linesOf(t *testing.T, file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return trimmed(string(b))
}

func trimmed(text string) []string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

func contains(lines, want []string) bool {
	for i := range lines {
		if len(lines)-i >= len(want) && slices.Equal(lines[i:i+len(want)], want) {
			return true
		}
	}
	return false
}
