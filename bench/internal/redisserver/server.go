// Package redisserver runs redis-server processes for the benchmark and reads what they say of themselves.
package redisserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/bench/internal/proc"
)

// ErrMissing says that there is no redis-server, and what to do.
var ErrMissing = errors.New(`redis-server is not on PATH. Install it:
  Debian, Ubuntu: apt-get install redis-server    macOS: brew install redis    Fedora: dnf install redis
or name a running one: REDIS_URL=redis://host:6379`)

// A Server is a Redis that a measurement uses: one of its own, or one that runs anyway.
type Server struct {
	url     string
	client  *redis.Client
	process *proc.Process // nil: not ours
	dir     string
}

// Available returns ErrMissing where no server can be started.
func Available() error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return ErrMissing
	}
	return nil
}

// readyLimit bounds the start of a server; it takes some ten milliseconds on an idle machine.
const readyLimit = 20 * time.Second

// Start runs a redis-server on a free loopback port, without anything on disk, and returns when it
// answers. It is pinned to a core unless that is proc.Anywhere. It ends with Close or with this process.
func Start(ctx context.Context, core int) (*Server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrMissing
	}
	dir, err := os.MkdirTemp("", "passbuddy-bench-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		s, err := start(ctx, path, dir, core)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) || ctx.Err() != nil {
			_ = os.RemoveAll(dir)
			return nil, err
		}
	}
}

var errPortTaken = errors.New("the port is taken")

func start(ctx context.Context, path, dir string, core int) (*Server, error) {
	// Below the range of outgoing connections, so that no client is given it while the server is down.
	port := strconv.Itoa(10000 + rand.IntN(20000))
	addr := net.JoinHostPort("127.0.0.1", port)
	if l, err := net.Listen("tcp", addr); err != nil {
		return nil, errPortTaken
	} else if err := l.Close(); err != nil {
		return nil, err
	}
	log := &proc.Tail{}
	cmd := exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "",
		"--appendonly", "no", "--daemonize", "no", "--logfile", "")
	cmd.Stdout, cmd.Stderr = log, log
	process, err := proc.Launch(cmd, core)
	if err != nil {
		return nil, err
	}
	s := &Server{url: "redis://" + addr, process: process, dir: dir}
	if err := s.await(ctx, log); err != nil {
		process.Kill()
		return nil, err
	}
	if err := s.connect(); err != nil {
		process.Kill()
		return nil, err
	}
	return s, nil
}

// await returns when the server says that it is ready: only then a connection is to it for sure.
func (s *Server) await(ctx context.Context, log *proc.Tail) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		text := []byte(log.String())
		if bytes.Contains(text, []byte("Ready to accept connections")) {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.process.Exited():
			if bytes.Contains([]byte(log.String()), []byte("Address already in use")) {
				return errPortTaken
			}
			return fmt.Errorf("redis-server ended before it was ready (%v):\n%s", s.process.Wait(), log)
		case <-ctx.Done():
			return fmt.Errorf("redis-server was not ready in time: %w\n%s", context.Cause(ctx), log)
		}
	}
}

// Use connects to a server that runs anyway.
func Use(ctx context.Context, url string) (*Server, error) {
	s := &Server{url: url}
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	if err := s.client.Ping(ctx).Err(); err != nil {
		_ = s.client.Close()
		return nil, fmt.Errorf("the server of REDIS_URL: %w", err)
	}
	return s, nil
}

func (s *Server) connect() error {
	o, err := redis.ParseURL(s.url)
	if err != nil {
		return err
	}
	s.client = redis.NewClient(o)
	return nil
}

// URL returns where the server is.
func (s *Server) URL() string { return s.url }

// Client returns a client of the benchmark's own.
func (s *Server) Client() *redis.Client { return s.client }

// Process returns the server's process, nil if it is not ours.
func (s *Server) Process() *proc.Process { return s.process }

// Close ends a server of ours and waits for its end. Of another's it removes the keys whose names
// contain mark.
func (s *Server) Close(mark string) {
	if s.process != nil {
		_ = s.client.Close()
		s.process.Kill()
		_ = os.RemoveAll(s.dir)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer s.client.Close()
	keys := s.client.Scan(ctx, 0, "*"+mark+"*", 1000).Iterator()
	for keys.Next(ctx) {
		_ = s.client.Unlink(ctx, keys.Val()).Err() // what is left has a TTL
	}
}
