package docs_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every Go block of the pages is made of code that compiles: each of its paragraphs stands, line by line, in an example of
// a package, in a test of package leasetest, or in an example program.
func TestTheCodeOfThePagesComesFromTheExamples(t *testing.T) {
	var sources [][]string
	for _, path := range find(t, ".", isSource) {
		sources = append(sources, linesOf(read(t, path).text))
	}
	if len(sources) < 20 {
		t.Fatalf("%d files with examples", len(sources))
	}
	blocks := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks() {
			if b.language != "go" {
				continue
			}
			blocks++
			for paragraph := range strings.SplitSeq(strings.TrimSpace(b.code), "\n\n") {
				want := linesOf(paragraph)
				if !slices.ContainsFunc(sources, func(lines []string) bool { return contains(lines, want) }) {
					t.Errorf("this stands in %s, and in no example:\n%s", p.path, paragraph)
				}
			}
		}
	}
	if blocks < 40 {
		t.Errorf("found %d Go blocks", blocks)
	}
}

// isSource reports whether a file has code that pages may show. Whatever it has is compiled by the tests of its module.
func isSource(path string) bool {
	dir, name := filepath.Split(path)
	switch {
	case !strings.HasSuffix(name, ".go"):
		return false
	case strings.HasPrefix(dir, "examples/"), dir == "lease/leasetest/" && strings.HasSuffix(name, "_test.go"):
		return true
	}
	return strings.HasPrefix(name, "example") && strings.HasSuffix(name, "_test.go")
}

func linesOf(text string) []string {
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

// What a page has a reader run with go exists, and so does each target of make.
func TestWhatThePagesRunExists(t *testing.T) {
	makefile := read(t, "Makefile").text
	ran := 0
	for _, p := range pages(t) {
		for _, command := range p.commands() {
			dir := "."
			for part := range strings.SplitSeq(command, " && ") {
				words := strings.Fields(part)
				for len(words) > 0 && strings.Contains(words[0], "=") { // REDIS_URL=…
					words = words[1:]
				}
				switch {
				case len(words) < 2:
				case words[0] == "cd":
					dir = words[1]
				case words[0] == "make" && regexp.MustCompile(`^[a-z]+$`).MatchString(words[1]):
					ran++
					if !regexp.MustCompile(`(?m)^` + words[1] + `:`).MatchString(makefile) {
						t.Errorf("%s: %s: the Makefile has no such target", p.path, command)
					}
				case words[0] == "go" && slices.Contains([]string{"run", "test", "build", "vet"}, words[1]):
					for _, word := range words[2:] {
						if word == "." && dir == "." || word != "." && !strings.HasPrefix(word, "./") || dir == "worker" {
							continue // a flag, or a directory that the text says, or the reader's own
						}
						ran++
						target := filepath.Join(dir, strings.TrimSuffix(word, "..."))
						if info, err := os.Stat(filepath.Join(root, target)); err != nil || !info.IsDir() {
							t.Errorf("%s: %s: there is no directory %s", p.path, command, target)
						} else if words[1] == "run" && !isProgram(t, target) {
							t.Errorf("%s: %s: %s is no program", p.path, command, target)
						}
					}
				}
			}
		}
	}
	if ran < 15 {
		t.Errorf("found %d commands", ran)
	}
}

func isProgram(t *testing.T, dir string) bool {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(path string) bool {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly)
		return err == nil && file.Name.Name == "main"
	})
}
