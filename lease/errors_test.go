package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
)

func TestTroubleThatPassesIsNotPermanent(t *testing.T) {
	for _, tc := range []struct {
		err       error
		permanent bool
	}{
		{io.EOF, false},
		{context.DeadlineExceeded, false},
		{protocol.ErrNoReply, false},
		{redisError("LOADING Redis is loading the dataset in memory"), false},
		{redisError("READONLY You can't write against a read only replica."), false},
		{redisError("TRYAGAIN Multiple keys request during rehashing of slot"), false},
		{redisError("CLUSTERDOWN The cluster is down"), false},
		{redisError("MASTERDOWN Link with MASTER is down"), false},
		{redisError("BUSY Redis is busy running a script."), false},
		{redisError("MISCONF Redis is configured to save RDB snapshots"), false},
		{redisError("OOM command not allowed when used memory > 'maxmemory'."), false},
		{redisError("NOREPLICAS Not enough good replicas to write."), false},
		{redisError("NOSCRIPT No matching script."), false},
		{redisError("ERR max number of clients reached"), false},
		{redisError("ERR Error running script (call to f_1): @user_script:30: -READONLY You can't write"), false},
		{redisError("WRONGTYPE Operation against a key holding the wrong kind of value"), true},
		{redisError("NOPERM this user has no permissions to run the 'evalsha' command"), true},
		{fmt.Errorf("NOPERM ZADD: %w", redisError("ERR The user executing the script can't run this command")), true},
		{redisError("NOAUTH Authentication required."), true},
		{redisError("WRONGPASS invalid username-password pair"), true},
		{redisError("ERR unknown command 'ZMSCORE'"), true},
		{redis.ErrClosed, true},
	} {
		if got := isPermanent(tc.err); got != tc.permanent {
			t.Errorf("%v: permanent = %v, want %v", tc.err, got, tc.permanent)
		}
	}
}

func TestErrorsLeadToTheirSentinelsAndToTheClientsError(t *testing.T) {
	lost := fmt.Errorf("work: %w", &LostError{Name: "gpu", ID: "id", Err: &RedisError{Op: "renew", Name: "gpu", Err: io.EOF}})
	var trouble *RedisError
	if !errors.Is(lost, ErrLost) || !errors.Is(lost, io.EOF) || !errors.As(lost, &trouble) || trouble.Op != "renew" {
		t.Error(lost)
	}
	for err, want := range map[error]error{
		&CapacityError{}: ErrAtCapacity, &HoldError{}: ErrMaxHold, &OptionError{}: ErrOption,
	} {
		if !errors.Is(err, want) || errors.Is(err, ErrLost) {
			t.Errorf("%T is not %v", err, want)
		}
	}
}
