package sim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An event is what a trace keeps of a command, or of a trouble that began. It is put into words only for a violation:
// a fleet does not come back in all its details when its seed is replayed, so each violation brings its own trace.
type event struct {
	at      time.Time
	script  *script
	said    []published
	after   view   // of the script's semaphore
	trouble string // in place of a script
}

func (e event) String() string {
	at := e.at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when bubbles begin
	s := e.script
	if s == nil {
		return fmt.Sprintf("\n\t%v trouble: %s", at, e.trouble)
	}
	return fmt.Sprintf("\n\t%v %s %s %s ttl %d capacity %d %q said %v; %v", at, s.host, s.verb, s.holders, s.ttl, s.capacity, s.args, e.said, e.after)
}

// note keeps what a command did, for those who look for the cause of a violation.
func (c *checker) note(now time.Time, ran []*script) {
	for _, s := range ran {
		for _, w := range c.sems {
			if w.key() == s.holders {
				c.noteEvent(event{at: now, script: s, said: slices.Clone(c.said), after: w.last})
			}
		}
	}
}

// trouble keeps which trouble has begun.
func (c *checker) trouble(kind string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteEvent(event{at: time.Now(), trouble: fmt.Sprintf("%s for %v", kind, d)})
}

func (c *checker) noteEvent(e event) {
	const most = 5000
	if len(c.trace) == 2*most {
		c.trace = slices.Delete(c.trace, 0, most)
	}
	c.trace = append(c.trace, e)
}

var uuids = regexp.MustCompile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

// recent are the latest commands that concern one of the first two ids of a violation, or the latest of all, with the
// troubles between them.
func (c *checker) recent(violation string) string {
	ids := uuids.FindAllString(violation, 2)
	var found []string
	for _, e := range slices.Backward(c.trace) {
		concerns := e.script == nil || len(ids) == 0 || slices.ContainsFunc(e.script.args, func(arg string) bool {
			return slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(arg, id) })
		}) || slices.ContainsFunc(e.said, func(p published) bool {
			return slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(p.message, id) })
		})
		if concerns {
			found = append(found, e.String())
		}
		if len(found) == 16 {
			break
		}
	}
	slices.Reverse(found)
	return strings.Join(found, "")
}
