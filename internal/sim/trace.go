package sim

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// note keeps what a command did, for those who look for the cause of a violation.
func (c *checker) note(host string, now time.Time, s *script) {
	if s == nil {
		return
	}
	line := fmt.Sprintf("%s %s %s ttl %d capacity %d %q said %v", host, s.verb, s.holders, s.ttl, s.capacity, s.args, c.said)
	for _, w := range c.sems {
		if w.key() == s.holders {
			line += "; " + w.last.String()
		}
	}
	c.noteLine(now, line)
}

// trouble keeps which trouble has begun.
func (c *checker) trouble(kind string, d time.Duration) {
	if !c.tracing {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteLine(time.Now(), fmt.Sprintf("trouble: %s for %v", kind, d))
}

func (c *checker) noteLine(now time.Time, line string) {
	line = fmt.Sprintf("\n\t%v ", now.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))) + line
	if c.trace = append(c.trace, line); len(c.trace) > 4000 {
		c.trace = c.trace[2000:]
	}
}

var uuids = regexp.MustCompile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

// recent are the commands that led to a violation: those that concern the first id in it, or the latest.
func (c *checker) recent(violation string) string {
	ids := uuids.FindAllString(violation, 2)
	if len(ids) == 0 {
		ids = []string{""}
	}
	var found []string
	for _, line := range c.trace {
		if strings.Contains(line, " trouble: ") || strings.Contains(line, ids[0]) || strings.Contains(line, ids[len(ids)-1]) {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(0, len(found)-12):], "")
}
