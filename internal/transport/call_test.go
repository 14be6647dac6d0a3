package transport

import (
	"io"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A slot that moves and a memory that is full refuse the script; the ids have been taken out before it.
func TestAReleaseWhosePromotionIsRefusedHasGivenBack(t *testing.T) {
	for _, tc := range []struct {
		taken, promoted error
		back            bool
	}{
		{nil, redisError("TRYAGAIN Multiple keys request during rehashing of slot"), true},
		{nil, redisError("OOM command not allowed when used memory > 'maxmemory'."), true},
		{nil, redisError("ASK 13009 127.0.0.1:7001"), true},
		{nil, redisError("ERR unknown command 'EVALSHA'"), false},
		{nil, io.ErrUnexpectedEOF, false},
		{redisError("TRYAGAIN later"), redisError("TRYAGAIN later"), false},
	} {
		zrem, promotion := redis.NewIntCmd(t.Context()), redis.NewIntSliceCmd(t.Context())
		zrem.SetVal(1)
		zrem.SetErr(tc.taken)
		promotion.SetErr(tc.promoted)
		c := &protocol.Call{Verb: protocol.Release, Grants: []*protocol.Grant{{ID: "an-id@me~1", Weight: 1}}, Permits: 1, Promote: true}
		r := &request{call: c, zrem: zrem, cmd: promotion}
		r.finish()
		if back := c.Failure.Err == nil && c.Unpromoted; back != tc.back {
			t.Errorf("%v, then %v: given back %v, %v", tc.taken, tc.promoted, back, c.Failure.Err)
		}
	}
}
