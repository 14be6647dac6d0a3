package lease_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// An actingHandler does something for each record that is logged.
type actingHandler struct {
	slog.Handler
	act func()
}

func (h actingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h actingHandler) Handle(context.Context, slog.Record) error {
	h.act()
	return nil
}

// A tracer or a logger that learns of a loss may decide to stop the program.
func TestTracersAndLoggersMayCloseTheManager(t *testing.T) {
	for _, how := range []string{"Close", "Shutdown"} {
		for _, caller := range []string{"a tracer", "a logger"} {
			t.Run(caller+" calls "+how, func(t *testing.T) {
				inBubble(t, func(w *world) {
					var m *lease.Manager
					closed := make(chan error, 8)
					stop := func() {
						if how == "Close" {
							closed <- m.Close()
							return
						}
						closed <- m.Shutdown(context.Background())
					}
					m, _ = w.process("p", func(_ *redis.Options, o *lease.Options) {
						if caller == "a logger" {
							o.Logger = slog.New(actingHandler{slog.DiscardHandler, stop})
						} else {
							o.Tracers = []lease.Tracer{endTracer{end: func(lease.LeaseEnd) { stop() }}}
						}
					})
					leasetest.Lose(w.acquire(w.semaphore(m, 1)))
					select {
					case err := <-closed:
						if err != nil {
							w.Error(err)
						}
					case <-time.After(time.Minute):
						w.Fatal(how + " did not return")
					}
				})
			})
		}
	}
}
