package redisserver

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Command is a command and its arguments.
type Command []string

// Replace returns the commands with another text in place of old.
func Replace(commands []Command, old, text string) []Command {
	replaced := make([]Command, len(commands))
	for i, c := range commands {
		for _, arg := range c {
			replaced[i] = append(replaced[i], strings.ReplaceAll(arg, old, text))
		}
	}
	return replaced
}

// housekeeping are commands that clients send for themselves, once for a connection.
var housekeeping = []string{"auth", "client", "command", "hello", "info", "ping", "psubscribe", "punsubscribe",
	"script", "select", "ssubscribe", "subscribe", "sunsubscribe", "unsubscribe"}

// endMark is what Record sends itself to find the end.
const endMark = "passbuddy-bench-end-of-recording"

// Record returns the commands that all clients send while do runs, without what scripts call and without
// housekeeping.
func (s *Server) Record(ctx context.Context, do func() error) ([]Command, error) {
	lines := make(chan string, 1000)
	monitor := s.client.Monitor(ctx, lines)
	monitor.Start()
	defer monitor.Stop()
	if err := s.sync(ctx, lines, nil); err != nil {
		return nil, err
	}
	if err := do(); err != nil {
		return nil, err
	}
	var commands []Command
	err := s.sync(ctx, lines, func(c Command) { commands = append(commands, c) })
	return commands, err
}

// sync sends a mark, again if need be, and reads lines until it comes. The commands before it go to seen.
func (s *Server) sync(ctx context.Context, lines <-chan string, seen func(Command)) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if err := s.client.Echo(ctx, endMark).Err(); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return fmt.Errorf("MONITOR: %w", context.Cause(ctx))
			case <-again.C:
				waiting = false
			case line := <-lines:
				c, ok, err := parseMonitor(line)
				switch {
				case err != nil:
					return err
				case !ok:
				case slices.Contains(c, endMark):
					return nil
				case seen != nil && c[0] != "echo":
					seen(c)
				}
			}
		}
	}
}

// parseMonitor reads a line such as
//
//	1700000000.000000 [0 127.0.0.1:1234] "set" "key" "\x00"
//
// It reports false for what a script called, for housekeeping and for what is no command.
func parseMonitor(line string) (c Command, ok bool, err error) {
	_, rest, found := strings.Cut(line, " [")
	source, rest, closed := strings.Cut(rest, "] ")
	if !found || !closed || strings.HasSuffix(source, " lua") {
		return nil, false, nil
	}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, false, fmt.Errorf("MONITOR line %q: %w", line, err)
		}
		arg, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, false, fmt.Errorf("MONITOR line %q: %w", line, err)
		}
		c, rest = append(c, arg), rest[len(quoted):]
	}
	if len(c) == 0 {
		return nil, false, nil
	}
	c[0] = strings.ToLower(c[0])
	return c, !slices.Contains(housekeeping, c[0]), nil
}
