package protocol

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// arguments are those of one command. What nobody takes is an error, which names it.
type arguments struct {
	rest  []datadriven.CmdArg
	first error // that was found
}

// refuse is the error of a command: what was found in its arguments, or err, or that one of them is left over.
func (a *arguments) refuse(err error) error {
	switch {
	case a.first != nil:
		return a.first
	case err != nil:
		return err
	case len(a.rest) > 0:
		return fmt.Errorf("there is no argument %q", a.rest[0].Key)
	}
	return nil
}

func (a *arguments) note(err error) {
	if a.first == nil {
		a.first = err
	}
}

// take removes an argument and returns its values.
func (a *arguments) take(key string) (values []string, found bool) {
	for i, arg := range a.rest {
		if arg.Key == key {
			a.rest = append(a.rest[:i], a.rest[i+1:]...)
			return arg.Vals, true
		}
	}
	return nil, false
}

// flag is an argument without a value.
func (a *arguments) flag(key string) bool {
	values, found := a.take(key)
	if len(values) > 0 {
		a.note(fmt.Errorf("%s takes no value", key))
	}
	return found
}

// value is an argument with one value.
func (a *arguments) value(key string) (value string, found bool) {
	values, found := a.take(key)
	if !found {
		return "", false
	}
	if len(values) != 1 {
		a.note(fmt.Errorf("%s takes one value", key))
		return "", false
	}
	return values[0], true
}

// text is an argument that must be there.
func (a *arguments) text(key string) string {
	value, found := a.value(key)
	if !found {
		a.note(fmt.Errorf("%s= is missing", key))
	}
	return value
}

func (a *arguments) duration(key string, otherwise time.Duration) time.Duration {
	value, found := a.value(key)
	if !found {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		a.note(fmt.Errorf("%s=%s is no duration", key, value))
	}
	return d
}

func (a *arguments) number(key string, otherwise int) int {
	value, found := a.value(key)
	if !found {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		a.note(fmt.Errorf("%s=%s is no number", key, value))
	}
	return n
}

// labels is a set of permits.
func (a *arguments) labels(key string) map[string]bool {
	set := map[string]bool{}
	values, _ := a.take(key)
	for _, label := range values {
		set[label] = true
	}
	return set
}

func TestAStoryNamesWhatItDoesNotKnow(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"nwe capacity=1", `no command "nwe"`},
		{"new capcity=1", `no argument "capcity"`},
		{"new capacity=one", "capacity=one is no number"},
		{"new at=soon", "at=soon is no duration"},
		{"new events=all", "events takes no value"},
		{"new capacity=(1, 2)", "capacity takes one value"},
		{"depart", "begins with new"},
		{"new; new", "begins with new"},
		{"new; ask", "waiter= is missing"},
		{"new; ask waiter=a; ask waiter=a", "a waits already"},
		{"new; tick at=5ms; tick at=4ms", "it is 5ms already"},
		{"new; release holder=a", "holder=a: nobody"},
		{"new; ask waiter=a; release holder=a", "a has no lease"},
		{"new; step", "forward"},
		{"new; reply", "no batch is under way"},
		{"new; ask waiter=a; depart; reply batch=2", "batch=2: only 1"},
		{"new; ask waiter=a; depart; reply; reply batch=1", "batch=1: it was answered before"},
		{"new; ask waiter=a; depart; reply grant=b", "grant=b: the batch does not ask for it"},
		{"new; ask waiter=a; depart; fail", "error= is missing"},
		{"new; notify granted id=b", "id=b: no permit has this label"},
		{"new; notify id=foreign", "granted, refused or withdrawn"},
	} {
		s, err := newStory(), errors.New("no error")
		for line := range strings.SplitSeq(tc.line, "; ") {
			name, args, parsing := datadriven.ParseLine(line)
			if parsing != nil {
				t.Fatal(parsing)
			}
			if _, err = s.run(name, args); err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: the error is %v, want %s", tc.line, err, tc.want)
		}
	}
}

func TestTheReadmeOfTheStoriesListsEveryCommand(t *testing.T) {
	text, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range commands {
		if !strings.Contains(string(text), "`"+name) {
			t.Errorf("%s is missing", name)
		}
	}
}
