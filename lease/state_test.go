package lease

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
)

const (
	testTTL = 12 * time.Second
	step    = 500 * time.Millisecond // of a server's clock
)

// idOf is the n-th id of this process.
func idOf(n, weight int) string {
	id := fmt.Sprintf("%036d@me~1", n)
	if weight > 1 {
		id += fmt.Sprintf("#%d", weight)
	}
	return id
}

// serverAt is the server's clock, in µs: the test's, a year ahead.
func serverAt(now protocol.Instant) int64 {
	return int64((now.Mono - 1 + 365*24*time.Hour) / time.Microsecond)
}

// expiryAt is the expiry, in ms, that a script gives when it runs at now.
func expiryAt(now protocol.Instant) int64 { return (serverAt(now)+999)/1000 + testTTL.Milliseconds() }

// refuse has the server refuse all requests of batch at ran.
func refuse(batch *protocol.Batch, ran protocol.Instant) {
	for i := range batch.Calls {
		c := &batch.Calls[i]
		c.Server, c.Answers = serverAt(ran), make([]protocol.Answer, len(c.Grants))
		c.Occupancy = &protocol.Occupancy{Capacity: 1}
	}
}

var errNet = errors.New("connection reset")

type redisError string

func (e redisError) Error() string { return string(e) }
func (e redisError) RedisError()   {}

var _ redis.Error = redisError("")
