package docs_test

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	inlineLink = regexp.MustCompile(`\[[^\]]*\]\(\s*<?([^)>\s]*)>?(?:\s+"[^"]*")?\s*\)`)
	linkTarget = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]:\s*<?([^>\s]+)>?`)
	linkInHTML = regexp.MustCompile(`\b(?:href|src|srcset)="([^"\s]+)[^"]*"`)
	bareLink   = regexp.MustCompile(`\bhttps?://[^\s)>\]"]+`)
	heading    = regexp.MustCompile(`(?m)^#{1,6}\s+(.*?)\s*#*$`)
	idInHTML   = regexp.MustCompile(`\b(?:id|name)="([^"]+)"`)
)

// Links inside the checkout lead to files that are there, and to headings that they have. Links to elsewhere are whole, and
// no placeholders; nobody follows them here.
func TestTheLinksOfThePagesLeadSomewhere(t *testing.T) {
	all := find(t, ".", func(p string) bool { return strings.HasSuffix(p, ".md") })
	links := 0
	for _, file := range all {
		p := read(t, file)
		prose := span.ReplaceAllString(p.prose(), "")
		targets := bareLink.FindAllString(prose, -1)
		for _, kind := range []*regexp.Regexp{inlineLink, linkTarget, linkInHTML} {
			for _, m := range kind.FindAllStringSubmatch(prose, -1) {
				targets = append(targets, m[1])
			}
		}
		for _, target := range targets {
			links++
			if err := follow(t, file, target); err != nil {
				t.Errorf("%s: link %q: %v", file, target, err)
			}
		}
	}
	if links < 60 {
		t.Errorf("found %d links", links)
	}
}

// placeholder matches hosts that stand for one that somebody forgot to fill in.
var placeholder = regexp.MustCompile(`(?i)(^|\.)(example|test|invalid|localhost)(\.[a-z]+)?$|^(www\.)?(your|my|foo|todo)`)

// follow says what is wrong with a link on a page.
func follow(t *testing.T, from, target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err
	case target == "":
		return fmt.Errorf("it is empty")
	case u.Scheme == "mailto":
		return nil
	case u.Scheme != "":
		host := u.Hostname()
		if u.Scheme != "https" || !strings.Contains(host, ".") || placeholder.MatchString(host) {
			return fmt.Errorf("want https and a host that is no placeholder")
		}
		return nil
	case path.IsAbs(u.Path):
		return fmt.Errorf("want a path relative to the page")
	}
	file := from
	if u.Path != "" {
		file = path.Join(path.Dir(from), u.Path)
		if strings.HasPrefix(file, "..") {
			return fmt.Errorf("it leaves the checkout")
		}
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			return fmt.Errorf("there is no such file")
		}
	}
	if u.Fragment != "" && strings.HasSuffix(file, ".md") && !slices.Contains(anchors(read(t, file)), u.Fragment) {
		return fmt.Errorf("%s has no heading of that name, but %q", file, anchors(read(t, file)))
	}
	return nil
}

// anchors returns what a link to a page may have behind the '#', by the rules of GitHub.
func anchors(p page) (list []string) {
	seen := map[string]int{}
	prose := p.prose()
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		text := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1") // of a link the text
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
				return unicode.ToLower(r)
			}
			return -1
		}, text)
		if n := seen[anchor]; n > 0 {
			list = append(list, fmt.Sprintf("%s-%d", anchor, n))
		} else {
			list = append(list, anchor)
		}
		seen[anchor]++
	}
	for _, m := range idInHTML.FindAllStringSubmatch(prose, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestAnchorsAreThoseOfGitHub(t *testing.T) {
	p := page{text: "# A, b & `c.d`\n\n## 8. First come, first served\n\n```sh\n# no heading\n```\n## See [here](x.md) ##\n## É-1_2\n## Look\n## Look\n<a id=\"own\"></a>\n"}
	want := []string{"a-b--cd", "8-first-come-first-served", "see-here", "é-1_2", "look", "look-1", "own"}
	if got := anchors(p); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Nobody finds a page that no other one names.
func TestEachPageIsLinkedFromAnother(t *testing.T) {
	list := pages(t)
	for _, p := range list {
		if p.path == "README.md" {
			continue
		}
		if !slices.ContainsFunc(list, func(other page) bool {
			return other.path != p.path && slices.ContainsFunc(inlineLink.FindAllStringSubmatch(other.prose(), -1), func(m []string) bool {
				file, _, _ := strings.Cut(m[1], "#")
				return path.Join(path.Dir(other.path), file) == p.path
			})
		}) {
			t.Errorf("no page leads to %s", p.path)
		}
	}
}
