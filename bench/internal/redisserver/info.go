package redisserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Usage is what a server has done so far.
type Usage struct {
	Commands int64         // executed, inside scripts too; without the INFO that asks
	CPU      time.Duration // user and system mode
}

// Since returns what was done between the earlier reading and u.
func (u Usage) Since(earlier Usage) Usage {
	return Usage{u.Commands - earlier.Commands, u.CPU - earlier.CPU}
}

// Usage asks the server.
func (s *Server) Usage(ctx context.Context) (Usage, error) {
	text, err := s.client.InfoMap(ctx, "all").Result() // before Redis 7 it takes one section or all
	if err != nil {
		return Usage{}, fmt.Errorf("INFO: %w", err)
	}
	u, err := parseUsage(text)
	if err != nil {
		return Usage{}, fmt.Errorf("INFO: %w", err)
	}
	return u, nil
}

func parseUsage(sections map[string]map[string]string) (Usage, error) {
	var u Usage
	for command, stats := range sections["Commandstats"] {
		if command == "cmdstat_info" {
			continue
		}
		rest, found := strings.CutPrefix(stats, "calls=")
		if !found {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return u, fmt.Errorf("%s:%s: %w", command, stats, err)
		}
		u.Commands += n
	}
	for _, field := range []string{"used_cpu_sys", "used_cpu_user"} {
		seconds, err := strconv.ParseFloat(sections["CPU"][field], 64)
		if err != nil {
			return u, fmt.Errorf("%s: %w", field, err)
		}
		u.CPU += time.Duration(seconds * float64(time.Second))
	}
	return u, nil
}

// Version returns the server's version.
func (s *Server) Version(ctx context.Context) (string, error) {
	sections, err := s.client.InfoMap(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("INFO: %w", err)
	}
	return sections["Server"]["redis_version"], nil
}
