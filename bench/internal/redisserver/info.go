package redisserver

import (
	"context"
	"fmt"
	"math"
	"slices"
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
	sections, err := s.info(ctx)
	if err != nil {
		return Usage{}, err
	}
	u, err := parseUsage(sections)
	if err != nil {
		return Usage{}, fmt.Errorf("INFO: %w", err)
	}
	return u, nil
}

// Calls returns how often each command was executed so far, in scripts too, without housekeeping.
func (s *Server) Calls(ctx context.Context) (map[string]int64, error) {
	sections, err := s.info(ctx)
	if err != nil {
		return nil, err
	}
	calls, err := parseCalls(sections)
	if err != nil {
		return nil, fmt.Errorf("INFO: %w", err)
	}
	for command := range calls {
		first, _, _ := strings.Cut(command, "|")
		if first == "echo" || first == "monitor" || slices.Contains(housekeeping, first) {
			delete(calls, command)
		}
	}
	return calls, nil
}

// info asks for all: before Redis 7, INFO takes one section or all.
func (s *Server) info(ctx context.Context) (map[string]map[string]string, error) {
	sections, err := s.client.InfoMap(ctx, "all").Result()
	if err != nil {
		return nil, fmt.Errorf("INFO: %w", err)
	}
	return sections, nil
}

func parseCalls(sections map[string]map[string]string) (map[string]int64, error) {
	all := map[string]int64{}
	for field, stats := range sections["Commandstats"] {
		command, isCommand := strings.CutPrefix(field, "cmdstat_")
		rest, isCalls := strings.CutPrefix(stats, "calls=")
		if !isCommand || !isCalls {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s:%s: %w", field, stats, err)
		}
		all[command] = n
	}
	return all, nil
}

func parseUsage(sections map[string]map[string]string) (Usage, error) {
	var u Usage
	calls, err := parseCalls(sections)
	if err != nil {
		return u, err
	}
	for command, n := range calls {
		if command != "info" {
			u.Commands += n
		}
	}
	for _, field := range []string{"used_cpu_sys", "used_cpu_user"} {
		seconds, err := strconv.ParseFloat(sections["CPU"][field], 64)
		if err != nil {
			return u, fmt.Errorf("%s: %w", field, err)
		}
		u.CPU += time.Duration(math.Round(seconds*1e6)) * time.Microsecond
	}
	return u, nil
}

// Version returns the server's version.
func (s *Server) Version(ctx context.Context) (string, error) {
	sections, err := s.info(ctx)
	if err != nil {
		return "", err
	}
	return sections["Server"]["redis_version"], nil
}

// Memory returns how many bytes the server's data and connections take.
func (s *Server) Memory(ctx context.Context) (int64, error) {
	sections, err := s.info(ctx)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(sections["Memory"]["used_memory"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("INFO: used_memory: %w", err)
	}
	return n, nil
}
