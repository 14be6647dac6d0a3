package redisserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
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
// housekeeping. The server must be ours.
func (s *Server) Record(ctx context.Context, do func() error) ([]Command, error) {
	monitor, err := s.monitor(ctx)
	if err != nil {
		return nil, err
	}
	defer monitor.Close()
	if err := do(); err != nil {
		return nil, err
	}
	if err := s.client.Echo(ctx, endMark).Err(); err != nil {
		return nil, err
	}
	var commands []Command
	for lines := bufio.NewScanner(monitor); lines.Scan(); {
		c, ok, err := parseMonitor(lines.Text())
		switch {
		case err != nil:
			return nil, err
		case !ok:
		case slices.Contains(c, endMark):
			return commands, nil
		default:
			commands = append(commands, c)
		}
	}
	return nil, errors.New("MONITOR: the recording has no end")
}

// monitor opens a connection that shows all commands from now on. A client library would take their
// lines for replies.
func (s *Server) monitor(ctx context.Context) (net.Conn, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		_ = conn.Close()
		return nil, err
	}
	const ok = "+OK\r\n"
	reply := make([]byte, len(ok))
	if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != ok {
		_ = conn.Close()
		return nil, fmt.Errorf("MONITOR: %q, %w", reply, err)
	}
	return conn, nil
}

// dial opens a plain connection to a server of ours. Waiting on it ends with ctx's deadline.
func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "redis://"))
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	return conn, err
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
