package leasegrpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/eqworks/passbuddy/extra/leasegrpc"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// A service answers by what the test has given it.
type service struct {
	health.UnimplementedHealthServer
	handle func(ctx context.Context) error
}

func (s service) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	return &health.HealthCheckResponse{}, s.handle(ctx)
}

func (s service) Watch(_ *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	return s.handle(stream.Context())
}

// serve starts a server without a socket, and returns the two kinds of call.
func serve(t *testing.T, unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor, handle func(context.Context) error) map[string]func(context.Context) error {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	recovered := func(handle func() error) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = status.Errorf(codes.DataLoss, "panic: %v", p)
			}
		}()
		return handle()
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
			err = recovered(func() (err error) { resp, err = next(ctx, req); return err })
			return resp, err
		}, unary),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			return recovered(func() error { return next(srv, s) })
		}, stream),
	)
	health.RegisterHealthServer(server, service{handle: handle})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:///test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop(); serving.Wait() })
	client := health.NewHealthClient(conn)
	return map[string]func(context.Context) error{
		"unary": func(ctx context.Context) error {
			_, err := client.Check(ctx, &health.HealthCheckRequest{})
			return err
		},
		"stream": func(ctx context.Context) error {
			s, err := client.Watch(ctx, &health.HealthCheckRequest{})
			if err == nil {
				if _, err = s.Recv(); err != nil && err.Error() == "EOF" {
					err = nil
				}
			}
			return err
		},
	}
}

func semaphore(t *testing.T, m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	cfg.Name = "render"
	s, err := m.Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func limited(t *testing.T, s *lease.Semaphore, o leasegrpc.Options, handle func(context.Context) error) map[string]func(context.Context) error {
	return serve(t, leasegrpc.Unary(s, o), leasegrpc.Stream(s, o), handle)
}

func TestACallRunsUnderALeaseOfItsOwn(t *testing.T) {
	m := leasetest.New(t)
	s := semaphore(t, m, lease.Config{Capacity: 1})
	var last int64
	calls := limited(t, s, leasegrpc.Options{}, func(ctx context.Context) error {
		l := lease.FromContext(ctx)
		if !l.Valid() || l.Name() != "render" || l.Token() <= last {
			return errors.New("no lease of its own")
		}
		last = l.Token()
		return nil
	})
	for kind, call := range calls {
		for range 3 { // each gives its permit back
			if err := call(t.Context()); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	broken := limited(t, s, leasegrpc.Options{}, func(context.Context) error { panic("out of ink") })
	for kind, call := range broken {
		if err := call(t.Context()); status.Code(err) != codes.DataLoss {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if l, err := s.Acquire(t.Context(), lease.MaxWait(10*time.Second)); err != nil {
		t.Errorf("after the panics: %v", err)
	} else {
		_ = l.Release()
	}
}

// wantRetry checks the status, and when the client may try again.
func wantRetry(t *testing.T, kind string, err error, code codes.Code) {
	t.Helper()
	s := status.Convert(err)
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		if r, is := d.(*errdetails.RetryInfo); is {
			retry = r
		}
	}
	if s.Code() != code || retry == nil || retry.RetryDelay.AsDuration() <= 0 {
		t.Errorf("%s: %v with %v, want %v with a RetryInfo", kind, err, retry, code)
	}
}

func TestAnswersToCallsWithoutAPermit(t *testing.T) {
	never := func(context.Context) error { t.Error("the handler runs"); return nil }

	t.Run("at capacity", func(t *testing.T) {
		s := semaphore(t, leasetest.New(t), lease.Config{Capacity: 1})
		l, err := s.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Release() }) // when the servers below have ended, with what still waits there
		for kind, call := range limited(t, s, leasegrpc.Options{MaxWait: -1}, never) {
			wantRetry(t, kind, call(t.Context()), codes.ResourceExhausted)
		}
		for kind, call := range limited(t, s, leasegrpc.Options{MaxWait: time.Hour}, never) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := call(ctx); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("%s: the deadline is over: %v", kind, err)
			}
			cancel()
		}
	})

	t.Run("the manager is closed", func(t *testing.T) {
		m := leasetest.New(t)
		s := semaphore(t, m, lease.Config{Capacity: 1})
		_ = m.Close()
		for kind, call := range limited(t, s, leasegrpc.Options{}, never) {
			wantRetry(t, kind, call(t.Context()), codes.Unavailable)
		}
	})

	t.Run("Redis is out of reach", func(t *testing.T) {
		f := leasetest.NewFleet(t)
		var log strings.Builder
		s := semaphore(t, f.Process("p", lease.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).Manager, lease.Config{Capacity: 1, TTL: time.Second})
		f.Stall()
		defer f.Resume()
		for kind, call := range limited(t, s, leasegrpc.Options{MaxWait: -1}, never) {
			for range 2 {
				wantRetry(t, kind, call(t.Context()), codes.Unavailable)
			}
		}
		if n := strings.Count(log.String(), "calls are refused"); n != 2 {
			t.Errorf("logged %d times, want once by each interceptor", n)
		}
	})

	t.Run("what pick returns", func(t *testing.T) {
		for want, failure := range map[codes.Code]error{
			codes.PermissionDenied: status.Error(codes.PermissionDenied, "who are you?"),
			codes.Internal:         errors.New("secret"),
		} {
			pick := func(context.Context, string) (*lease.Semaphore, error) { return nil, failure }
			for kind, call := range serve(t, leasegrpc.UnaryBy(pick, leasegrpc.Options{}), leasegrpc.StreamBy(pick, leasegrpc.Options{}), never) {
				if err := call(t.Context()); status.Code(err) != want || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: %v", kind, err)
				}
			}
		}
	})
}

