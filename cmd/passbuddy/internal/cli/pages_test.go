package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the README and the pages of docs have a reader type is understood: each command exists, and each flag.
func TestTheCallsOnThePagesAreUnderstood(t *testing.T) {
	const root = "../../../.."
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("pages: %q, %v", pages, err)
	}
	pages = append(pages, root+"/README.md")
	shown := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range callsOn(string(text)) {
			shown++
			words := strings.Fields(call)
			var out, errs bytes.Buffer
			if code := Main(append(words, "--help"), strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "passbuddy "+words[0]) {
				t.Errorf("%s: passbuddy %s: code %d: %s", filepath.Base(page), call, code, errs.String())
			}
		}
	}
	if shown < 20 {
		t.Errorf("the pages show %d calls", shown)
	}
}

var (
	shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	anyBlock   = regexp.MustCompile("(?ms)^```[a-z]*\n.*?^```$")
	codeInText = regexp.MustCompile("`([^`]+)`")
	callOfOurs = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:passbuddy|go run \./cmd/passbuddy) ([a-z-].*)$`)
)

// callsOn returns the arguments of the calls of passbuddy on a page, in shell blocks and in the text. What another program
// gets, behind --, is left out.
func callsOn(page string) (calls []string) {
	var lines []string
	for _, block := range shellBlock.FindAllStringSubmatch(page, -1) {
		lines = append(lines, strings.Split(block[1], "\n")...)
	}
	for _, code := range codeInText.FindAllStringSubmatch(anyBlock.ReplaceAllString(page, ""), -1) {
		lines = append(lines, strings.Join(strings.Fields(code[1]), " "))
	}
	for _, line := range lines {
		line, _, _ = strings.Cut(line, " #")
		for part := range strings.SplitSeq(line, " && ") {
			if m := callOfOurs.FindStringSubmatch(strings.TrimSpace(part)); m != nil {
				call, _, _ := strings.Cut(m[1], " -- ")
				calls = append(calls, call)
			}
		}
	}
	return calls
}

func TestCallsOnAPageAreFound(t *testing.T) {
	page := "See `passbuddy run\n--help`, not `passbuddy` alone, nor `passbuddy: place 3`.\n```sh\npassbuddy ls --json # all\n" +
		"PASSBUDDY_URL=redis://x go run ./cmd/passbuddy run gpu -n -- echo --not-ours\ncd y && passbuddy inspect gpu\n```\n```\npassbuddy no block of a shell\n```\n"
	want := "ls --json|run gpu -n|inspect gpu|run --help"
	if got := strings.Join(callsOn(page), "|"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
