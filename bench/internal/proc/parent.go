package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A Worker is the parent's side of the line to a child. It belongs to one goroutine.
type Worker struct {
	process  *Process
	in       io.WriteCloser
	messages chan message // closed when the child's output ends
	log      *Tail
}

// Work is what a child is to do.
type Work struct {
	Kind  string
	Args  any
	Core  int           // or Anywhere
	Limit time.Duration // the child ends by itself after that
}

// Start runs this binary again as a child. End the child with Close.
func Start(w Work) (*Worker, error) {
	args, err := json.Marshal(w.Args)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childMark+"=1")
	c := &Worker{messages: make(chan message), log: &Tail{}}
	cmd.Stderr = c.log
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// Not StdoutPipe: Wait would close it under the reader.
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = childOut
	c.process, err = Launch(cmd, w.Core)
	_ = childOut.Close()
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	go c.read(out)
	if err := c.Send(job{w.Kind, w.Limit, args}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Worker) read(out io.ReadCloser) {
	defer close(c.messages)
	defer out.Close()
	lines := json.NewDecoder(out)
	for {
		var m message
		if lines.Decode(&m) != nil {
			return
		}
		c.messages <- m
	}
}

// Send passes v on to the child.
func (c *Worker) Send(v any) error {
	if err := json.NewEncoder(c.in).Encode(v); err != nil {
		return fmt.Errorf("child %d: %w\n%s", c.process.PID(), err, c.log)
	}
	return nil
}

// Receive waits for the child's next line, until ctx ends or the child does.
func (c *Worker) Receive(ctx context.Context, v any) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("child %d: %w\n%s", c.process.PID(), context.Cause(ctx), c.log)
	case m, ok := <-c.messages:
		switch {
		case !ok:
			return fmt.Errorf("child %d ended too early (%v)\n%s", c.process.PID(), c.process.Wait(), c.log)
		case m.Error != "":
			return errors.New(m.Error)
		default:
			return json.Unmarshal(m.Value, v)
		}
	}
}

// Close ends the child and waits for its end.
func (c *Worker) Close() {
	c.process.Kill()
	_ = c.in.Close()
	for range c.messages {
	}
}

// A Team is several children that work at the same time.
type Team []*Worker

// StartTeam starts a child for each piece of work.
func StartTeam(work []Work) (Team, error) {
	var team Team
	for _, w := range work {
		c, err := Start(w)
		if err != nil {
			team.Close()
			return nil, err
		}
		team = append(team, c)
	}
	return team, nil
}

// Ready waits until every child has said that it is ready.
func (t Team) Ready(ctx context.Context) error {
	for _, c := range t {
		var word string
		if err := c.Receive(ctx, &word); err != nil {
			return err
		}
	}
	return nil
}

// startDelay is how long a start lies ahead: all children have the line by then.
const startDelay = 20 * time.Millisecond

// Go has all children work for d, from the same instant on, and says when that is.
func (t Team) Go(d time.Duration) (Window, error) {
	w := Window{Start: Now().Add(startDelay)}
	w.Stop = w.Start.Add(d)
	for _, c := range t {
		if err := c.Send(w); err != nil {
			return w, err
		}
	}
	return w, nil
}

// Results returns one line of each child.
func Results[T any](ctx context.Context, t Team) ([]T, error) {
	results := make([]T, len(t))
	for i, c := range t {
		if err := c.Receive(ctx, &results[i]); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// Close ends all children and waits for their end.
func (t Team) Close() {
	for _, c := range t {
		c.Close()
	}
}
