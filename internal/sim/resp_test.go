package sim

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestRequestIsReadOnlyWhenItIsWhole(t *testing.T) {
	want := []string{"SET", "k", "", "a\r\nb"}
	whole := []byte("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n$4\r\na\r\nb\r\n")
	for i := range whole {
		if cmd, n, err := parseRequest(whole[:i]); cmd != nil || n != 0 || err != nil {
			t.Fatalf("first %d bytes: %q, %d, %v", i, cmd, n, err)
		}
	}
	cmd, n, err := parseRequest(append(whole, "*1\r\n"...))
	if !slices.Equal(cmd, want) || n != len(whole) || err != nil {
		t.Fatalf("%q, %d, %v", cmd, n, err)
	}
}

func TestRequestThatIsNotRESPIsRefused(t *testing.T) {
	for _, s := range []string{"PING\r\n", "*x\r\n", "*-1\r\n", "*1\r\n+OK\r\n", "*1\r\n$1\r\nabc", "*1\r\n$99999999999\r\n"} {
		if _, n, err := parseRequest([]byte(s)); err == nil {
			t.Errorf("%q: %d bytes taken", s, n)
		}
	}
}

func TestFrameIsMeasuredOnlyWhenItIsWhole(t *testing.T) {
	for _, s := range []string{
		"+OK\r\n", "-ERR no\r\n", ":1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(12\r\n",
		"$-1\r\n", "$0\r\n\r\n", "$4\r\na\r\nb\r\n", "=5\r\ntxt:a\r\n", "!3\r\nbad\r\n",
		"*-1\r\n", "*0\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "~1\r\n:1\r\n",
		"%1\r\n$1\r\na\r\n:1\r\n", ">2\r\n$1\r\na\r\n_\r\n", "|1\r\n+k\r\n+v\r\n:1\r\n",
	} {
		for i := range len(s) {
			if n, err := frameLen([]byte(s[:i])); n != 0 || err != nil {
				t.Errorf("first %d bytes of %q: %d, %v", i, s, n, err)
			}
		}
		if n, err := frameLen([]byte(s + "+more\r\n")); n != len(s) || err != nil {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	}
}

func TestOnlyMessagesCountAsMessages(t *testing.T) {
	for s, want := range map[string]bool{
		">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n":             true,
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n":             true,
		">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nx\r\n": true,
		">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n":                false,
		"$7\r\nmessage\r\n":              false,
		"*2\r\n$4\r\npong\r\n$0\r\n\r\n": false,
		"+OK\r\n":                        false,
	} {
		if got := isMessage([]byte(s)); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 3)
	f.Add("*1\r\n$0\r\n\r\n*0\r\n", 1)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		cmd, n, err := parseRequest([]byte(s))
		if n < 0 || n > len(s) || (err != nil && n != 0) {
			t.Fatalf("%q, %d, %v", cmd, n, err)
		}
		if n == 0 {
			return
		}
		if cut >= 0 && cut < n {
			if c, m, err := parseRequest([]byte(s[:cut])); m != 0 || err != nil {
				t.Fatalf("a part of it: %q, %d, %v", c, m, err)
			}
		}
		var b strings.Builder
		b.WriteString("*" + strconv.Itoa(len(cmd)) + "\r\n")
		for _, w := range cmd {
			b.WriteString("$" + strconv.Itoa(len(w)) + "\r\n" + w + "\r\n")
		}
		again, m, err := parseRequest([]byte(b.String()))
		if !slices.Equal(again, cmd) || m != b.Len() || err != nil {
			t.Fatalf("%q became %q, %d, %v", cmd, again, m, err)
		}
	})
}
