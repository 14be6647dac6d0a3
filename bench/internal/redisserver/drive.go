package redisserver

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/bench/internal/proc"
)

// depth is how many rounds of its commands a connection sends before it reads the replies.
const depth = 100

// Drive sends each load over a connection of its own, over and over in deep pipelines, for d. It returns
// how many rounds of all loads were answered, and in what time. An error reply ends it.
func (s *Server) Drive(ctx context.Context, loads [][]Command, d time.Duration) (rounds int64, elapsed time.Duration, err error) {
	var group errgroup.Group
	var mu sync.Mutex
	start := time.Now()
	for _, load := range loads {
		group.Go(func() error {
			n, err := s.drive(ctx, load, start.Add(d))
			mu.Lock()
			defer mu.Unlock()
			rounds += n
			return err
		})
	}
	err = group.Wait()
	return rounds, time.Since(start), err
}

func (s *Server) drive(ctx context.Context, load []Command, until time.Time) (rounds int64, err error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	batch := []byte(strings.Repeat(encode(load), depth))
	replies := bufio.NewReaderSize(conn, 64<<10)
	for time.Now().Before(until) {
		if _, err := conn.Write(batch); err != nil {
			return rounds, err
		}
		for range depth * len(load) {
			if err := skipReply(replies); err != nil {
				return rounds, err
			}
		}
		rounds += depth
	}
	return rounds, nil
}

// encode writes commands in Redis's protocol.
func encode(commands []Command) string {
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(c))
		for _, arg := range c {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
		}
	}
	return b.String()
}

// skipReply reads one reply in version 2 of the protocol. An error reply is returned as an error.
func skipReply(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 3 {
		return fmt.Errorf("reply %q", line)
	}
	kind, text := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+', ':':
		return nil
	case '-':
		return errors.New("reply: " + text)
	case '$', '*':
	default:
		return fmt.Errorf("reply of kind %q", kind)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return err // nil when there is nothing
	}
	if kind == '$' {
		_, err = in.Discard(n + 2)
		return err
	}
	for range n {
		if err := skipReply(in); err != nil {
			return err
		}
	}
	return nil
}

// RedisBenchmark has redis-benchmark send a command n times, with random digits in place of a placeholder
// of twelve characters, and returns how many a second were answered.
func (s *Server) RedisBenchmark(ctx context.Context, c Command, placeholder string, n int) (float64, error) {
	const random = "__rand_int__"
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "redis://"))
	if err != nil {
		return 0, err
	}
	args := []string{"-h", "127.0.0.1", "-p", port, "-c", "8", "-P", "32", "-n", strconv.Itoa(n), "-r", "1000000000", "--csv"}
	for _, arg := range c {
		if strings.ContainsRune(arg, 0) { // cannot be passed on; any other value does as well
			arg = fmt.Sprintf("%x", arg)
		}
		args = append(args, strings.ReplaceAll(arg, placeholder, random))
	}
	cmd := exec.CommandContext(ctx, "redis-benchmark", args...)
	out := &strings.Builder{}
	log := &proc.Tail{}
	cmd.Stdout, cmd.Stderr = out, log
	process, err := proc.Launch(cmd, proc.Anywhere)
	if err != nil {
		return 0, err
	}
	if err := process.Wait(); err != nil {
		return 0, fmt.Errorf("redis-benchmark: %w\n%s", err, log)
	}
	return parseBenchmark(out.String())
}

// parseBenchmark reads the last line of redis-benchmark --csv: the command, then the rate, and more.
func parseBenchmark(text string) (float64, error) {
	in := csv.NewReader(strings.NewReader(text))
	in.LazyQuotes, in.FieldsPerRecord = true, -1
	var last []string
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("redis-benchmark: %w", err)
		}
		last = record
	}
	if len(last) < 2 {
		return 0, fmt.Errorf("redis-benchmark said %q", text)
	}
	return strconv.ParseFloat(last[1], 64)
}
