package redistest

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func BenchmarkPing(b *testing.B) {
	s := Start(b)
	for name, addr := range map[string]string{"direct": s.Addr(), "proxy": NewProxy(b, s.Addr()).Addr()} {
		b.Run(name, func(b *testing.B) {
			client := redis.NewClient(&redis.Options{Addr: addr})
			defer client.Close()
			for b.Loop() {
				if err := client.Ping(b.Context()).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
