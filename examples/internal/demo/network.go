package demo

import (
	"context"
	"net"
	"sync"
)

// A Network carries bytes between clients and a server, until it stalls. As in a real network, the
// bytes of a stall are late, not lost: requests that their senders have long given up still reach the
// server when it is over. Safe for concurrent use.
type Network struct {
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	copies sync.WaitGroup // two goroutines for each connection

	mu   sync.Mutex
	open chan struct{} // closed while bytes pass
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func newNetwork() *Network {
	n := &Network{open: make(chan struct{})}
	close(n.open)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Stall stops every byte, in both directions. No connection breaks, and new ones are not answered.
func (n *Network) Stall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.open:
		n.open = make(chan struct{})
	default: // stalled already
	}
}

// Heal ends a stall.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.open:
	default:
		close(n.open)
	}
}

func (n *Network) close() {
	n.cancel()
	n.copies.Wait()
}

// Pass waits for the end of a stall, or for ctx: for what goes this way beside the bytes.
func (n *Network) Pass(ctx context.Context) error {
	n.mu.Lock()
	open := n.open
	n.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// dialer puts the network in front of dial. It works on bytes, not on sockets, so that it does for TLS
// and for Unix sockets too.
func (n *Network) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := n.Pass(ctx); err != nil {
			return nil, err
		}
		server, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		client, inside := net.Pipe()
		hangUp := func() {
			_ = inside.Close()
			_ = server.Close()
		}
		unhook := context.AfterFunc(n.ctx, hangUp)
		carry := func(to, from net.Conn) {
			n.carry(to, from)
			hangUp() // which ends the other direction too
			unhook()
		}
		n.copies.Go(func() { carry(server, inside) })
		n.copies.Go(func() { carry(inside, server) })
		return client, nil
	}
}

// carry copies bytes until either side hangs up.
func (n *Network) carry(to, from net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		k, readErr := from.Read(buf)
		if k > 0 {
			if n.Pass(n.ctx) != nil {
				return
			}
			if _, err := to.Write(buf[:k]); err != nil {
				return
			}
		}
		if readErr != nil {
			return
		}
	}
}
