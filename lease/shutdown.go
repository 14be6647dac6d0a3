package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// Shutdown drains the manager: new acquires are refused and waiters fail with ErrClosed; permits that linger go back; leases go on
// and are renewed until their holders release them. It returns nil when the last one is given back, and
// then the manager is closed. When ctx ends first it returns the context's cause and says how many
// semaphores are still in use; the manager goes on draining, and Close ends it.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.drain()
	closed := make(chan error, 1)
	go func() {
		select {
		case <-m.drained:
			closed <- m.Close() // a call under way may take the client's time
		case <-ctx.Done():
		}
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("lease: shutdown with %d semaphores still in use: %w", len(m.all()), context.Cause(ctx))
	}
}

// drain refuses new acquires, ends all waits, and gives back what lingers; it returns what waits for Redis's answer to that.
func (m *Manager) drain() (idle []*protocol.Holding) {
	m.mu.Lock()
	m.draining = true
	m.drainedLocked()
	m.mu.Unlock()
	for _, d := range m.all() {
		d.step(func(now protocol.Instant) { idle = append(idle, d.state.Drain(now)...) })
	}
	return idle
}

// Close ends every lease's contexts with ErrClosed, stops renewing, and waits for the manager's own goroutines,
// all but those that call Tracers and the Logger: these may call Close, and end when they have told what has
// happened. Permits whose holders have not released them are not given back: their work may still be
// going on, and time takes them. Where permits linger (Config.Linger), Close gives them back first, and waits for Redis's
// answer, two seconds at most. Close also closes the client, if Open made it. Calling it again does
// nothing.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	await(m.drain())
	m.renewer.stop()
	m.watchdog.stop()
	m.subscriber.Stop()
	m.transport.Close()
	for _, d := range m.all() {
		d.close()
	}
	m.cancel(ErrClosed)
	var err error
	if m.owned {
		err = m.client.Close()
	}
	m.transport.Wait()
	return err
}

// await waits until Redis has answered about what lingered.
func await(idle []*protocol.Holding) {
	if len(idle) == 0 {
		return
	}
	late := time.After(protocol.MaxReleaseWait)
	for _, h := range idle {
		select {
		case <-h.Confirmed:
		case <-late:
			return
		}
	}
}

func (m *Manager) drainedLocked() {
	if m.draining && len(m.drivers) == 0 {
		select {
		case <-m.drained:
		default:
			close(m.drained)
		}
	}
}

func (m *Manager) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func (m *Manager) isDraining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draining
}
