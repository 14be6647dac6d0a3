package redisserver

import (
	"bufio"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMonitorLinesBecomeCommands(t *testing.T) {
	for line, want := range map[string]Command{
		`+1700000000.000000 [0 127.0.0.1:1234] "SET" "key" "a \"b\"\x00\r\n"`: {"set", "key", "a \"b\"\x00\r\n"},
		`1700000000.000000 [0 127.0.0.1:1234] "evalsha" "abc" "0" ""`:         {"evalsha", "abc", "0", ""},
		`1700000000.000000 [0 lua] "SET" "key" "value"`:                       nil,
		`1700000000.000000 [0 127.0.0.1:1234] "HELLO" "3"`:                    nil,
		`+OK`: nil,
	} {
		got, ok, err := parseMonitor(line)
		if err != nil || ok != (want != nil) || ok && !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, %v; want %q", line, got, ok, err, want)
		}
	}
}

func TestEncodedCommandsAreRedisProtocol(t *testing.T) {
	if got, want := encode([]Command{{"GET", "ä"}}), "*2\r\n$3\r\nGET\r\n$2\r\nä\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRepliesAreReadToTheirEnd(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("+OK\r\n:1\r\n$2\r\n\r\n\r\n$-1\r\n*-1\r\n*2\r\n*1\r\n:1\r\n$1\r\na\r\n-ERR no\r\n"))
	for i := range 6 {
		if err := skipReply(in); err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
	}
	if err := skipReply(in); err == nil || !strings.Contains(err.Error(), "ERR no") {
		t.Errorf("an error reply gave %v", err)
	}
	if in.Buffered() != 0 {
		t.Errorf("%d bytes left over", in.Buffered())
	}
}

func TestUsageCountsAllButTheQuestion(t *testing.T) {
	u, err := parseUsage(map[string]map[string]string{
		"Commandstats": {
			"cmdstat_evalsha": "calls=3,usec=10,usec_per_call=3.3",
			"cmdstat_set":     "calls=4,usec=10",
			"cmdstat_info":    "calls=9,usec=10",
		},
		"CPU": {"used_cpu_sys": "0.5", "used_cpu_user": "1.000001"},
	})
	if want := (Usage{7, 1500001 * time.Microsecond}); err != nil || u != want {
		t.Errorf("%+v, %v; want %+v", u, err, want)
	}
}

func TestBenchmarkOutputHasTheRateSecond(t *testing.T) {
	text := "\"test\",\"rps\",\"avg_latency_ms\"\n\"evalsha a \"b\" c\",\"250000.00\",\"0.1\"\n"
	if got, err := parseBenchmark(text); err != nil || got != 250000 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseBenchmark(""); err == nil {
		t.Error("nothing said, but no error")
	}
}
