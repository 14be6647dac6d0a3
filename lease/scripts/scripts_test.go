package scripts

import (
	"flag"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/yuin/gopher-lua/parse"
)

var update = flag.Bool("update", false, "write testdata anew")

// What Redis runs, for those who review a change.
func TestJoinedScripts(t *testing.T) {
	for v := range verbs {
		name := "testdata/" + v.String() + ".lua"
		if *update {
			if err := os.WriteFile(name, []byte(v.Source()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if v.Source() != string(want) {
			t.Errorf("%v is not what %s shows; go test ./lease/scripts -update writes it anew", v, name)
		}
		if _, err := parse.Parse(strings.NewReader(v.Source()), v.String()); err != nil {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestJoinRefuses(t *testing.T) {
	files := fstest.MapFS{
		"unknown.lua":        {Data: []byte("-- @include \"nobody\"\n")},
		"twice.lua":          {Data: []byte("-- @include \"part\": x\n-- @include \"part\": x\n")},
		"strange.lua":        {Data: []byte("-- @include part\n")},
		"nested.lua":         {Data: []byte("-- @include \"nested\"\n")},
		"include/part.lua":   {Data: []byte("local x = 1\n")},
		"include/nested.lua": {Data: []byte("-- @include \"part\": x\n")},
	}
	for verb, want := range map[string]string{
		"unknown": `no part "nobody"`, "twice": `"part" is included twice`, "strange": "is not of the form", "nested": "only a verb's file includes",
		"absent": "file does not exist",
	} {
		if _, err := join(files, verb); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), verb) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

var (
	comment    = regexp.MustCompile(`(?m)--.*$`)
	quoted     = regexp.MustCompile(`'[^'\n]*'`)
	identifier = regexp.MustCompile(`(?:^|[^.\w])([a-zA-Z_]\w*)`)
	defines    = regexp.MustCompile(`(?m)^local (?:function (\w+)|([\w, ]+?) *(?:=|--|$))`)
)

// defined are the names that the text defines for what follows it.
func defined(text string) (names []string) {
	for _, m := range defines.FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[1]+m[2], ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// used are the names that it uses.
func used(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range identifier.FindAllStringSubmatch(quoted.ReplaceAllString(comment.ReplaceAllString(text, ""), "''"), -1) {
		names[m[1]] = true
	}
	return names
}

// A verb's file names all that its parts share, so that it can be read alone.
func TestAVerbNamesWhatItsPartsShare(t *testing.T) {
	for v := range verbs {
		file, err := fs.ReadFile(files, v.String()+".lua")
		if err != nil {
			t.Fatal(err)
		}
		type section struct{ name, text string }
		var sections []section
		own := ""
		for line := range strings.Lines(string(file)) {
			if m := include.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
				part, err := fs.ReadFile(files, "include/"+m[1]+".lua")
				if err != nil {
					t.Fatal(err)
				}
				sections = append(sections, section{"", own}, section{m[1], string(part)})
				_, names, _ := strings.Cut(strings.TrimSpace(line), ": ")
				for name := range strings.SplitSeq(names, ", ") {
					if name != "" && !slices.Contains(defined(string(part)), name) {
						t.Errorf("%v: part %q does not define %s", v, m[1], name)
					}
				}
				own = ""
				continue
			}
			own += line
		}
		sections = append(sections, section{"", own})
		for i, s := range sections {
			for _, name := range defined(s.text) {
				for _, later := range sections[i+1:] {
					if s.name+later.name != "" && used(later.text)[name] && !regexp.MustCompile(`\b`+name+`\b`).Match(file) {
						t.Errorf("%v: part %q uses %s of %q, and %v.lua does not name it", v, later.name, name, s.name, v)
					}
				}
			}
		}
	}
}
