package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// A Log prints what happens, a line each: when, who, what. Safe for concurrent use.
type Log struct {
	out   io.Writer
	start time.Time
	mu    sync.Mutex
}

// NewLog returns a log whose time starts now, and prints its heading.
func NewLog(out io.Writer) *Log {
	fmt.Fprintf(out, "%5s  %-9s  %s\n", "time", "who", "what")
	return &Log{out: out, start: time.Now()}
}

// Say prints a line.
func (l *Log) Say(who, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := fmt.Sprintf("%5.2f  %-9s  %s", time.Since(l.start).Seconds(), who, fmt.Sprintf(format, args...))
	fmt.Fprintln(l.out, strings.TrimRight(line, " "))
}
