package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const aboutWatch = `--watch looks once a second, and prints again when something has changed: with --json one line for each change, otherwise the
tables with an empty line before them. That time passes is no change, nor is a renewal. While Redis does not answer, it says
so once and goes on. It ends by ^C, and when nobody reads its output any more.`

// A picture is what a command that looks has found.
type picture struct {
	json any
	text func(io.Writer)
	same any // what counts: two pictures with the same show no change
}

// print writes the picture at once: people who read it while it is written see whole lines.
func (v picture) print(w io.Writer, asJSON bool) error {
	var b bytes.Buffer
	if asJSON {
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v.json); err != nil {
			return err
		}
	} else {
		v.text(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// follow prints what look finds, looks again each second, and prints it when it has changed. It fails where the first look
// does; what fails later it says once, and goes on. It returns when ctx ends, with its error, and without one when nobody
// reads what it prints.
func (p *program) follow(ctx context.Context, look func(context.Context) (picture, error)) error {
	signal.Ignore(syscall.SIGPIPE) // a write fails instead
	first, err := look(ctx)
	if err != nil {
		return err
	}
	if err := p.printChange(first, true); err != nil {
		return untilClosed(err)
	}
	last := first.same
	var trouble error // of the last look
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if isClosed(p.out) {
			return nil
		}
		now, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if trouble == nil || isUnknown(err) != isUnknown(trouble) {
				p.say("%s; it goes on by itself", p.failureOf(err).text)
			}
			trouble = err
			continue
		case isUnknown(trouble):
			last = nil // it is another one now
		case trouble != nil && !p.quiet:
			p.say("Redis answers again")
		}
		trouble = nil
		if reflect.DeepEqual(now.same, last) {
			continue
		}
		if err := p.printChange(now, false); err != nil {
			return untilClosed(err)
		}
		last = now.same
	}
}

// printChange prints one more picture: JSON in a line, tables after an empty line.
func (p *program) printChange(v picture, isFirst bool) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(v.json)
	}
	text := v.text
	if !isFirst {
		v.text = func(w io.Writer) { _, _ = io.WriteString(w, "\n"); text(w) }
	}
	return v.print(p.out, false)
}

// untilClosed is the error of a write: none when nobody reads any more.
func untilClosed(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// isClosed reports whether w is a pipe that nobody reads any more.
func isClosed(w io.Writer) bool {
	f, is := w.(*os.File)
	if !is {
		return false
	}
	ask := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(ask, 0)
	return err == nil && n > 0 && ask[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
}
