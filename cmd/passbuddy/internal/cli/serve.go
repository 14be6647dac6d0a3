package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/extra/leaseweb"
)

// A serving is the options of serve.
type serving struct {
	listen       string
	allowActions bool
	tokenFile    string
	auth         string
	publicHosts  []string
	basePath     string
	metrics      []string
}

const longServe = `serve shows all semaphores on a web page, live: who holds them, who waits, and what has happened in the last minutes. It asks
Redis once a second while somebody looks, and nothing while nobody does.

The page is read-only; --allow-actions adds pause, resume, resize and revoke. It listens on 127.0.0.1:8484. Another address
needs a login (--token-file), or --auth none where something in front of it asks for one.

A token file has a token on each line, with what it is for in front: "read TOKEN" or "act TOKEN". A token has 16 characters or
more; openssl rand -hex 16 makes one. Programs send it as "Authorization: Bearer TOKEN".

Addresses: / and /s/NAME for people, /api/v1/semaphores and /api/v1/semaphores/NAME for programs (the JSON of ls and inspect),
/healthz, /readyz, and /metrics for the semaphores that --metrics names.`

func (p *program) serve() *cobra.Command {
	var s serving
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show all semaphores on a web page, live",
		Long:  longServe,
		Example: `  passbuddy serve
  passbuddy serve --allow-actions
  passbuddy serve --listen 0.0.0.0:8484 --token-file tokens --public-host leases.example.com
  passbuddy serve --metrics gpu,nightly-report`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8484", "where to listen: address:port; port 0 is any free one")
	flags.BoolVar(&s.allowActions, "allow-actions", false, "have the page pause, resume, resize and revoke")
	flags.StringVar(&s.tokenFile, "token-file", "", `who may look, and act: lines "read TOKEN" and "act TOKEN"`)
	flags.StringVar(&s.auth, "auth", "", "none: let everybody in who reaches the address")
	flags.StringSliceVar(&s.publicHosts, "public-host", nil, "a name under which browsers reach the page (may be repeated)")
	flags.StringVar(&s.basePath, "base-path", "/", "where the page is, behind a proxy that passes its path on")
	flags.StringSliceVar(&s.metrics, "metrics", nil, "tell Prometheus of these semaphores, at /metrics")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.servePage(cmd.Context(), s) }
	return cmd
}

func (p *program) servePage(ctx context.Context, s serving) error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	opts.Timeout = p.timeout
	opts.Logger = slog.New(slog.DiscardHandler)
	if !p.quiet {
		opts.Logger = slog.New(slog.NewTextHandler(p.err, nil))
	}
	m, err := p.open()
	if err != nil {
		return err
	}
	defer m.Close()
	page, err := leaseweb.New(m, opts)
	if err != nil {
		return usagef("%s", strings.TrimPrefix(err.Error(), "leaseweb: "))
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return failed(1, "--listen %s: %v; choose another address or port", s.listen, err)
	}
	// No ReadTimeout and no WriteTimeout: a stream lasts as long as somebody looks, and bounds each of its writes itself.
	server := &http.Server{
		Handler: page, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(opts.Logger.Handler(), slog.LevelWarn),
	}
	if !p.quiet {
		p.say("http://%s%s shows the semaphores%s; ^C ends it", addressOf(listener.Addr(), opts.Hosts), basePathOf(opts.BasePath), modeOf(opts))
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(page.Shutdown(end), server.Shutdown(end))
	<-served
	if err != nil { // somebody is still being answered, and is not by now
		return server.Close()
	}
	return nil
}

// addressOf is where a browser finds what listens there. What listens on all addresses has none of its own.
func addressOf(addr net.Addr, hosts []string) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil || !net.ParseIP(host).IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort(append(hosts, "localhost")[0], port)
}

func basePathOf(path string) string { return "/" + strings.Trim(path, "/") }

func modeOf(opts leaseweb.Options) string {
	mode := ", read-only"
	if opts.AllowActions {
		mode = ", with actions"
	}
	if opts.Tokens != nil {
		mode += ", with a login"
	}
	return mode
}

// options checks what was said, and refuses an address that would let strangers in.
func (s serving) options() (leaseweb.Options, error) {
	opts := leaseweb.Options{BasePath: s.basePath, AllowActions: s.allowActions, Metrics: s.metrics, Hosts: []string{}}
	host, _, err := net.SplitHostPort(s.listen)
	switch {
	case err != nil:
		return opts, usagef("--listen %q: say address:port, such as 127.0.0.1:8484", s.listen)
	case s.auth != "" && s.auth != "none":
		return opts, usagef("--auth %q: it can only be none", s.auth)
	case s.auth == "none" && s.tokenFile != "":
		return opts, usagef("--auth none and --token-file %s exclude each other: leave one out", s.tokenFile)
	case s.auth == "" && s.tokenFile == "" && !isLoopback(host):
		return opts, usagef("--listen %s: others can reach this address; say --token-file FILE for a login, or --auth none to let everybody in", s.listen)
	}
	for _, name := range s.publicHosts {
		if name == "" || strings.ContainsAny(name, "/: ") && net.ParseIP(name) == nil {
			return opts, usagef("--public-host %q: say a host's name without scheme and port, such as leases.example.com", name)
		}
		opts.Hosts = append(opts.Hosts, name)
	}
	if s.tokenFile != "" {
		if opts.Tokens, err = readTokens(s.tokenFile); err != nil {
			return opts, err
		}
	}
	return opts, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// readTokens reads lines "read TOKEN" and "act TOKEN". Empty lines and those that begin with # say nothing.
func readTokens(file string) (tokens []leaseweb.Token, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("--token-file: %v", err)
	}
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o007 != 0 {
		return nil, usagef("--token-file %s: everybody on this machine can read it; chmod o= %s", file, show.Quoted(file))
	}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		kind, secret, _ := strings.Cut(line, " ")
		secret = strings.TrimSpace(secret)
		if kind != "read" && kind != "act" || secret == "" {
			return nil, usagef("--token-file %s, line %d: say \"read TOKEN\" or \"act TOKEN\"", file, i+1)
		}
		if len(secret) < 16 {
			return nil, usagef("--token-file %s, line %d: the token has %d characters; use 16 or more, such as what openssl rand -hex 16 prints", file, i+1, len(secret))
		}
		tokens = append(tokens, leaseweb.Token{Secret: secret, Act: kind == "act"})
	}
	if len(tokens) == 0 {
		return nil, usagef("--token-file %s: there is no token in it; write a line \"read TOKEN\" or \"act TOKEN\"", file)
	}
	return tokens, nil
}
