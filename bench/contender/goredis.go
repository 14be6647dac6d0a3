package contender

import (
	"crypto/rand"
	"fmt"

	"github.com/redis/go-redis/v9"
)

const goRedis = "github.com/redis/go-redis/v9"

// openRedis makes a go-redis client with its default options.
func openRedis(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	return redis.NewClient(o), nil
}

// withRedis runs fn with a client of its own.
func withRedis(url string, fn func(*redis.Client) error) error {
	client, err := openRedis(url)
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(client)
}

// newID returns a value that no other holder has.
func newID() string { return rand.Text() }