func TestALossWhileTheCallIsUnderWay(t *testing.T) {
	s := semaphore(t, leasetest.New(t), lease.Config{Capacity: 1})
	lose := func(result func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			leasetest.Lose(lease.FromContext(ctx))
			<-ctx.Done()
			return result(ctx)
		}
	}
	for kind, call := range limited(t, s, leasegrpc.Options{}, lose(func(ctx context.Context) error { return ctx.Err() })) {
		if err := call(t.Context()); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "lost") {
			t.Errorf("%s: the work has stopped: %v", kind, err)
		}
	}
	for kind, call := range limited(t, s, leasegrpc.Options{}, lose(func(context.Context) error { return nil })) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: the work was done all the same: %v", kind, err)
		}
	}
	m := leasetest.New(t)
	closing := limited(t, semaphore(t, m, lease.Config{Capacity: 1}), leasegrpc.Options{}, func(ctx context.Context) error {
		_ = m.Close()
		<-ctx.Done()
		return ctx.Err()
	})
	if err := closing["unary"](t.Context()); status.Code(err) != codes.Unavailable {
		t.Errorf("the manager is closed under the call: %v", err)
	}
	own := status.Error(codes.NotFound, "no such page")
	for kind, call := range limited(t, s, leasegrpc.Options{}, func(context.Context) error { return own }) {
		if err := call(t.Context()); status.Code(err) != codes.NotFound {
			t.Errorf("%s: nothing was lost: %v", kind, err)
		}
	}
}

func TestTheSemaphoreOfACallIsPicked(t *testing.T) {
	m := leasetest.New(t)
	pick := func(ctx context.Context, method string) (*lease.Semaphore, error) {
		if !strings.HasPrefix(method, "/grpc.health.v1.Health/") {
			return nil, errors.New("another method")
		}
		tenant := metadata.ValueFromIncomingContext(ctx, "tenant")
		if len(tenant) == 0 {
			return nil, nil
		}
		return m.Semaphore(lease.Config{Name: "api-" + tenant[0], Capacity: 5})
	}
	names := make(chan string, 1)
	handle := func(ctx context.Context) error {
		if l := lease.FromContext(ctx); l != nil {
			names <- l.Name()
		} else {
			names <- "none"
		}
		return nil
	}
	for kind, call := range serve(t, leasegrpc.UnaryBy(pick, leasegrpc.Options{}), leasegrpc.StreamBy(pick, leasegrpc.Options{}), handle) {
		for tenant, want := range map[string]string{"a": "api-a", "b": "api-b", "": "none"} {
			ctx := t.Context()
			if tenant != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "tenant", tenant)
			}
			if err := call(ctx); err != nil {
				t.Errorf("%s: %v", kind, err)
			} else if got := <-names; got != want {
				t.Errorf("%s of %q: %s, want %s", kind, tenant, got, want)
			}
		}
	}
}

func TestOnErrorMayRunTheHandlerWithoutAPermit(t *testing.T) {
	s := semaphore(t, leasetest.New(t), lease.Config{Capacity: 1})
	l, err := s.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	open := true
	o := leasegrpc.Options{MaxWait: -1, OnError: func(_ context.Context, method string, err error) error {
		if !errors.Is(err, lease.ErrAtCapacity) || !strings.HasPrefix(method, "/grpc.health.v1.Health/") {
			t.Errorf("%s: %v", method, err)
		}
		if open {
			return nil
		}
		return leasegrpc.StatusOf(err).Err()
	}}
	ran := 0
	calls := limited(t, s, o, func(context.Context) error { ran++; return nil })
	for kind, call := range calls {
		open = true
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		open = false
		wantRetry(t, kind, call(t.Context()), codes.ResourceExhausted)
	}
	if ran != 2 {
		t.Errorf("the handler ran %d times", ran)
	}
}

func TestWhatIsMissingPanicsWhenTheServerIsSetUp(t *testing.T) {
	for name, set := range map[string]func(){
		"s":    func() { leasegrpc.Unary(nil, leasegrpc.Options{}) },
		"pick": func() { leasegrpc.StreamBy(nil, leasegrpc.Options{}) },
	} {
		func() {
			defer func() {
				if err, is := recover().(error); !is || !errors.Is(err, lease.ErrOption) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %v", name, err)
				}
			}()
			set()
		}()
	}
}
