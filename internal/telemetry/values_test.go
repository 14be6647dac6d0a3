package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A reply is an error that the server has answered.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestErrorsHaveFewTypes(t *testing.T) {
	redis := func(err error) error { return &lease.RedisError{Op: "acquire", Name: "gpu", Err: err} }
	for _, one := range []struct {
		err  error
		want string
	}{
		{&lease.DeadlockError{}, Deadlock},
		{&lease.DisagreementError{}, Disagreement},
		{redis(reply("NOPERM this user has no permissions to run the 'evalsha' command")), Permission},
		{redis(reply("WRONGPASS invalid username-password pair")), Permission},
		{redis(reply("NOAUTH Authentication required.")), Permission},
		{redis(context.DeadlineExceeded), Timeout},
		{redis(fmt.Errorf("no reply in time: %w", os.ErrDeadlineExceeded)), Timeout},
		{redis(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), Unavailable},
		{redis(io.EOF), Unavailable},
		{redis(reply("LOADING Redis is loading the dataset in memory")), Unavailable},
		{redis(reply("OOM command not allowed when used memory > 'maxmemory'.")), Unavailable},
		{redis(&lease.ReplicaError{Wanted: 1}), Unavailable},
		{redis(reply("WRONGTYPE Operation against a key holding the wrong kind of value")), OtherError},
		{&lease.HoldError{}, OtherError},
		{errors.New("what is it"), OtherError},
	} {
		if got := TypeOf(one.err); got != one.want {
			t.Errorf("%v is of type %s, want %s", one.err, got, one.want)
		}
	}
}

// What a server that is not there makes of an acquire is told as the library returns it.
func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	server := redistest.Start(t)
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	_, err = s.TryAcquire(t.Context())
	if got := TypeOf(err); got != Unavailable {
		t.Errorf("%v is of type %s", err, got)
	}
}

func TestOnlyAReleaseThatRedisDidNotConfirmIsAFailure(t *testing.T) {
	redis := &lease.RedisError{Op: "release", Name: "gpu", Err: io.EOF}
	for _, one := range []struct {
		err  error
		want bool
	}{{nil, false}, {redis, true}, {lease.ErrClosed, false}, {&lease.LostError{Name: "gpu", Err: redis}, false}} {
		if got := IsReleaseFailure(one.err); got != one.want {
			t.Errorf("%v is a failure: %v, want %v", one.err, got, one.want)
		}
	}
}
