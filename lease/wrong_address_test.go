package lease_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A URL, a client or a server that cannot work says so at once, in words that tell what to do: Ping and a first acquire
// alike.
func TestRealRedisWhatCannotWorkSaysWhatToDo(t *testing.T) {
	inRealTime(t)
	locked, plain := redistest.Start(t, "--requirepass", "right"), redistest.Start(t)
	full := redistest.Start(t)
	if err := full.Client(t).ConfigSet(context.Background(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	web, secure := listen(t, nil), listen(t, selfSigned(t))
	for name, tc := range map[string]struct{ url, says, do string }{
		"a wrong password":              {"redis://:wrong@" + locked.Addr(), "WRONGPASS", "check the user name and the password"},
		"no password":                   {"redis://" + locked.Addr(), "", "the server wants a password"},
		"a wrong database":              {"redis://" + plain.Addr() + "/99", "DB index is out of range", "the server has fewer databases"},
		"TLS to a port without":         {"rediss://" + plain.Addr(), "", "whether the port speaks TLS"}, // Redis waits for more
		"TLS to a web server":           {"rediss://" + web, "first record", "the port does not speak TLS"},
		"no TLS to a port with":         {"redis://" + secure, "EOF", "if its port speaks TLS, use rediss://"},
		"a certificate of its own":      {"rediss://" + secure, "certificate", "the client does not trust the server's certificate"},
		"a web server":                  {"redis://" + web, "", "what answers there is no Redis"},
		"a server whose memory is full": {"redis://" + full.Addr(), "OOM", "the server's memory is full"},
		"nobody":                        {"redis://127.0.0.1:1", "connection refused", "nothing listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := lease.Open(tc.url, lease.Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			s := gpu(t, m, lease.Config{})
			for what, try := range map[string]func(context.Context) error{
				"Ping":    m.Ping,
				"Acquire": func(ctx context.Context) error { _, err := s.Acquire(ctx); return err },
			} {
				began := time.Now()
				err := try(context.Background())
				var trouble *lease.RedisError
				if !errors.As(err, &trouble) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), tc.do) {
					t.Errorf("%s: %v; want it to say %q and %q", what, err, tc.says, tc.do)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%s: after %v", what, took)
				}
			}
		})
	}
}

// A client whose only connection is in use.
func TestRealRedisAPoolThatIsUsedUpSaysWhatToDo(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 1, PoolTimeout: 50 * time.Millisecond, PipelinePoolSize: 1})
	defer client.Close()
	m, err := lease.New(client, lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	busy := []*redis.Conn{client.Conn()}
	for _, c := range busy {
		defer c.Close()
		if err := c.Ping(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	err = m.Ping(context.Background())
	if !strings.Contains(err.Error(), "give the manager a client of its own") {
		t.Errorf("Ping: %v", err)
	}
}

// listen answers as a web server does; with a certificate, as a server that speaks TLS alone.
func listen(t *testing.T, cert *tls.Certificate) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	t.Cleanup(func() { _ = l.Close() })
	if cert == nil {
		go func() { _ = http.Serve(l, http.NotFoundHandler()) }()
		return addr
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = c.(*tls.Conn).Handshake() // which fails
				_ = c.Close()
			}()
		}
	}()
	return addr
}

func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
