package proc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// childMark in the environment tells a copy of the binary that it is a child.
const childMark = "PASSBUDDY_BENCH_CHILD"

// A Child is a child process's side of the line to its parent. It belongs to one goroutine.
type Child struct {
	lines chan []byte
	out   *json.Encoder
}

// job is the first line that a child gets.
type job struct {
	Kind  string
	Limit time.Duration // the child ends by itself after that
	Args  json.RawMessage
}

type message struct {
	Value json.RawMessage `json:",omitempty"`
	Error string          `json:",omitempty"`
}

// RunIfChild does a child's work and ends the process, if this process is a child; otherwise it returns
// at once. kinds has a function for each kind of work: its error is
// passed on to the parent. It must be called first in main, and in TestMain.
func RunIfChild(kinds map[string]func(c *Child, args json.RawMessage) error) {
	if os.Getenv(childMark) == "" {
		return
	}
	c := &Child{lines: make(chan []byte, 16), out: json.NewEncoder(os.Stdout)}
	go c.read()
	var j job
	if err := c.Receive(&j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	time.AfterFunc(j.Limit, func() {
		fmt.Fprintf(os.Stderr, "gave up: %s took longer than %v\n", j.Kind, j.Limit)
		os.Exit(1)
	})
	work, ok := kinds[j.Kind]
	err := fmt.Errorf("unknown kind of child %q", j.Kind)
	if ok {
		err = work(c, j.Args)
	}
	if err != nil {
		_ = c.out.Encode(message{Error: err.Error()})
	}
	for range c.lines { // the parent ends the input when it needs the child no longer
	}
	os.Exit(0)
}

// read passes lines on and, when the parent closes the line or dies, ends the process: whatever the
// child is doing then, nobody waits for it.
func (c *Child) read() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		c.lines <- line
	}
}

// Receive waits for the parent's next line.
func (c *Child) Receive(v any) error {
	if err := json.Unmarshal(<-c.lines, v); err != nil {
		return fmt.Errorf("a line of the parent: %w", err)
	}
	return nil
}

// Send passes v on to the parent.
func (c *Child) Send(v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.out.Encode(message{Value: value})
}

// A Window is when the children of one measurement work.
type Window struct{ Start, Stop Instant }

// Ready tells the parent that this child is prepared, and waits until all are and the window begins.
func (c *Child) Ready() (Window, error) {
	var w Window
	if err := c.Send("ready"); err != nil {
		return w, err
	}
	if err := c.Receive(&w); err != nil {
		return w, err
	}
	SleepUntil(w.Start)
	return w, nil
}

// Kind is work for RunIfChild whose arguments are a T.
func Kind[T any](work func(*Child, T) error) func(*Child, json.RawMessage) error {
	return func(c *Child, raw json.RawMessage) error {
		var args T
		if err := json.Unmarshal(raw, &args); err != nil {
			return err
		}
		return work(c, args)
	}
}
