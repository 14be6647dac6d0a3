package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// pageOf starts serve on a free port and returns where its page is.
func pageOf(t *testing.T, server *redistest.Server, args ...string) (*call, string) {
	t.Helper()
	c := passbuddy(t, server, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...).start()
	var url string
	redistest.Eventually(t, "serve says where the page is", func(context.Context) error {
		found := regexp.MustCompile(`http://\S+`).FindString(c.said())
		url = strings.TrimSuffix(found, "/")
		if found == "" {
			return errors.New(c.said())
		}
		return nil
	})
	return c, url
}

func get(t *testing.T, url string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServeShowsThePageAndWhatTheCommandsPrint(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	hold(t, semaphore(t, server, lease.Config{Name: "tenant/7", Capacity: 2}))
	c, url := pageOf(t, server, "--base-path", "/leases", "--metrics", "tenant/7")
	if !strings.Contains(c.said(), "read-only") {
		t.Errorf("it says %q", c.said())
	}
	if code, text := get(t, url+"/"); code != 200 || !strings.Contains(text, "tenant/7") || !strings.Contains(text, "Read-only") {
		t.Errorf("%d %s", code, text)
	}
	volatile := regexp.MustCompile(`"(server_time|next_expiry|expires_at)": "[^"]*"`) // moves between two looks
	for path, command := range map[string][]string{"/api/v1/semaphores": {"ls"}, "/api/v1/semaphores/tenant%2F7": {"inspect", "tenant/7"}} {
		_, served := get(t, url+path)
		printed := calls(server, append(command, "--json")...).must(t, 0, "tenant/7", "").out
		if served, printed = volatile.ReplaceAllString(served, ""), volatile.ReplaceAllString(printed, ""); served != printed {
			t.Errorf("%s:\n%s\n%v prints\n%s", path, served, command, printed)
		}
	}
	if code, text := get(t, url+"/metrics"); code != 200 || !strings.Contains(text, `passbuddy_fleet_permit_usage{passbuddy_semaphore="tenant/7"} 1`) {
		t.Errorf("%d %s", code, text)
	}
	// With a stream open, TERM ends it at once and without a failure.
	r, err := http.Get(url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.mustExit(0)
}

func TestServeWithATokenFileAsksForATokenOfIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	file := temporary(t, "tokens")
	if err := os.WriteFile(file, []byte("# who looks\nread 0123456789abcdef-read\n\nact 0123456789abcdef-act\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, url := pageOf(t, server, "--allow-actions", "--token-file", file)
	if !strings.Contains(c.said(), "with actions, with a login") {
		t.Errorf("it says %q", c.said())
	}
	if code, _ := get(t, url+"/api/v1/semaphores"); code != 401 {
		t.Errorf("without a token: %d", code)
	}
	for _, token := range []string{"0123456789abcdef-read", "0123456789abcdef-act"} {
		if code, _ := get(t, url+"/api/v1/semaphores", "Authorization", "Bearer "+token); code != 200 {
			t.Errorf("%s: %d", token, code)
		}
	}
}

func TestServeLetsNoStrangersIn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	short, empty, wrong := temporary(t, "short"), temporary(t, "empty"), temporary(t, "wrong")
	for file, text := range map[string]string{short: "read abc\n", empty: "# none\n", wrong: "admin 0123456789abcdef\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public := temporary(t, "public")
	if err := os.WriteFile(public, []byte("read 0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(public, 0o644); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--token-file", public}, "everybody on this machine can read it; chmod o="},
		{[]string{"--listen", "0.0.0.0:0"}, "--listen 0.0.0.0:0: others can reach this address; say --token-file FILE"},
		{[]string{"--listen", ":8484"}, "others can reach this address"},
		{[]string{"--listen", "[::]:8484"}, "others can reach this address"},
		{[]string{"--listen", "example.com:1"}, "others can reach this address"},
		{[]string{"--listen", "8484"}, "say address:port"},
		{[]string{"--auth", "basic"}, `--auth "basic"`},
		{[]string{"--auth", "none", "--token-file", short}, "exclude each other"},
		{[]string{"--token-file", short}, "line 1: the token has 3 characters"},
		{[]string{"--token-file", empty}, "there is no token in it"},
		{[]string{"--token-file", wrong}, "line 1: say"},
		{[]string{"--token-file", short + ".none"}, "no such file"},
		{[]string{"--public-host", "https://leases.example.com"}, "without scheme and port"},
		{[]string{"--base-path", "/a?b"}, "BasePath"},
		{[]string{"--metrics", "a}b"}, `Metrics "a}b"`},
	} {
		calls(server, append([]string{"serve"}, c.args...)...).must(t, 64, "", c.says)
	}
	// Where it is meant, it listens everywhere; what it answers to is still the address and the names that were said.
	c := passbuddy(t, server, "serve", "--listen", "0.0.0.0:0", "--auth", "none", "--public-host", "leases.example.com").start()
	var port string
	redistest.Eventually(t, "serve says where the page is", func(context.Context) error {
		if found := regexp.MustCompile(`http://\S+:(\d+)/`).FindStringSubmatch(c.said()); found != nil {
			port = found[1]
			return nil
		}
		return errors.New(c.said())
	})
	for host, want := range map[string]int{"127.0.0.1:" + port: 200, "leases.example.com": 200, "evil.example": 421} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// A browser cannot go to all addresses.
func TestServeSaysAnAddressThatABrowserCanOpen(t *testing.T) {
	for _, c := range []struct {
		listens string
		hosts   []string
		says    string
	}{
		{"127.0.0.1:8484", nil, "127.0.0.1:8484"},
		{"[::]:8484", nil, "localhost:8484"},
		{"0.0.0.0:8484", []string{"leases.example.com"}, "leases.example.com:8484"},
	} {
		addr, err := net.ResolveTCPAddr("tcp", c.listens)
		if err != nil {
			t.Fatal(err)
		}
		if got := addressOf(addr, c.hosts); got != c.says {
			t.Errorf("%s: %s, want %s", c.listens, got, c.says)
		}
	}
}
