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
	at := now.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	w := c.of(strings.TrimPrefix(s.holders, "passbuddy-"))
	line := fmt.Sprintf("\n\t%v %s %s ttl %d capacity %d %q said %v; %s", at, host, s.verb, s.ttl, s.capacity, s.args, c.said, w.last.String())
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
		if strings.Contains(line, ids[0]) || strings.Contains(line, ids[len(ids)-1]) {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(0, len(found)-12):], "")
}
